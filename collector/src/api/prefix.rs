//! A path prefix in front of everything on the web listener: `--path-prefix`, or what a reverse proxy removed from the path
//! and says in `X-Forwarded-Prefix`. Routes and links are written without it; the prefix is taken off requests, and added to
//! redirects and to the links in pages.

use std::sync::LazyLock;

use axum::body::{Body, HttpBody, to_bytes};
use axum::response::{IntoResponse, Response};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use regex::bytes::Regex;

const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Longest prefix, bytes.
const PREFIX_BYTES_MAX: usize = 200;

/// Links in pages: attributes that are a path of ours. Text cannot match, as its quotes are escaped.
static LINKS: LazyLock<Regex> = LazyLock::new(|| {
    let links = r#"(\s(?:href|src|action|formaction|data-(?:live|href|ask|open|search))=")(/(?:[^/"][^"]*)?")"#;
    Regex::new(links).expect("it is valid")
});

/// The element of a page, in which scripts find the prefix.
static PAGE: LazyLock<Regex> = LazyLock::new(|| Regex::new("<html ").expect("it is valid"));

/// The prefix of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix(String);

/// Returns what is wrong with a prefix; `None` if it can be used.
pub(crate) fn problem(prefix: &str) -> Option<&'static str> {
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let mut segments = prefix.split('/').skip(1);
    let is_valid = prefix.starts_with('/')
        && prefix.len() <= PREFIX_BYTES_MAX
        && prefix.bytes().all(is_path)
        && segments.all(|segment| !segment.is_empty() && !segment.starts_with('.'));
    (!is_valid).then_some("must be a path such as /fusebox: segments of letters, digits and -._~")
}

/// Takes the prefix off a request: the configured one, which may be missing, or that of the header.
pub(crate) fn strip<B>(request: &mut Request<B>, configured: Option<&str>) {
    let prefix = match configured.and_then(|prefix| Some((prefix, without(request.uri(), prefix)?)))
    {
        Some((prefix, uri)) => {
            *request.uri_mut() = uri;
            Some(prefix.to_owned())
        }
        None => forwarded(request.headers()),
    };
    if let Some(prefix) = prefix {
        request.extensions_mut().insert(Prefix(prefix));
    }
}

/// Returns an address without a prefix; `None` if it has another path.
fn without(uri: &Uri, prefix: &str) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().strip_prefix(prefix)?;
    let path = match rest.chars().next() {
        Some('/') => rest.to_owned(),
        None | Some('?') => format!("/{rest}"),
        _ => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

fn forwarded(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(FORWARDED_PREFIX)?.to_str().ok()?;
    let prefix = given.trim_end_matches('/');
    problem(prefix).is_none().then(|| prefix.to_owned())
}

impl Prefix {
    /// Adds the prefix to a redirect and to the links of a page.
    pub(crate) async fn add_to(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        let target = headers
            .get(header::LOCATION)
            .and_then(|target| target.to_str().ok());
        let is_ours = |target: &&str| target.starts_with('/') && !target.starts_with("//");
        let target = target
            .filter(is_ours)
            .map(|target| format!("{}{target}", self.0));
        if let Some(target) = target.and_then(|target| HeaderValue::try_from(target).ok()) {
            headers.insert(header::LOCATION, target);
        }
        let content_type = headers.get(header::CONTENT_TYPE);
        let is_page = content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
        // Pages are written as a whole; nothing else has their type.
        if !is_page || response.body().size_hint().exact().is_none() {
            return response;
        }
        let (mut head, body) = response.into_parts();
        let Ok(page) = to_bytes(body, usize::MAX).await else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        head.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(head, Body::from(self.in_page(&page)))
    }

    fn in_page(&self, page: &[u8]) -> Vec<u8> {
        let prefix = self.0.as_str();
        // Letters, digits and -._~/ mean nothing in a replacement.
        let linked = LINKS.replace_all(page, format!("${{1}}{prefix}${{2}}").as_bytes());
        let opening = format!("<html data-root=\"{prefix}\" ");
        let page = PAGE.replace(&linked, opening.as_bytes());
        page.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(uri: &str, configured: Option<&str>, header: &str) -> (String, Option<String>) {
        let request = Request::get(uri).header(FORWARDED_PREFIX, header);
        let mut request = request.body(()).unwrap();
        strip(&mut request, configured);
        let prefix = request.extensions().get::<Prefix>();
        (
            request.uri().to_string(),
            prefix.map(|prefix| prefix.0.clone()),
        )
    }

    #[test]
    fn a_prefix_is_taken_off_the_path() {
        let given = Some("/a/b");
        for (uri, path, prefix) in [
            ("/a/b/traces/1?x=/a/b", "/traces/1?x=/a/b", given),
            ("/a/b", "/", given),
            ("/a/b?at=1", "/?at=1", given),
            ("/a/bc", "/a/bc", None),
            ("/traces", "/traces", None),
            ("http://h:1/a/b/x", "http://h:1/x", given),
        ] {
            let expected = (path.to_owned(), prefix.map(str::to_owned));
            assert_eq!(stripped(uri, given, ""), expected, "{uri}");
        }
    }

    #[test]
    fn a_proxy_names_the_prefix_that_it_removed() {
        let named = |header: &str| stripped("/traces", None, header).1;
        for header in ["/fusebox", "/fusebox/"] {
            assert_eq!(named(header).as_deref(), Some("/fusebox"));
        }
        let long = format!("/{}", "a".repeat(PREFIX_BYTES_MAX));
        for wrong in [
            "",
            "/",
            "fusebox",
            "//evil.example",
            "/a/../b",
            "/a\"onload=",
            "/a b",
            "/a?b",
            &long,
        ] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn links_and_redirects_get_the_prefix() {
        let prefix = || Prefix("/p".to_owned());
        let page = "<!doctype html>\n<html lang=\"en\"><a href=\"/\"><form action=\"/go?x=1\"><a href=\"//x\"><a href=\"#a\">\
                    <i data-key=\"/a\" data-live=\"/circuits/live\"> href=&quot;/a&quot;";
        let response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
        let response = prefix().add_to(response).await;
        let body = to_bytes(response.into_body(), 1_000).await.unwrap();
        let expected = "<!doctype html>\n<html data-root=\"/p\" lang=\"en\"><a href=\"/p/\"><form action=\"/p/go?x=1\"><a href=\"//x\">\
                        <a href=\"#a\"><i data-key=\"/a\" data-live=\"/p/circuits/live\"> href=&quot;/a&quot;";
        assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
        for (target, expected) in [
            ("/traces/1", "/p/traces/1"),
            ("//x", "//x"),
            ("http://x/", "http://x/"),
        ] {
            let response = [(header::LOCATION, target)].into_response();
            let response = prefix().add_to(response).await;
            assert_eq!(response.headers()[header::LOCATION], expected);
        }
    }
}
