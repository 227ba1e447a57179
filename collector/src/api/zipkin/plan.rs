//! Which traces the store is asked for. Our store wants one span to meet all its conditions, Zipkin lets each be met by
//! another span of the service: so the store is asked for the service and the one condition that narrows most, and
//! `matching` judges the rest on the traces it finds.

use super::names::{operations_called, operations_called_anywhere, services_called};
use super::question::Question;
use super::tags;
use crate::model::TraceQuery;
use crate::query::{QueryError, QueryService};

/// Searches of the store for one question: one for each way in which services and spans of that name are written.
const SEARCHES_MAX: usize = 16;
/// Rows of one page of the store.
const PAGE_MAX: usize = 100;
/// ... and at least so many, so that filtering a few does not take a page each.
const PAGE_MIN: usize = 20;

/// Returns the searches whose traces together are all that can match.
pub(super) async fn searches(
    query: &QueryService,
    question: &Question,
) -> Result<Vec<TraceQuery>, QueryError> {
    let base = narrowed(question);
    let services = match &question.service {
        Some(name) => some(services_called(query, name).await?),
        None => vec![None],
    };
    let mut searches = Vec::new();
    for service in &services {
        for operation in operations(query, question, service.as_deref()).await? {
            searches.push(TraceQuery {
                service: service.clone(),
                operation,
                ..base.clone()
            });
        }
    }
    if searches.len() <= SEARCHES_MAX {
        return Ok(searches);
    }
    if services.len() > SEARCHES_MAX {
        return Ok(vec![base]);
    }
    let of_service = |service| TraceQuery {
        service,
        ..base.clone()
    };
    Ok(services.into_iter().map(of_service).collect())
}

/// Returns the names of spans to search for; `None` is any.
async fn operations(
    query: &QueryService,
    question: &Question,
    service: Option<&str>,
) -> Result<Vec<Option<String>>, QueryError> {
    let Some(name) = &question.span_name else {
        return Ok(vec![None]);
    };
    // A condition on a tag is the narrower one, and both may be met by different spans.
    if question
        .terms
        .iter()
        .any(|(key, value)| is_pushed(key, value))
    {
        return Ok(vec![None]);
    }
    let named = match service {
        Some(service) => operations_called(query, service, name).await?,
        None => operations_called_anywhere(query, name).await?,
    };
    Ok(named.map_or(vec![None], some))
}

fn some(names: impl IntoIterator<Item = String>) -> Vec<Option<String>> {
    names.into_iter().map(Some).collect()
}

/// Returns the search for the range and the condition that narrows most, names aside.
fn narrowed(question: &Question) -> TraceQuery {
    let mut search = TraceQuery {
        limit: question.limit.clamp(PAGE_MIN, PAGE_MAX),
        ..TraceQuery::in_range(question.range)
    };
    let pushed = |(key, value): &(&String, &String)| is_pushed(key, value);
    if let Some((key, value)) = question.terms.iter().find(pushed) {
        if is_failure(key, value) {
            search.error = Some(true);
        } else {
            search.attributes = vec![(key.clone(), value.clone())];
        }
    } else if question.span_name.is_none() {
        // Zipkin's durations are whole microseconds, cut off, and at least one.
        let min = question.min_duration.filter(|min| *min > 1);
        search.min_duration_nanos = min.map(|min| min.saturating_mul(1_000));
        let max = question.max_duration;
        search.max_duration_nanos = max.map(|max| max.saturating_mul(1_000).saturating_add(999));
    }
    search
}

/// Returns whether the store can look for that term. It prints lists and maps in its own way, knows no tags that are
/// made when a span is shown, and has no index of keys alone or of events.
fn is_pushed(key: &str, value: &str) -> bool {
    let is_attribute = !value.is_empty() && !value.starts_with(['[', '{']) && !tags::is_made(key);
    is_attribute || is_failure(key, value)
}

/// Returns whether a term is met by failed spans alone.
fn is_failure(key: &str, value: &str) -> bool {
    key == tags::ERROR || (key == tags::STATUS_CODE && value == tags::STATUS_ERROR)
}
