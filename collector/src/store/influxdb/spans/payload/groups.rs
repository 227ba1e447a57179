//! The heads of groups, `{"resource":…,"scope":…,"spans":[`: written once per block, copied for each text.

use super::shorten;
use super::spans::{push_resource, push_scope};
use super::table::Table;
use crate::codec::otlp::{ResourceView, ScopeView};

/// Largest resource in a head on the line, bytes: with a scope and a span at their limits the text stays
/// within what InfluxDB accepts.
const HEAD_BYTES_MAX: usize = 200_000;

/// Largest scope in a head, bytes: a tenth of a span's limit.
const SCOPE_BYTES_MAX: usize = 70_000;

#[derive(Debug)]
pub(crate) struct Groups {
    /// How the list of a group begins.
    list: &'static str,
    heads: Table<String>,
    resource: String,
    scope: String,
    /// The group of what comes now, once it is known.
    current: Option<u32>,
    whole: String,
    cut: u64,
}

impl Groups {
    /// How a list of spans begins.
    pub(super) const SPANS: &str = r#"\"spans\":["#;
    /// How a list of log records begins.
    pub(crate) const LOGS: &str = r#"\"logs\":["#;

    /// Returns groups whose lists begin so.
    pub(crate) fn new(list: &'static str) -> Self {
        Self {
            list,
            heads: Table::default(),
            resource: String::new(),
            scope: String::new(),
            current: None,
            whole: String::new(),
            cut: 0,
        }
    }

    /// Clears the previous block.
    pub(super) fn clear(&mut self) {
        self.heads.clear();
        self.resource.clear();
        self.scope.clear();
        self.current = None;
    }

    /// Begins a resource; its scope is empty until one is set.
    pub(crate) fn resource(&mut self, resource: &ResourceView<'_>) {
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

    pub(crate) fn scope(&mut self, scope: &ScopeView<'_>) {
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

    /// Returns the number of the group of what comes now.
    #[inline]
    pub(crate) fn current(&mut self) -> u32 {
        match self.current {
            Some(number) => number,
            None => self.find(),
        }
    }

    fn find(&mut self) -> u32 {
        self.whole.clear();
        for part in ["{", &self.resource, &self.scope, self.list] {
            self.whole.push_str(part);
        }
        let number = self.heads.number(&self.whole, || self.whole.clone());
        self.current = Some(number);
        number
    }

    pub(crate) fn head(&self, number: u32) -> &str {
        self.heads.value(number)
    }

    /// Number of shortened resources and scopes.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }
}
