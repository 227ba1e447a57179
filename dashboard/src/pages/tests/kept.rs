//! Tests of traces kept beyond the retention, through the pages and the API of a collector that is restarted without
//! its spans.

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use fusebox_collector::codec::Format;
use fusebox_collector::sample;
use http_body_util::BodyExt;

use super::collector::{Stack, location};
use super::*;

async fn post(stack: &Stack, path: &str, form: &'static str, site: &str) -> Response {
    let request = Request::post(path)
        .header("sec-fetch-site", site)
        .header("content-type", "application/x-www-form-urlencoded");
    stack
        .ask(request.body(Body::from(form)).expect("a request"))
        .await
}

/// Sends a trace that ended a minute ago, and returns its path.
async fn send_trace(stack: &Stack) -> String {
    let ended = UnixNanos::now() - Duration::from_secs(60);
    let request = Bytes::from(sample::demo_trace(ended.get()));
    let ingest = stack.collector.ingest();
    let reservation = ingest.begin(None).expect("it is running");
    let stored = ingest.spans(Format::OtlpProtobuf, request, reservation);
    stored.await.expect("stored");
    let (_, list) = stack.get("/traces?range=1h").await;
    let (_, link) = list.split_once("href=\"/traces/").expect("a trace");
    let (id, _) = link.split_at(32);
    format!("/traces/{id}")
}

/// *Guarantees*: a trace that has just been sent is not kept yet, and the page says when, and how many spans it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_arriving_is_not_kept() {
    let stack = Stack::start().await;
    let path = location(&stack.send_demo_trace("same-origin").await).expect("a trace");
    let keep = format!("{path}/keep");
    let (_, form) = stack.get(&keep).await;
    assert!(form.contains("Spans now: 9."), "{form}");
    let refused = post(&stack, &keep, "note=why&by=Kim", "same-origin").await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let body = refused.into_body().collect().await.expect("a body");
    let html = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    assert!(html.contains("still arriving. Try again in "), "{html}");
}

/// *Scenario*: a trace is kept with a note; the collector is restarted and its spans are gone.
/// *Guarantees*: the trace is still found at its URL with all its spans, also in the API, until it is removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_trace_outlives_its_spans() {
    let stack = Stack::start().await;
    let path = send_trace(&stack).await;
    let (_, before) = stack.get(&path).await;
    let keep = format!("{path}/keep");
    assert!(before.contains(&format!("href=\"{keep}\"")), "{before}");
    let form = "note=the+outage+of+monday&by=Kim";
    let refused = post(&stack, &keep, form, "cross-site").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let empty = post(&stack, &keep, "note=&by=Kim", "same-origin").await;
    assert_eq!(empty.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let kept = post(&stack, &keep, form, "same-origin").await;
    assert_eq!(location(&kept).as_deref(), Some(path.as_str()));
    let again = post(&stack, &keep, form, "same-origin").await;
    assert_eq!(again.status(), StatusCode::CONFLICT);

    let stack = stack.again_without_spans().await;
    let (_, search) = stack.get("/traces?range=1h").await;
    assert!(!search.contains(&path), "{search}");
    let (status, after) = stack.get(&path).await;
    assert_eq!(status, StatusCode::OK);
    let anchors = |html: &str| html.matches("id=\"s-").count();
    assert_eq!(anchors(&after), anchors(&before));
    assert!(
        after.contains("<b>Kim</b>") && after.contains("the outage of monday"),
        "{after}"
    );
    let web = crate::serve::web_router(&stack.collector);
    let request = Request::get(format!("/api{path}")).header("host", "127.0.0.1");
    let answer = web
        .oneshot(request.body(Body::empty()).expect("a request"))
        .await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::OK);

    let (_, list) = stack.get("/kept").await;
    assert!(list.contains(&format!("href=\"{path}\"")), "{list}");
    let remove = path.replace("/traces/", "/kept/") + "/remove";
    let elsewhere = post(&stack, &remove, "", "cross-site").await;
    assert_eq!(elsewhere.status(), StatusCode::FORBIDDEN);
    let removed = post(&stack, &remove, "", "same-origin").await;
    assert_eq!(location(&removed).as_deref(), Some("/kept"));
    assert_eq!(stack.get(&path).await.0, StatusCode::NOT_FOUND);
}

/// *Guarantees*: the API keeps, lists, refuses and removes traces with the right statuses.
#[tokio::test(flavor = "multi_thread")]
async fn traces_are_kept_by_the_api() {
    let stack = Stack::start().await;
    let path = send_trace(&stack).await;
    let web = crate::serve::web_router(&stack.collector);
    let ask = |method: &str, path: String, body: &'static str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("host", "127.0.0.1");
        let request = request.header("content-type", "application/json");
        let web = web.clone();
        async move {
            let answer = web
                .oneshot(request.body(Body::from(body)).expect("a request"))
                .await;
            let answer = answer.expect("an answer");
            let status = answer.status();
            let body = answer
                .into_body()
                .collect()
                .await
                .expect("a body")
                .to_bytes();
            (status, String::from_utf8_lossy(&body).into_owned())
        }
    };
    let keep = format!("/api{path}/keep");
    let (status, _) = ask("POST", keep.clone(), r#"{"note": "why", "by": ""}"#).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, kept) = ask("POST", keep.clone(), r#"{"note": "why", "by": "kim"}"#).await;
    assert_eq!(status, StatusCode::CREATED, "{kept}");
    let (status, _) = ask("POST", keep, r#"{"note": "why", "by": "kim"}"#).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let unknown = "/api/traces/00000000000000000000000000000001/keep".to_owned();
    let (status, _) = ask("POST", unknown, r#"{"note": "why", "by": "kim"}"#).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, list) = ask("GET", "/api/kept".to_owned(), "").await;
    assert!(
        list.contains("\"note\":\"why\"") && list.contains("\"bytes_max\""),
        "{list}"
    );
    let remove = format!("/api{}", path.replace("/traces/", "/kept/"));
    assert_eq!(ask("DELETE", remove.clone(), "").await.0, StatusCode::OK);
    assert_eq!(ask("DELETE", remove, "").await.0, StatusCode::NOT_FOUND);
}
