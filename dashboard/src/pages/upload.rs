//! The page for uploading files of traces: OTLP, Jaeger and Zipkin JSON. The collector keeps them in memory for a while
//! and does not store them.

use askama::Template;
use axum::extract::{Form, FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::Redirect;
use bytes::Bytes;
use fusebox_collector::is_same_origin;
use fusebox_collector::model::Trace;
use fusebox_collector::query::{
    UPLOAD_BYTES_MAX, UPLOAD_KEPT, UPLOAD_TIME_MAX, UPLOADS_MAX, UploadedTrace, aside, read_upload,
};
use serde::Deserialize;
use tokio::time::timeout;

use super::Pages;
use super::frame::error::{PageError, PageResult};
use super::frame::page::{Chrome, Page, Section};
use super::view::href::Href;
use super::view::text;

/// Most bytes of a request; the encoding of forms may triple a pasted file.
pub(crate) const BODY_BYTES_MAX: usize = 3 * UPLOAD_BYTES_MAX + 64;

/// The page.
#[derive(Debug, Template)]
#[template(path = "upload/page.html")]
pub(crate) struct UploadPage {
    chrome: Chrome,
    rows: Vec<Row>,
}

/// One uploaded trace.
#[derive(Debug)]
struct Row {
    href: String,
    service: String,
    operation: String,
    spans: String,
    left: String,
}

/// A file that was pasted into the form.
#[derive(Debug, Deserialize)]
struct Pasted {
    json: String,
}

/// Serves the page.
pub(crate) async fn show(State(pages): State<Pages>) -> PageResult<UploadPage> {
    Ok(Page(UploadPage::new(&pages.query.uploads().list())))
}

/// Receives a file, as the body or pasted into the form, and redirects to its trace, or to the list of several.
pub(crate) async fn send(
    State(pages): State<Pages>,
    request: Request,
) -> Result<Redirect, PageError> {
    if !is_same_origin(request.headers()) {
        return Err(PageError::Forbidden);
    }
    let file = timeout(UPLOAD_TIME_MAX, file(request)).await;
    let file = file.map_err(|_| too_slow())??;
    if file.len() > UPLOAD_BYTES_MAX {
        return Err(too_large());
    }
    // Parsing a file of several mebibytes takes long.
    let read = aside(move || read_upload(&file)).await?;
    let traces = read.map_err(|error| PageError::Invalid(error.to_string()))?;
    let target = target(&traces);
    pages.query.uploads().add(traces);
    Ok(Redirect::to(&target.to_string()))
}

/// Returns the link to the uploaded traces.
fn target(traces: &[Trace]) -> Href {
    match traces {
        [one] => Href::trace(one.id),
        _ => Href::new("/upload"),
    }
}

/// Reads the body of a request.
async fn file(request: Request) -> Result<Bytes, PageError> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let is_form = content_type.is_some_and(|value| {
        value
            .as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    if is_form {
        let form = Form::<Pasted>::from_request(request, &()).await;
        let Form(pasted) = form.map_err(|error| PageError::Invalid(error.to_string()))?;
        return Ok(pasted.json.into());
    }
    let body = Bytes::from_request(request, &()).await;
    body.map_err(|_| too_large())
}

fn too_slow() -> PageError {
    PageError::TooSlow(t!(
        "this file did not arrive within {n} s",
        n = UPLOAD_TIME_MAX.as_secs()
    ))
}

fn too_large() -> PageError {
    PageError::Invalid(t!(
        "this file is larger than {n} MiB",
        n = UPLOAD_BYTES_MAX >> 20
    ))
}

impl UploadPage {
    /// Returns the page with the traces uploaded so far.
    pub(crate) fn new(uploaded: &[UploadedTrace]) -> Self {
        let row = |one: &UploadedTrace| Row {
            href: Href::trace(one.id).to_string(),
            service: text::name(&one.root.0).into_owned(),
            operation: text::name(&one.root.1).into_owned(),
            spans: text::count(one.spans as u64),
            left: text::age(one.left.as_nanos() as u64),
        };
        Self {
            chrome: Chrome::new(Section::Traces, t!("Upload traces")).scripts(&["upload.js"]),
            rows: uploaded.iter().map(row).collect(),
        }
    }

    /// Returns the text about the limits.
    fn bounds(&self) -> String {
        t!(
            "Up to {size} MiB per file and {n} traces. They are held in memory for {minutes} minutes, visible to everyone who can see these pages, and not stored; the oldest are dropped when there are more.",
            size = UPLOAD_BYTES_MAX >> 20,
            n = UPLOADS_MAX,
            minutes = UPLOAD_KEPT.as_secs() / 60
        )
    }
}
