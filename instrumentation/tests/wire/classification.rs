//! The classification of failures: by the status, by gRPC's status, and by how the body ends.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use fusebox::Telemetry;
use fusebox::circuit_breaker::layer::{CircuitBreakerLayer, HttpStatus};
use fusebox::circuit_breaker::{CallTotals, CircuitBreaker, EffectiveState, Outcome, Registry};
use fusebox::http::client::{self, TracedClient};
use fusebox::http::server;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::sink::{DEADLINE, Sink, serve, text};
use crate::{block_on, telemetry};

fn breaker() -> CircuitBreaker {
    CircuitBreaker::builder("stock")
        .registry(&Registry::new())
        .build()
}

/// Starts a service that answers `/404`, `/500` and so on with this status.
fn statuses() -> SocketAddr {
    let answer = async |path: axum::extract::Path<u16>| StatusCode::from_u16(path.0).unwrap();
    let router = Router::new().route("/{status}", get(answer));
    serve(tracing::Dispatch::none(), router)
}

/// Starts a service that answers every connection with these bytes, and keeps it open or closes it.
fn raw(answer: &'static str, closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let head = BufReader::new(connection.try_clone().unwrap()).lines();
            head.map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .count();
            connection.write_all(answer.as_bytes()).unwrap();
            open.extend((!closes).then_some(connection));
        }
    });
    address
}

fn error_of(span: &Span) -> (String, bool) {
    let is_error = span.status.clone().unwrap_or_default().code() == status::StatusCode::Error;
    (text(&span.attributes, "error.type"), is_error)
}

fn judged(calls: &CallTotals) -> [u64; 5] {
    [
        calls.success,
        calls.ignored,
        calls.failure,
        calls.timeout,
        calls.cancelled,
    ]
}

/// Scenario: 25 requests of a client behind a breaker, by status.
/// Guarantees: 4xx does not open the breaker, except for 429 unless configured otherwise; 5xx opens it.
#[test]
fn a_client_behind_a_breaker_judges_by_status() {
    let (_sink, endpoint) = Sink::start();
    let (user, address) = (telemetry("user", &endpoint), statuses());
    let state_after = |status: u16, classifier: HttpStatus| {
        let client = TracedClient::new()
            .with_breaker(breaker())
            .classify(classifier);
        block_on(&user, async {
            for _ in 0..25 {
                let url = format!("http://{address}/{status}");
                if let Ok(response) = client.get(url).send().await {
                    assert_eq!(response.status(), status);
                }
            }
        });
        client.breaker().state()
    };
    for status in [400, 401, 403, 404, 409, 422] {
        assert_eq!(
            state_after(status, HttpStatus::new()),
            EffectiveState::Closed
        );
    }
    for status in [429, 500, 502, 503, 504] {
        assert_eq!(state_after(status, HttpStatus::new()), EffectiveState::Open);
    }
    let lenient = HttpStatus::new().throttling_as(Outcome::Ignored);
    assert_eq!(state_after(429, lenient), EffectiveState::Closed);
}

/// Reads a page with both kinds of client behind a breaker; returns the counted outcomes and the spans' errors.
fn read_page(
    user: &Telemetry,
    sink: &Sink,
    url: &str,
    timeout: Duration,
) -> [([u64; 5], (String, bool)); 2] {
    let (protected, layered) = (breaker(), breaker());
    let client = TracedClient::from(reqwest::Client::builder().timeout(timeout).build().unwrap());
    block_on(user, async {
        let behind = client.clone().with_breaker(protected.clone());
        let response = behind.get(url).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.url().as_str()),
            (200, url)
        );
        assert!(response.bytes().await.is_err());
        let layer = CircuitBreakerLayer::new(layered.clone());
        let service = ServiceBuilder::new().layer(layer).service(client);
        let request = Request::get(url).body(String::new()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.into_body().collect().await.is_err());
    });
    let spans = sink.wait_for("both spans", |received| {
        let spans = received.spans.iter().map(|(_, span)| span);
        let calls = spans.filter(|span| text(&span.attributes, "url.full") == url);
        let errors: Vec<_> = calls.map(error_of).collect();
        <[_; 2]>::try_from(errors).ok()
    });
    let [first, second] = spans;
    [
        (judged(&protected.snapshot().calls), first),
        (judged(&layered.snapshot().calls), second),
    ]
}

/// Scenario: bodies after a 200: shorter than announced, chunked without an end, and one that hangs until the client's
/// own timeout.
/// Guarantees: failures and a timeout of the breaker, and errors of the client's span.
#[test]
fn a_body_that_breaks_off_or_hangs_is_a_failure() {
    let (sink, endpoint) = Sink::start();
    let user = telemetry("user", &endpoint);
    let shorter = raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nstock", true);
    let chunked = raw(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nstock\r\n",
        true,
    );
    let hangs = raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nstock", false);
    for address in [shorter, chunked] {
        for (counted, error) in read_page(&user, &sink, &format!("http://{address}/"), DEADLINE) {
            assert_eq!(counted, [0, 0, 1, 0, 0]);
            assert_eq!(error, ("body".to_owned(), true));
        }
    }
    // Long enough for the head, which arrives immediately; the body never does.
    let short = Duration::from_secs(2);
    for (counted, error) in read_page(&user, &sink, &format!("http://{hangs}/"), short) {
        assert_eq!(counted, [0, 0, 0, 1, 0]);
        assert_eq!(error, ("timeout".to_owned(), true));
    }
}

/// Scenario: a client without settings calls a target that accepts connections and never answers, and one that stops in
/// the middle of a body.
/// Guarantees: the calls end as timeouts, which open the breaker.
#[tokio::test(start_paused = true)]
async fn a_target_that_hangs_opens_the_breaker() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nstock"] {
        let url = format!("http://{}/", raw(answer, false));
        let client = TracedClient::new().with_breaker(breaker());
        let call = async || match client.get(&url).send().await {
            Ok(response) => response.text().await.is_ok(),
            Err(_) => false,
        };
        let ended = futures_util::future::join_all((0..20).map(|_| call())).await;
        assert_eq!(ended, [false; 20]);
        let breaker = client.breaker();
        assert_eq!(judged(&breaker.snapshot().calls), [0, 0, 0, 20, 0]);
        assert_eq!(breaker.state(), EffectiveState::Open);
    }
}

/// Scenario: a caller reads a part of a body and drops the response: because it has enough, or while it waits for more.
/// Guarantees: the first is a success, the second a cancelled call.
#[test]
fn a_body_that_is_dropped_counts_by_whether_its_reader_waited() {
    let (sink, endpoint) = Sink::start();
    let user = telemetry("user", &endpoint);
    let hangs = raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nstock", false);
    let (enough, waits) = (breaker(), breaker());
    block_on(&user, async {
        let read = async |breaker: &CircuitBreaker, waits: bool| {
            let client = TracedClient::new().with_breaker(breaker.clone());
            let url = format!("http://{hangs}/{waits}");
            let mut response = client.get(url).send().await.unwrap();
            assert_eq!(response.chunk().await.unwrap().unwrap(), "stock");
            if waits {
                let more = tokio::time::timeout(Duration::from_millis(1), response.chunk());
                assert!(more.await.is_err(), "nothing comes");
            }
        };
        read(&enough, false).await;
        read(&waits, true).await;
    });
    assert_eq!(judged(&enough.snapshot().calls), [1, 0, 0, 0, 0]);
    assert_eq!(judged(&waits.snapshot().calls), [0, 0, 0, 0, 1]);
    let error = |path: &str| {
        sink.wait_for("a span", |received| {
            let mut spans = received.spans.iter().map(|(_, span)| span);
            let span = spans.find(|span| text(&span.attributes, "url.full").ends_with(path))?;
            Some(error_of(span))
        })
    };
    assert_eq!(error("false"), (String::new(), false));
    assert_eq!(error("true"), ("cancelled".to_owned(), true));
}

type GrpcBody = http_body_util::combinators::UnsyncBoxBody<&'static [u8], Infallible>;

/// A gRPC response with its status in the headers or after the body; `None` for a body without a status.
fn grpc(status: Option<u16>, is_in_head: bool) -> Response<GrpcBody> {
    let mut headers = HeaderMap::new();
    headers.extend(status.map(|s| {
        (
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from(s),
        )
    }));
    headers.insert("grpc-message", HeaderValue::from_static("no%20stock"));
    let body = Full::new(&b"\0\0\0\0\0"[..]);
    let mut response = match is_in_head {
        true => Response::new(Full::new(&b""[..]).boxed_unsync()),
        false if status.is_none() => Response::new(body.boxed_unsync()),
        false => {
            let trailers = headers.clone();
            Response::new(
                body.with_trailers(async { Some(Ok(trailers)) })
                    .boxed_unsync(),
            )
        }
    };
    if is_in_head {
        response.headers_mut().extend(headers);
    }
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// Scenario: gRPC calls that end with each kind of status, in the headers and in the trailers, or with none.
/// Guarantees: server failures count, the caller's mistakes do not; spans of both sides have the status, as an error by
/// each side's own rule.
#[test]
fn grpc_calls_are_judged_by_their_status() {
    let (sink, endpoint) = Sink::start();
    let user = telemetry("user", &endpoint);
    let (failure, ignored) = ([0, 0, 1, 0, 0], [0, 1, 0, 0, 0]);
    let cases = [
        (Some(0), [1, 0, 0, 0, 0], "OK"),
        (Some(14), failure, "UNAVAILABLE"),
        (Some(13), failure, "INTERNAL"),
        (Some(2), failure, "UNKNOWN"),
        (Some(8), failure, "RESOURCE_EXHAUSTED"),
        (Some(4), [0, 0, 0, 1, 0], "DEADLINE_EXCEEDED"),
        (Some(1), ignored, "CANCELLED"),
        (Some(3), ignored, "INVALID_ARGUMENT"),
        (Some(5), ignored, "NOT_FOUND"),
        (None, failure, "UNKNOWN"),
    ];
    for (status, counted, name) in cases {
        for is_in_head in [true, false] {
            if status.is_none() && is_in_head {
                continue;
            }
            let breaker = breaker();
            let path = format!("/stock/{name}/{is_in_head}/{}", status.is_some());
            let answers = service_fn(move |_: Request<()>| {
                std::future::ready(Ok::<_, Infallible>(grpc(status, is_in_head)))
            });
            let stack = ServiceBuilder::new()
                .layer(CircuitBreakerLayer::new(breaker.clone()))
                .layer(client::TraceLayer::new())
                .layer(server::TraceLayer::new());
            block_on(&user, async {
                let request = Request::get(format!("http://stock{path}"))
                    .body(())
                    .unwrap();
                let response = stack.service(answers).oneshot(request).await.unwrap();
                response.into_body().collect().await.unwrap();
            });
            assert_eq!(judged(&breaker.snapshot().calls), counted, "{path}");
            check_grpc_spans(&sink, &path, name);
        }
    }
}

fn check_grpc_spans(sink: &Sink, path: &str, name: &str) {
    let (called, served) = sink.wait_for("both spans", |received| {
        let spans = || received.spans.iter().map(|(_, span)| span);
        let of = |key| spans().find(|span| text(&span.attributes, key).ends_with(path));
        Some((of("url.full")?.clone(), of("url.path")?.clone()))
    });
    let status = |span: &Span| text(&span.attributes, "rpc.response.status_code");
    assert_eq!(
        (status(&called), status(&served)),
        (name.into(), name.into())
    );
    let expected = |is_error: bool| match is_error {
        true => (name.to_owned(), true),
        false => (String::new(), false),
    };
    assert_eq!(error_of(&called), expected(name != "OK"), "{path}");
    let server_errors = ["UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE"];
    assert_eq!(
        error_of(&served),
        expected(server_errors.contains(&name)),
        "{path}"
    );
}

/// Scenario: a handler's body fails halfway, and another one continues after its client has left.
/// Guarantees: the server's span is an error: of the body, and cancelled.
#[test]
fn a_server_span_lasts_as_long_as_its_body() {
    use axum::body::{Body, Bytes};
    let (sink, endpoint) = Sink::start();
    let (stock, user) = (telemetry("stock", &endpoint), telemetry("user", &endpoint));
    let part = || Ok::<_, std::io::Error>(Bytes::from_static(b"stock"));
    let breaks = async move || {
        let rest = futures_util::stream::iter([part(), Err(std::io::Error::other("shelf broke"))]);
        Body::from_stream(rest)
    };
    let endless = async move || {
        let first = futures_util::stream::iter([part()]);
        Body::from_stream(futures_util::StreamExt::chain(
            first,
            futures_util::stream::pending(),
        ))
    };
    let router = Router::new()
        .route("/breaks", get(breaks))
        .route("/endless", get(endless))
        .layer(server::TraceLayer::new());
    let address = serve(stock.dispatch().clone(), router);
    block_on(&user, async {
        let ask = |path| TracedClient::new().get(format!("http://{address}/{path}"));
        // The server may close the connection before it has sent everything.
        if let Ok(response) = ask("breaks").send().await {
            assert!(response.bytes().await.is_err());
        }
        let mut response = ask("endless").send().await.unwrap();
        assert_eq!(response.chunk().await.unwrap().unwrap(), "stock");
    });
    let (error_type, is_error) = error_of(&sink.span("stock", "GET /breaks"));
    assert!(is_error && !error_type.is_empty(), "{error_type}");
    let cancelled = ("cancelled".to_owned(), true);
    assert_eq!(error_of(&sink.span("stock", "GET /endless")), cancelled);
}

/// Guarantees: an answer to HEAD, and one whose body is not read, are not errors.
#[test]
fn a_body_that_is_not_sent_is_no_error() {
    let (sink, endpoint) = Sink::start();
    let stock = telemetry("stock", &endpoint);
    let router = Router::new()
        .route("/stock", get(async || "7 pieces"))
        .layer(server::TraceLayer::new());
    let address = serve(stock.dispatch().clone(), router);
    block_on(&stock, async {
        let head = http::Method::HEAD;
        let request = TracedClient::new().request(head, format!("http://{address}/stock"));
        assert_eq!(request.send().await.unwrap().status(), 200);
    });
    let unread = client::TraceLayer::new().layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(()))
    }));
    block_on(
        &stock,
        unread.oneshot(Request::get("http://shop/").body(()).unwrap()),
    )
    .unwrap();
    assert_eq!(
        error_of(&sink.span("stock", "HEAD /stock")),
        (String::new(), false)
    );
    for name in ["HEAD", "GET"] {
        assert_eq!(error_of(&sink.span("stock", name)), (String::new(), false));
    }
}
