//! Whom the calls of a trace went to, and which of them got no answer, because the caller stopped waiting. Pure functions.

use fusebox::semconv::{BREAKER_NAME, ERROR_TYPE, ERROR_TYPE_CANCELLED};
use fusebox_collector::model::{Span, SpanKind, Trace, Value};
use opentelemetry::SpanId;

use super::call_tree::CallTree;
use super::row::Row;

/// Attributes of a client span that name the called service, best first.
const PEERS: [&str; 3] = ["peer.service", "db.system.name", "messaging.system"];
/// Most spans below a call that are searched for the one that served it: retries have a client span each.
const SERVED_MAX: usize = 8;

/// A call that ended without an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unanswered {
    /// The client span.
    pub(super) span: SpanId,
    /// Whom it called.
    pub(super) callee: String,
    /// How long it waited.
    pub(super) nanos: u64,
}

/// Returns whether a span was dropped before its end: its caller stopped waiting, or was dropped itself.
pub(super) fn is_cut_off(span: &Span) -> bool {
    text(span, ERROR_TYPE) == Some(ERROR_TYPE_CANCELLED)
}

/// Returns whom the client span of a row called: the service of the span that served the call, else what its attributes name,
/// the service known at its address, or what the breaker around it names.
pub(super) fn callee<'t>(trace: &'t Trace, tree: &'t CallTree, index: usize) -> Option<&'t str> {
    let span_of = |row: &Row| Some(&trace.spans[row.span?]);
    let row = &tree.rows[index];
    let span = span_of(row).filter(|span| span.kind == SpanKind::Client)?;
    let served = children(tree, index)
        .take(SERVED_MAX)
        .filter_map(span_of)
        .find(|below| below.kind == SpanKind::Server && !below.service().is_empty());
    let around = row.parent.and_then(|parent| span_of(&tree.rows[parent]));
    served
        .map(Span::service)
        .or_else(|| PEERS.iter().find_map(|key| text(span, key)))
        .or(row.called.as_deref())
        .or_else(|| text(span, BREAKER_NAME))
        .or_else(|| text(around?, BREAKER_NAME))
        .or_else(|| text(span, "server.address"))
}

/// Returns the call without an answer that waited longest, and how many others there are. Of calls within each other it is the
/// innermost that got no answer; those around it only waited for it.
pub(super) fn unanswered(trace: &Trace, tree: &CallTree) -> Option<(Unanswered, usize)> {
    let is_call = |index: &usize| {
        let span = tree.rows[*index].span.map(|span| &trace.spans[span]);
        span.is_some_and(|span| span.kind == SpanKind::Client && is_cut_off(span))
    };
    let calls: Vec<usize> = (0..tree.rows.len()).filter(is_call).collect();
    let next = calls.iter().skip(1).map(Some).chain([None]);
    let innermost = calls.iter().zip(next).filter(|(index, next)| {
        let end = **index + tree.rows[**index].descendants;
        next.is_none_or(|next| *next > end)
    });
    let named = innermost.filter_map(|(index, _)| {
        let row = &tree.rows[*index];
        Some(Unanswered {
            span: row.id,
            callee: callee(trace, tree, *index)?.to_owned(),
            nanos: trace.spans[row.span?].duration_nanos(),
        })
    });
    let named: Vec<_> = named.collect();
    let others = named.len().saturating_sub(1);
    let longest = named.into_iter().max_by_key(|call| call.nanos)?;
    Some((longest, others))
}

/// Returns the rows directly below a row.
fn children(tree: &CallTree, index: usize) -> impl Iterator<Item = &Row> {
    let end = index + tree.rows[index].descendants;
    let next = move |at: &usize| Some(at + 1 + tree.rows.get(*at)?.descendants);
    let rows = std::iter::successors(Some(index + 1), next);
    rows.take_while(move |at| *at <= end)
        .map(|at| &tree.rows[at])
}

fn text<'s>(span: &'s Span, key: &str) -> Option<&'s str> {
    match span.attribute(key)? {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::tests::fixtures;

    fn set(span: &mut Span, key: &str, value: &str) {
        let value = Value::String(value.to_owned());
        span.attributes.retain(|(known, _)| known != key);
        span.attributes.push((key.to_owned(), value));
    }

    /// Returns the row of the first client span with a span of another service below it.
    fn call(trace: &Trace, tree: &CallTree) -> usize {
        let is_call = |index: &usize| {
            let row = &tree.rows[*index];
            let span = row.span.map(|span| &trace.spans[span]);
            span.is_some_and(|span| span.kind == SpanKind::Client) && row.descendants > 0
        };
        (0..tree.rows.len()).find(is_call).expect("a call")
    }

    #[test]
    fn a_call_names_who_served_it_or_what_its_attributes_name() {
        let mut trace = fixtures::trace();
        let tree = CallTree::build(&trace);
        let index = call(&trace, &tree);
        let served = tree.rows[index + 1].span.expect("a span");
        let service = trace.spans[served].service().to_owned();
        assert_eq!(callee(&trace, &tree, index), Some(service.as_str()));
        assert_eq!(callee(&trace, &tree, 0), None);
        trace.spans[served].kind = SpanKind::Internal;
        let client = tree.rows[index].span.expect("a span");
        trace.spans[client].attributes.clear();
        set(&mut trace.spans[client], "server.address", "10.0.0.7");
        assert_eq!(callee(&trace, &tree, index), Some("10.0.0.7"));
        let known = [(trace.spans[client].span_id, "review".to_owned())];
        let tree = tree.with_callees(known.into());
        assert_eq!(callee(&trace, &tree, index), Some("review"));
        set(&mut trace.spans[client], "peer.service", "stock");
        assert_eq!(callee(&trace, &tree, index), Some("stock"));
    }

    #[test]
    fn the_longest_call_without_an_answer_is_found() {
        let mut trace = fixtures::trace();
        let tree = CallTree::build(&trace);
        assert_eq!(unanswered(&trace, &tree), None);
        let index = call(&trace, &tree);
        let client = tree.rows[index].span.expect("a span");
        set(&mut trace.spans[client], "error.type", "cancelled");
        let (found, others) = unanswered(&trace, &tree).expect("a call");
        let wanted = callee(&trace, &tree, index).expect("a name");
        assert_eq!(
            (found.span, found.callee.as_str(), others),
            (tree.rows[index].id, wanted, 0)
        );
        assert_eq!(found.nanos, trace.spans[client].duration_nanos());
    }

    /// *Scenario*: a call waits for a call below it; both are dropped.
    #[test]
    fn of_calls_within_each_other_the_innermost_got_no_answer() {
        let mut trace = fixtures::trace();
        let tree = CallTree::build(&trace);
        let outer = call(&trace, &tree);
        let client = |index: &usize| {
            let span = tree.rows[*index].span.map(|span| &trace.spans[span]);
            span.is_some_and(|span| span.kind == SpanKind::Client)
        };
        let below = outer + 1..=outer + tree.rows[outer].descendants;
        let inner = below.clone().find(client).expect("a call below");
        for index in [outer, inner] {
            let span = tree.rows[index].span.expect("a span");
            set(&mut trace.spans[span], "error.type", "cancelled");
        }
        let (found, others) = unanswered(&trace, &tree).expect("a call");
        assert_eq!((found.span, others), (tree.rows[inner].id, 0));
    }
}
