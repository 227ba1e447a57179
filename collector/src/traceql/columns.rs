//! Which columns of spans a metric needs. Most metrics select spans by their own fields alone; these are counted without
//! reading whole traces.

use super::ast::{Pipeline, Query, Spansets, Stage};
use super::field::{Field, Intrinsic};
use super::metric::measured;
use super::view::Alone;
use crate::model::Place;
use crate::store::StoreError;
use crate::store::embedded::Columns;

impl Query {
    /// Returns the columns that decide which spans a metric counts and how; `None` if that depends on more than the columns of
    /// single spans.
    pub(crate) fn columns(&self) -> Option<Columns> {
        let metric = self.metric.as_ref()?;
        if !self.pipeline.0.iter().all(is_of_spans) || self.pushed().trace.is_some() {
            return None;
        }
        let mut fields = metric.by.clone();
        self.pipeline.add_fields(&mut fields);
        if let Some(expression) = measured(&metric.function) {
            expression.add_fields(&mut fields);
        }
        let mut columns = Columns::default();
        let all = fields.iter().try_for_each(|field| add(&mut columns, field));
        all.map(|()| columns)
    }
}

fn is_of_spans(stage: &Stage) -> bool {
    matches!(stage, Stage::Select(Spansets::Matching(_)) | Stage::Show(_))
}

/// Adds the columns of a field; `None` if no column of the span has it.
fn add(columns: &mut Columns, field: &Field) -> Option<()> {
    match field {
        Field::Attribute { place, key } => match place {
            Some(Place::Span) => columns.keys.push(key.clone()),
            Some(Place::Resource) => columns.resources = true,
            Some(Place::Scope) => columns.scopes = true,
            Some(Place::Event | Place::Link) | None => return None,
        },
        Field::Intrinsic(intrinsic) => match intrinsic {
            Intrinsic::Name => columns.names = true,
            Intrinsic::StatusMessage => columns.status_messages = true,
            Intrinsic::ParentId => columns.parents = true,
            Intrinsic::InstrumentationName | Intrinsic::InstrumentationVersion => {
                columns.scopes = true;
            }
            Intrinsic::Status
            | Intrinsic::Kind
            | Intrinsic::Duration
            | Intrinsic::SpanId
            | Intrinsic::TraceId => {}
            _ => return None,
        },
    }
    Some(())
}

impl Pipeline {
    /// Returns whether a pipeline of conditions on spans selects a span.
    pub(super) fn selects(&self, spans: &Alone<'_>, at: usize) -> Result<bool, StoreError> {
        for stage in &self.0 {
            if let Stage::Select(Spansets::Matching(Some(expression))) = stage
                && !expression.is_true(spans, at)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
