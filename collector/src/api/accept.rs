//! Weighted lists in `Accept` headers (RFC 9110, 12.4.2 and 12.5).

use axum::http::{HeaderMap, HeaderName};

/// Returns the entries of all headers with that name, each with its weight, by default 1.
pub(super) fn entries(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = (&str, f32)> {
    let lists = headers.get_all(name).into_iter();
    let lists = lists.filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
        (name, weight.unwrap_or(1.0))
    })
}
