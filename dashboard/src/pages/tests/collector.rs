//! Tests of the pages in front of a real collector: from the empty state and the demo trace to every page about it.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use fusebox_collector::codec::Format;
use fusebox_collector::codec::otlp::json::traces_to_protobuf;
use fusebox_collector::model::{Registration, UnixNanos};
use fusebox_collector::{Collector, CollectorConfig, sample};
use futures_util::stream;
use http_body_util::BodyExt;
use tempfile::TempDir;
use tower::ServiceExt;

use crate::pages::{AppState, router};

/// A collector with its own directory, and its pages.
pub(super) struct Stack {
    pages: Router,
    pub(super) collector: Collector,
    dir: TempDir,
}

impl Stack {
    pub(super) async fn start() -> Self {
        Self::keeping(CollectorConfig::for_test("").retention).await
    }

    /// Starts a collector with this retention.
    async fn keeping(retention: Duration) -> Self {
        Self::open(tempfile::tempdir().expect("a directory"), retention).await
    }

    /// Stops the collector, deletes its spans as the retention does, and starts another one with the remaining data.
    pub(super) async fn again_without_spans(self) -> Self {
        let Self { collector, dir, .. } = self;
        let retention = CollectorConfig::for_test("").retention;
        let stopped = collector.run(Router::new(), async {}).await;
        stopped.expect("a clean stop");
        std::fs::remove_dir_all(dir.path().join("spans")).expect("the spans go");
        Self::open(dir, retention).await
    }

    async fn open(dir: tempfile::TempDir, retention: Duration) -> Self {
        let config = CollectorConfig {
            retention,
            ..CollectorConfig::for_test(dir.path())
        };
        let collector = Collector::bind(config).await.expect("a collector");
        let state = AppState {
            more_nav: &[],
            query: collector.query(),
            ingest: collector.ingest(),
            counters: collector.counters(),
            otlp_http: "http://127.0.0.1:4318".to_owned(),
            otlp_grpc: "http://127.0.0.1:4317".to_owned(),
            version: "0.1.0".to_owned(),
            log_link: None,
            influxdb: None,
            notifier: collector.notifier(),
            stop: collector.stop(),
            settings: vec![("data-dir".to_owned(), "/var/lib/fusebox".to_owned())],
        };
        Self {
            pages: router(state),
            collector,
            dir,
        }
    }

    pub(super) async fn ask(&self, request: Request<Body>) -> Response {
        let answer = self.pages.clone().oneshot(request).await;
        answer.expect("an answer")
    }

    pub(super) async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = self.ask(request).await;
        let status = response.status();
        let location = location(&response);
        let body = response.into_body().collect().await.expect("a body");
        let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
        (status, location.unwrap_or(text))
    }

    /// Sends spans as OTLP JSON.
    async fn send(&self, json: &str) {
        let (request, _) = traces_to_protobuf(json.as_bytes()).expect("OTLP");
        let ingest = self.collector.ingest();
        let reservation = ingest.begin(None).expect("it runs");
        let stored = ingest.spans(Format::OtlpProtobuf, request.into(), reservation);
        stored.await.expect("the disk works");
    }

    pub(super) async fn send_demo_trace(&self, site: &str) -> Response {
        let request = Request::post("/demo-trace").header("sec-fetch-site", site);
        self.ask(request.body(Body::empty()).expect("a request"))
            .await
    }
}

pub(super) fn location(response: &Response) -> Option<String> {
    let location = response.headers().get("location")?;
    location.to_str().ok().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_collector_teaches_the_next_step() {
    let stack = Stack::start().await;
    for path in ["/", "/traces", "/services", "/map"] {
        let (status, html) = stack.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(
            html.contains("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"),
            "{path}"
        );
        assert!(html.contains("action=\"/demo-trace\""), "{path}");
    }
    let (status, html) = stack.get("/about").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("/var/lib/fusebox"));
}

/// Guarantees: the journal is one page, which the old address of registrations leads to; its time leaves out what came later.
#[tokio::test(flavor = "multi_thread")]
async fn registrations_are_in_the_one_journal() {
    let stack = Stack::start().await;
    let registration = Registration {
        service: "review".to_owned(),
        instance: "review-1".to_owned(),
        ..Registration::default()
    };
    let registry = stack.collector.query().circuits().registry().clone();
    let registered = registry.register(registration, UnixNanos::now()).await;
    registered.expect("it is stored");
    let (status, location) = stack
        .get("/instances/journal?service=review&event=expired")
        .await;
    assert_eq!(status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(location, "/changes?kind=registration&service=review");
    let (_, location) = stack.get("/instances/journal?event=status_forced").await;
    assert_eq!(location, "/changes?kind=status");
    let is_listed = async |query: &str| {
        let (status, html) = stack.get(&format!("/changes{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}");
        html.contains("review → review-1")
    };
    for query in [
        "",
        "?kind=registration&instance=review-1",
        "?service=REVIEW",
    ] {
        assert!(is_listed(query).await, "{query}");
    }
    for query in ["?at=2026-01-01T00:00:00", "?instance=other", "?kind=status"] {
        assert!(!is_listed(query).await, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_trace_leads_to_its_call_tree() {
    let stack = Stack::start().await;
    let foreign = stack.send_demo_trace("cross-site").await;
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    let sent = stack.send_demo_trace("same-origin").await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    let trace = location(&sent).expect("a place to go");
    let (status, html) = stack.get(&trace).await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("rejected, fallback ok"), "{html}");

    let (_, wall) = stack.get("/").await;
    assert!(wall.contains("No circuit breakers yet"), "{wall}");
    assert!(!wall.contains("Nothing has been sent"), "{wall}");

    let (_, list) = stack.get("/traces").await;
    assert!(list.contains(&format!("href=\"{trace}\"")), "{list}");
    let (_, refused) = stack.get("/traces?outcome=rejected").await;
    assert!(refused.contains(&trace));
    let (status, rows) = stack.get(&format!("{trace}/rows?from=1&to=3")).await;
    assert_eq!(
        (status, rows.matches("<li class=\"row").count()),
        (StatusCode::OK, 2)
    );
    let id = rows
        .split_once("data-id=\"")
        .and_then(|(_, rest)| rest.get(..16))
        .expect("a span");
    let (status, detail) = stack.get(&format!("{trace}/spans/{id}")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(detail.contains(id));

    let hex = trace.trim_start_matches("/traces/");
    assert_eq!(stack.get(&format!("/go?q={hex}")).await.1, trace);
    let (_, services) = stack.get("/services").await;
    let page = services
        .split_once("href=\"/services/")
        .map(|(_, rest)| rest.split('"').next().unwrap_or(""));
    let name = page.expect("a service");
    assert_eq!(
        stack.get(&format!("/go?q={name}")).await.1,
        format!("/services/{name}")
    );
    assert_eq!(
        stack.get(&format!("/services/{name}")).await.0,
        StatusCode::OK
    );
    assert!(stack.get("/map").await.1.contains("<svg class=\"map\""));
}

/// *Guarantees*: a trace links to recent ones with the same root, and from there to the comparison; two traces that are
/// ticked in a search are compared, the earlier one first.
#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_compared_with_another_of_its_root() {
    let stack = Stack::start().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let sent = stack.send_demo_trace("same-origin").await;
        let path = location(&sent).expect("a place to go");
        ids.push(path.trim_start_matches("/traces/").to_owned());
    }
    let (first, second) = (&ids[0], &ids[1]);
    let (_, trace) = stack.get(&format!("/traces/{first}")).await;
    let choose = format!("/compare?a={first}");
    assert!(trace.contains(&format!("href=\"{choose}\"")), "{trace}");
    let (status, page) = stack.get(&choose).await;
    let compare = format!("{choose}&b={second}");
    assert_eq!(status, StatusCode::OK);
    let link = compare.replace('&', "&#38;");
    assert!(page.contains(&format!("href=\"{link}\"")), "{page}");

    let (status, page) = stack.get(&compare).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("All calls ("), "{page}");
    let (_, list) = stack.get("/traces").await;
    assert_eq!(list.matches("form=\"compare\"").count(), 2, "{list}");
    let (_, ticked) = stack.get(&format!("/compare?id={second}&id={first}")).await;
    assert_eq!(ticked, page);
}

/// *Guarantees*: a page of a search knows where to request newer traces, and is answered with their number once there
/// are any.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_learns_of_newer_traces() {
    let stack = Stack::start().await;
    stack.send_demo_trace("same-origin").await;
    let (_, page) = stack.get("/traces?service=gateway&range=1h").await;
    let ask = page.split_once("data-ask=\"").map(|(_, rest)| rest);
    let ask = ask.and_then(|rest| rest.split('"').next()).expect("a link");
    let ask = ask.replace("&#38;", "&");
    let (status, none) = stack.get(&ask).await;
    assert_eq!((status, none.trim()), (StatusCode::OK, ""), "{ask}");
    stack.send_demo_trace("same-origin").await;
    let (_, some) = stack.get(&ask).await;
    assert!(some.contains("1 new since"), "{some}");
    assert!(
        some.contains("href=\"/traces?service=gateway&#38;range=1h"),
        "{some}"
    );
    let (status, _) = stack.get("/traces/new?range=1h").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (_, past) = stack.get("/traces?start=2026-01-01T00:00:00Z").await;
    assert!(!past.contains("data-ask"));
}

/// *Scenario*: sixty requests, of which those that a remote warehouse answers take long.
/// *Guarantees*: the warehouse is shown as the difference of the slow ones, with the search for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_different_about_the_slow_ones_is_found() {
    let stack = Stack::start().await;
    let now = UnixNanos::now().get();
    let spans: Vec<String> = (1..=60_u64)
        .map(|n| {
            let (warehouse, took) = if n % 10 == 0 { ("jeju", 900) } else { ("icheon", 20 + n % 9) };
            let (start, end) = (now - n * 1_000_000_000, now - n * 1_000_000_000 + took * 1_000_000);
            format!(
                r#"{{"traceId": "{n:032x}", "spanId": "{n:016x}", "name": "GET /stock", "startTimeUnixNano": "{start}",
                "endTimeUnixNano": "{end}", "attributes": [{{"key": "warehouse", "value": {{"stringValue": "{warehouse}"}}}}]}}"#
            )
        })
        .collect();
    let json = format!(
        r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{}]}}]}}]}}"#,
        spans.join(",")
    );
    stack.send(&json).await;
    let (status, page) = stack.get("/traces?range=1h&differs=slow").await;
    assert_eq!(status, StatusCode::OK);
    let (_, section) = page.split_once("id=\"different\"").expect("the section");
    let section = section.split("</section>").next().unwrap_or_default();
    assert!(
        section.contains("slow traces (900 ms or longer)"),
        "{section}"
    );
    assert!(section.contains("warehouse = jeju"), "{section}");
    assert!(
        section.contains("6 (100 %)") && section.contains("0 (0 %)"),
        "{section}"
    );
    assert!(section.contains("attribute=warehouse%3Djeju"), "{section}");
    assert!(!section.contains("icheon"), "{section}");
    let (_, failed) = stack.get("/traces?range=1h&differs=failed").await;
    assert!(failed.contains("no such traces were found"));
}

/// Returns the levels and names of the rows of a call tree, in lower case: Zipkin has no other.
fn rows_of(html: &str) -> Vec<String> {
    let rows = html.split("<span class=\"sr\">Level ").skip(1);
    let rows = rows.map(|row| row.split("</a>").next().unwrap_or_default());
    rows.map(str::to_lowercase).collect()
}

/// *Scenario*: a trace is downloaded in each format, and uploaded to a collector that does not have it.
/// *Guarantees*: it is shown as the same call tree and not stored; a page of another site cannot upload.
#[tokio::test(flavor = "multi_thread")]
async fn a_downloaded_trace_is_uploaded_as_the_same_tree() {
    let stack = Stack::start().await;
    let sent = stack.send_demo_trace("same-origin").await;
    let path = location(&sent).expect("a place to go");
    let (_, tree) = stack.get(&path).await;
    let web = crate::serve::web_router(&stack.collector);
    for prefix in ["/api", "/jaeger/api", "/api/v2"] {
        let file = match prefix {
            "/api/v2" => path.replace("/traces/", "/api/v2/trace/"),
            prefix => format!("{prefix}{path}"),
        };
        let request = Request::get(&file).header("host", "127.0.0.1");
        let request = request.body(Body::empty()).expect("a request");
        let answer = web.clone().oneshot(request).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{file}");
        let json = answer
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();

        let other = Stack::start().await;
        let upload = |site: &str| {
            let request = Request::post("/upload").header("sec-fetch-site", site);
            let request = request.header("content-type", "application/json");
            other.ask(request.body(Body::from(json.clone())).expect("a request"))
        };
        assert_eq!(upload("cross-site").await.status(), StatusCode::FORBIDDEN);
        let uploaded = upload("same-origin").await;
        assert_eq!(
            location(&uploaded).as_deref(),
            Some(path.as_str()),
            "{file}"
        );
        let (status, shown) = other.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{file}");
        assert!(!rows_of(&tree).is_empty());
        assert_eq!(rows_of(&shown), rows_of(&tree), "{file}");
        assert!(shown.contains("it is stored nowhere"), "{file}");
        let (_, list) = other.get("/upload").await;
        assert!(list.contains(&format!("href=\"{path}\"")), "{file}");
        let (_, search) = other.get("/traces?range=1h").await;
        assert!(!search.contains(&path), "{file}");
    }
}

/// *Scenario*: clients begin to upload files, and send nothing more.
/// *Guarantees*: they are refused after a minute, so that others find room.
#[tokio::test]
async fn files_that_do_not_arrive_keep_no_room() {
    let stack = Stack::start().await;
    tokio::time::pause();
    let nothing = || Body::from_stream(stream::pending::<std::io::Result<Vec<u8>>>());
    let upload = |body| Request::post("/upload").body(body).expect("a request");
    let (first, second) = tokio::join!(stack.ask(upload(nothing())), stack.ask(upload(nothing())));
    for answer in [first, second] {
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    }
    let next = stack.ask(upload(Body::from("{}"))).await;
    assert_eq!(next.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_trace_is_refused_with_the_reason() {
    let stack = Stack::start().await;
    let send = |content_type: &'static str, body: &'static str| {
        let request = Request::post("/upload").header("content-type", content_type);
        stack.ask(request.body(Body::from(body)).expect("a request"))
    };
    let form = "application/x-www-form-urlencoded";
    for (content_type, body) in [
        ("application/json", "{}"),
        (form, "json=x"),
        (form, "other=1"),
    ] {
        let answer = send(content_type, body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    let pasted = "json=%5B%7B%22traceId%22%3A%22000000000000000000000000000000ab%22%2C%22id%22%3A%2200000000000000a1%22%2C%22timestamp%22%3A1%7D%5D";
    let answer = send(form, pasted).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert!(location(&answer).is_some_and(|path| path.ends_with("00ab")));
}

/// *Guarantees*: theme, time zone and language are stored only in cookies of the browser, and only our own page sets
/// them.
#[tokio::test(flavor = "multi_thread")]
async fn theme_and_time_zone_are_kept_in_the_browser() {
    let stack = Stack::start().await;
    let save = |site: &str, form: &'static str| {
        let request = Request::post("/preferences")
            .header("sec-fetch-site", site)
            .header("content-type", "application/x-www-form-urlencoded");
        stack.ask(request.body(Body::from(form)).expect("a request"))
    };
    let form = "theme=dark&zone=Asia%2FSeoul&language=ko";
    assert_eq!(
        save("cross-site", form).await.status(),
        StatusCode::FORBIDDEN
    );
    for wrong in [
        "theme=blue",
        "zone=UTC",
        "theme=dark&zone=a%3B%20b",
        "theme=dark&language=fr",
    ] {
        let status = save("same-origin", wrong).await.status();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let saved = save("same-origin", form).await;
    assert_eq!(saved.status(), StatusCode::SEE_OTHER);
    let set = saved.headers().get_all("set-cookie").iter();
    let cookies: Vec<&str> = set
        .map(|cookie| {
            cookie
                .to_str()
                .expect("text")
                .split(';')
                .next()
                .unwrap_or("")
        })
        .collect();
    let request = Request::get("/preferences").header("cookie", cookies.join("; "));
    let page = stack
        .ask(request.body(Body::empty()).expect("a request"))
        .await;
    let page = page.into_body().collect().await.expect("a body").to_bytes();
    let page = String::from_utf8_lossy(&page);
    assert!(
        page.contains("data-theme=\"dark\" data-timezone=\"Asia/Seoul\""),
        "{page}"
    );
    assert!(page.contains("value=\"dark\" checked"), "{page}");
    assert!(page.contains("value=\"ko\" checked"), "{page}");
    assert!(page.contains("<html lang=\"ko\""), "{page}");
    let (_, other) = stack.get("/").await;
    assert!(other.contains("data-theme=\"system\" data-timezone=\"\""));
}

/// *Scenario*: in a trace whose first step ended two hours ago, one span failed now.
/// *Guarantees*: a search of the last hour for failures shows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_now_is_found_in_an_old_trace() {
    let stack = Stack::start().await;
    let now = UnixNanos::now().get();
    let id = "0af7651916cd43dd8448eb211c803102";
    let step = |span: &str, start: u64, code: u8| {
        let end = start + 1_000;
        format!(
            r#"{{"traceId": "{id}", "spanId": "{span}", "name": "step", "startTimeUnixNano": "{start}",
            "endTimeUnixNano": "{end}", "status": {{"code": {code}}}}}"#
        )
    };
    let begun = step("00000000000000a1", now - 2 * 3_600_000_000_000, 0);
    let failed = step("00000000000000a2", now, 2);
    let json =
        format!(r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{begun}, {failed}]}}]}}]}}"#);
    stack.send(&json).await;
    for (search, is_found) in [
        ("range=1h&error=true", true),
        ("range=1h", true),
        ("range=15m&attribute=http.route", false),
    ] {
        let (status, list) = stack.get(&format!("/traces?{search}")).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            list.contains(&format!("/traces/{id}")),
            is_found,
            "{search}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_or_unknown_is_said_with_its_status() {
    let stack = Stack::start().await;
    for (path, status, words) in [
        (
            "/traces?min_duration=fast",
            StatusCode::BAD_REQUEST,
            "150ms, 1.2s, 2m",
        ),
        (
            "/traces?differs=fast",
            StatusCode::BAD_REQUEST,
            "slow or failed",
        ),
        ("/traces?cursor=x", StatusCode::BAD_REQUEST, "search again"),
        ("/?at=yesterday", StatusCode::BAD_REQUEST, "is not a time"),
        ("/?range=99", StatusCode::BAD_REQUEST, "none of the ranges"),
        (
            "/map?range=99",
            StatusCode::BAD_REQUEST,
            "none of the ranges",
        ),
        ("/traces/zz", StatusCode::BAD_REQUEST, "hex"),
        (
            "/traces/000000000000000000000000000000aa",
            StatusCode::NOT_FOUND,
            "is stored",
        ),
        (
            "/compare?a=000000000000000000000000000000aa&b=1",
            StatusCode::NOT_FOUND,
            "is stored",
        ),
        (
            "/compare?id=1&id=2&id=3",
            StatusCode::BAD_REQUEST,
            "3 are ticked",
        ),
        ("/compare?a=zz&b=1", StatusCode::BAD_REQUEST, "hex"),
        ("/circuits/a/b", StatusCode::NOT_FOUND, "no circuit b"),
        ("/services/absent", StatusCode::NOT_FOUND, "absent"),
        (
            "/assets/0000000000000000/fusebox.css",
            StatusCode::NOT_FOUND,
            "no such file",
        ),
        ("/nowhere", StatusCode::NOT_FOUND, "no page"),
    ] {
        let (found, html) = stack.get(path).await;
        assert_eq!(found, status, "{path}");
        assert!(html.contains(words), "{path}: {html}");
        assert!(html.contains("href=\"/traces\""), "{path} has no way on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_begins_with_the_whole_wall() {
    let stack = Stack::start().await;
    let request = Request::get("/circuits/live")
        .body(Body::empty())
        .expect("a request");
    let response = stack.ask(request).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let first = body.frame().await.expect("a frame").expect("no error");
    let text = String::from_utf8(first.into_data().expect("data").to_vec()).expect("text");
    assert!(
        text.starts_with("event: wall\ndata: <div id=\"wall-body\">"),
        "{text}"
    );
}

/// *Scenario*: a page watches the wall while the collector stops.
/// *Guarantees*: its stream ends, so that the server does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_stream_ends_with_the_collector() {
    let stack = Stack::start().await;
    let request = Request::get("/circuits/live").body(Body::empty());
    let mut body = stack.ask(request.expect("a request")).await.into_body();
    assert!(body.frame().await.is_some());
    let end = async { while body.frame().await.is_some() {} };
    let stopped = stack.collector.run(Router::new(), async {});
    let deadline = Duration::from_secs(300);
    let both = async { tokio::join!(stopped, end) };
    let (stopped, ()) = tokio::time::timeout(deadline, both).await.expect("an end");
    stopped.expect("a clean stop");
}

/// *Scenario*: the retention is 720 hours and a trace began 20 days ago.
/// *Guarantees*: the search offers 30 days and finds it, and the timeline begins 30 days ago.
#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_kept_is_searched_and_shown() {
    const DAY: u64 = 86_400 * 1_000_000_000;
    let stack = Stack::keeping(Duration::from_secs(720 * 3_600)).await;
    let now = UnixNanos::now().get();
    let request = Bytes::from(sample::demo_trace(now - 20 * DAY));
    let ingest = stack.collector.ingest();
    let reservation = ingest.begin(None).expect("it is running");
    let stored = ingest.spans(Format::OtlpProtobuf, request, reservation);
    stored.await.expect("stored");
    let (_, week) = stack.get("/traces?range=7d").await;
    assert!(!week.contains("href=\"/traces/"), "{week}");
    let (_, month) = stack.get("/traces?range=30d").await;
    assert!(month.contains("Last 30 days"), "{month}");
    assert!(month.contains("href=\"/traces/"), "{month}");
    let (_, past) = stack.get("/?at=2000-01-01T00:00").await;
    let start = past
        .split_once("data-start=\"")
        .and_then(|(_, rest)| rest.split_once('"'));
    let start: u64 = start.expect("a timeline").0.parse().expect("a time");
    let length = now / 1_000_000 - start;
    assert!(length.abs_diff(30 * DAY / 1_000_000) < 60_000, "{length}");
}
