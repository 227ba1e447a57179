//! The box in the top bar: a trace id, a service or a circuit goes to its page, anything else to a search.

use axum::extract::State;
use axum::response::Redirect;
use fusebox_collector::query::is_trace_id;

use super::error::{PageError, lenient};
use super::params::Params;
use crate::pages::Pages;
use crate::pages::view::href::Href;
use crate::pages::view::range::Range;
use crate::pages::view::text;

/// Longest text that is interpreted; longer names are not typed.
const TEXT_MAX: usize = 300;

/// Redirects to the typed object.
pub(crate) async fn show(
    State(pages): State<Pages>,
    params: Params,
) -> Result<Redirect, PageError> {
    let typed = params.word("q").unwrap_or_default();
    if typed.chars().count() > TEXT_MAX {
        return Err(PageError::Invalid(t!(
            "{text} is too long for a name or an id",
            text = text::name(typed)
        )));
    }
    Ok(Redirect::to(&target(&pages, typed).await?.to_string()))
}

async fn target(pages: &Pages, typed: &str) -> Result<Href, PageError> {
    if typed.is_empty() {
        return Ok(Href::new("/traces"));
    }
    if is_trace_id(typed) {
        return Ok(Href::new("/traces").segment(&typed.to_ascii_lowercase()));
    }
    let same = |name: &String| name.eq_ignore_ascii_case(typed);
    let services = pages.query.service_names().await;
    let services = lenient(services, Vec::new())?.value;
    if let Some(service) = services.into_iter().find(same) {
        return Ok(Href::service(&service));
    }
    let circuits = pages.query.circuits().wall(None).await?.value.circuits;
    if let Some(circuit) = circuits.iter().find(|c| same(&c.key.service)) {
        return Ok(Href::service(&circuit.key.service));
    }
    let full =
        |key: &fusebox_collector::model::CircuitKey| format!("{} → {}", key.service, key.name);
    let mut found = circuits
        .iter()
        .filter(|c| same(&c.key.name) || same(&full(&c.key)));
    Ok(match (found.next(), found.next()) {
        (Some(one), None) => Href::circuit(&one.key),
        (Some(_), Some(_)) => Href::new("/").with("filter", typed),
        _ => Href::new("/traces")
            .with("operation", typed)
            .with("range", Range::of(pages.retention()).value()),
    })
}
