//! Zipkin's own pages, Lens, served from a folder that the settings name: its files are not ours. They ask `/zipkin/api/v2`.

use std::io;
use std::path::{Path, PathBuf};

use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::refusal::Refusal;
use crate::api::ApiState;
use crate::api::dialect::Refuse;
use crate::files;

/// The page that shows every address.
const INDEX: &str = "index.html";
/// The most bytes of a file; Lens's largest has 2 MB.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files with a hash in their name never change.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// What its pages may do beside our own, from whose origin they come: run their scripts and ask this server, not send data
/// elsewhere nor be framed. They make styles as they run, older ones begin with an inline script, and the graph of dependencies
/// is laid out by a worker whose script they make.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; img-src 'self' data:; \
     font-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
);
const REFERRER: HeaderValue = HeaderValue::from_static("same-origin");
/// What the endings of its files mean.
const TYPES: [(&str, &str); 12] = [
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
];

/// Checks that a folder holds Lens.
///
/// # Errors
/// When its page cannot be read.
pub(crate) fn check(folder: &Path) -> io::Result<()> {
    files::read_regular(&folder.join(INDEX), FILE_BYTES_MAX).map(drop)
}

/// `GET /zipkin`
pub(super) async fn redirect() -> Redirect {
    Redirect::permanent("/zipkin/")
}

/// `GET /zipkin/`
pub(super) async fn index(state: State<ApiState>) -> Result<Response, Refusal> {
    file(state, UrlPath(INDEX.to_owned())).await
}

/// `GET /zipkin/{*path}`: a file, or the page for an address of its own, such as `/zipkin/traces/{id}`.
pub(super) async fn file(
    State(state): State<ApiState>,
    UrlPath(path): UrlPath<String>,
) -> Result<Response, Refusal> {
    let not_found = || Refusal::new(StatusCode::NOT_FOUND, "404 Not Found");
    if path.starts_with("api/") {
        return Err(not_found());
    }
    let folder = state.lens.ok_or_else(|| {
        let text = "Lens is not served here: --zipkin-lens names the folder of its files";
        Refusal::new(StatusCode::NOT_FOUND, text)
    })?;
    if !is_plain(&path) {
        return Err(not_found());
    }
    let ending = ending(&path).unwrap_or_default();
    let known = TYPES.iter().find(|(known, _)| *known == ending);
    let is_static = path.starts_with("static/");
    let (place, content_type) = match known {
        Some((_, content_type)) => (place(&folder, &path), *content_type),
        None if is_static => return Err(not_found()),
        None => (folder.join(INDEX), TYPES[0].1),
    };
    let read = tokio::task::spawn_blocking(move || read(&folder, &place));
    let bytes = read.await.map_err(|_| not_found())?;
    let bytes = bytes.map_err(|_| not_found())?;
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
    let mut response = (content_type, bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::REFERRER_POLICY, REFERRER);
    if is_static {
        headers.insert(header::CACHE_CONTROL, CACHE);
    }
    Ok(response)
}

/// Reads a file of the folder, which no symbolic link may leave.
fn read(folder: &Path, file: &Path) -> io::Result<Vec<u8>> {
    let file = file.canonicalize()?;
    match file.starts_with(folder.canonicalize()?) {
        true => files::read_regular(&file, FILE_BYTES_MAX),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

fn place(folder: &Path, path: &str) -> PathBuf {
    path.split('/')
        .fold(folder.to_owned(), |place, part| place.join(part))
}

/// Returns the ending of the last part of a path.
fn ending(path: &str) -> Option<&str> {
    let (_, last) = path.rsplit_once('/').unwrap_or(("", path));
    Some(last.rsplit_once('.')?.1)
}

/// Returns whether a path leads nowhere but down, and to no hidden file.
fn is_plain(path: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':', '\0'])
    };
    path.split('/').all(is_name)
}
