//! The heads of groups, `{"resource":…,"scope":…,"spans":[`: written once per block, copied for each trace.

use super::shorten;
use super::spans::{push_resource, push_scope};
use super::table::Table;
use crate::codec::otlp::{ResourceView, ScopeView};

/// The most that a resource takes of a head on the line, bytes: with a scope and a span at their limits it stays under
/// what InfluxDB takes.
const HEAD_BYTES_MAX: usize = 200_000;

/// The most that a scope takes of a head beside the resource, bytes: a tenth of what a span may take.
const SCOPE_BYTES_MAX: usize = 70_000;

/// The heads of one block.
#[derive(Debug, Default)]
pub(super) struct Groups {
    heads: Table<String>,
    resource: String,
    scope: String,
    /// The group of the spans that come now, once it is known.
    current: Option<u32>,
    whole: String,
    cut: u64,
}

impl Groups {
    /// Forgets the block before.
    pub(super) fn clear(&mut self) {
        self.heads.clear();
        self.resource.clear();
        self.scope.clear();
        self.current = None;
    }

    /// Begins a resource; until a scope comes it has the empty one.
    pub(super) fn resource(&mut self, resource: &ResourceView<'_>) {
        self.scope.clear();
        self.current = None;
        self.resource.clear();
        push_resource(&mut self.resource, resource);
        let mut steps = shorten::STEPS.iter();
        while self.resource.len() > HEAD_BYTES_MAX
            && let Some(step) = steps.next()
        {
            self.resource.clear();
            let out = &mut self.resource;
            shorten::resource(resource, *step, |shorter| push_resource(out, shorter));
        }
        self.cut += u64::from(steps.len() < shorten::STEPS.len());
    }

    /// Begins a scope.
    pub(super) fn scope(&mut self, scope: &ScopeView<'_>) {
        self.scope.clear();
        self.current = None;
        push_scope(&mut self.scope, scope);
        let mut steps = shorten::STEPS.iter();
        while self.scope.len() > SCOPE_BYTES_MAX
            && let Some(step) = steps.next()
        {
            self.scope.clear();
            let out = &mut self.scope;
            shorten::scope(scope, *step, |shorter| push_scope(out, shorter));
        }
        self.cut += u64::from(steps.len() < shorten::STEPS.len());
    }

    /// Returns the number of the group of the spans that come now.
    #[inline]
    pub(super) fn current(&mut self) -> u32 {
        match self.current {
            Some(number) => number,
            None => self.find(),
        }
    }

    fn find(&mut self) -> u32 {
        self.whole.clear();
        for part in ["{", &self.resource, &self.scope, r#"\"spans\":["#] {
            self.whole.push_str(part);
        }
        let number = self.heads.number(&self.whole, || self.whole.clone());
        self.current = Some(number);
        number
    }

    pub(super) fn head(&self, number: u32) -> &str {
        self.heads.value(number)
    }

    /// Returns how many resources and scopes were shortened.
    pub(super) fn cut(&self) -> u64 {
        self.cut
    }
}
