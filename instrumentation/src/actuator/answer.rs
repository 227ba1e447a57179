//! The answers of the endpoints: JSON in the media type that the client asks for, as Spring Boot negotiates it, or a
//! problem document (RFC 9457).

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// The media types of an answer, the preferred one first; the JSON is the same for all three.
const TYPES: [&str; 3] = [
    "application/vnd.spring-boot.actuator.v3+json",
    "application/vnd.spring-boot.actuator.v2+json",
    "application/json",
];

/// The result of an endpoint.
pub(super) type Answered = Result<Response, Response>;

pub(super) fn json(value: &Value) -> Response {
    typed(StatusCode::OK, TYPES[0], value)
}

pub(super) fn json_with(status: StatusCode, value: &Value) -> Response {
    typed(status, TYPES[0], value)
}

pub(super) fn problem(status: StatusCode, detail: impl Into<String>) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let problem = json!({ "title": title, "status": status.as_u16(), "detail": detail.into() });
    typed(status, "application/problem+json", &problem)
}

pub(super) fn missing(what: &str, name: &str) -> Response {
    let shown: String = name.chars().take(100).collect();
    problem(
        StatusCode::NOT_FOUND,
        format!("there is no {what} {shown:?}"),
    )
}

fn typed(status: StatusCode, content_type: &'static str, value: &Value) -> Response {
    let headers = [(CONTENT_TYPE, content_type)];
    (status, headers, value.to_string()).into_response()
}

/// Reads the body of a change.
pub(super) fn body<T: serde::de::DeserializeOwned>(bytes: &Bytes) -> Result<T, Response> {
    let parsed = serde_json::from_slice(bytes);
    parsed.map_err(|error| problem(StatusCode::BAD_REQUEST, format!("the body: {error}")))
}

/// Sets the media type that the client asked for; 406 if none of `TYPES` is acceptable.
pub(super) fn represented(request: &HeaderMap, mut response: Response) -> Response {
    let own = HeaderValue::from_static(TYPES[0]);
    if response.headers().get(CONTENT_TYPE) == Some(&own) {
        match accepted(request) {
            Some(content_type) => {
                let value = HeaderValue::from_static(content_type);
                response.headers_mut().insert(CONTENT_TYPE, value);
            }
            None => {
                let text = format!("answers are {}", TYPES.join(" or "));
                response = problem(StatusCode::NOT_ACCEPTABLE, text);
            }
        }
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Returns the type with the highest weight (RFC 9110, 12.5.1), the first of `TYPES` among equals.
fn accepted(request: &HeaderMap) -> Option<&'static str> {
    let lists = request
        .get_all(ACCEPT)
        .iter()
        .filter_map(|list| list.to_str().ok());
    let entries: Vec<(String, f32)> = lists.flat_map(|list| list.split(',')).map(entry).collect();
    if entries.is_empty() {
        return Some(TYPES[0]);
    }
    let weighed = TYPES
        .into_iter()
        .rev()
        .map(|name| (name, weight(&entries, name)));
    let best = weighed.max_by(|left, right| left.1.total_cmp(&right.1));
    best.filter(|(_, weight)| *weight > 0.0)
        .map(|(name, _)| name)
}

fn entry(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    (name, weight.unwrap_or(1.0))
}

/// Returns the weight of a type, from the most specific entry that matches it.
fn weight(entries: &[(String, f32)], name: &str) -> f32 {
    let ranges = [name, "application/*", "*/*"];
    let find = |range: &str| entries.iter().find(|(known, _)| known == range);
    ranges
        .into_iter()
        .find_map(find)
        .map_or(0.0, |(_, weight)| *weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_negotiated() {
        let [v3, v2, json] = TYPES;
        let both = format!("{json};q=0.5, {v2}");
        for (accept, expected) in [
            (None, Some(v3)),
            (Some("*/*"), Some(v3)),
            (Some("text/html, application/*;q=0.8"), Some(v3)),
            (Some(json), Some(json)),
            (Some(both.as_str()), Some(v2)),
            (Some("text/html"), None),
            (
                Some("*/*, application/vnd.spring-boot.actuator.v3+json;q=0"),
                Some(v2),
            ),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(accepted(&headers), expected, "{accept:?}");
        }
    }
}
