//! Numbers as large as they can be written, in every field of every dialect and every query: nothing breaks.

use std::path::Path;

use axum::Router;
use axum::routing::get;
use fusebox_collector::model::UnixNanos;
use integration_tests::{Binary, eventually};
use reqwest::Client;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Values for a field of any type of number.
const NUMBERS: [&str; 8] = [
    "18446744073709551615",
    "9223372036854775807",
    "-9223372036854775808",
    "-2147483648",
    "4294967295",
    "-1",
    "0",
    "1.7976931348623157e308",
];

/// A body with its path. `«5»` is a number that is replaced, with its usual value; `now` counts nanoseconds, `us`
/// and `ms` the others; `§` is a new id.
const BODIES: [(&str, &str); 10] = [
    (
        "/v1/traces",
        r#"{"resourceSpans":[{"resource":{"droppedAttributesCount":«1»,"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},
            {"key":"host.cpus","value":{"intValue":"«4»"}}]},"scopeSpans":[{"scope":{"droppedAttributesCount":«1»},"spans":[
            {"traceId":"§","spanId":"00000000000000a1","name":"get /buy","kind":2,"flags":«257»,"startTimeUnixNano":"«now»",
            "endTimeUnixNano":"«now»","droppedAttributesCount":«1»,"droppedEventsCount":«1»,"droppedLinksCount":«1»,
            "attributes":[{"key":"http.response.status_code","value":{"intValue":"«200»"}},{"key":"share","value":{"doubleValue":«0.5»}}],
            "events":[{"timeUnixNano":"«now»","name":"found","droppedAttributesCount":«1»}],
            "links":[{"traceId":"0af7651916cd43dd8448eb211c803101","spanId":"00000000000000a1","flags":«1»,"droppedAttributesCount":«1»}]},
            {"traceId":"§","spanId":"00000000000000a2","parentSpanId":"00000000000000a1","name":"call","kind":«3»,
            "startTimeUnixNano":"«now»","endTimeUnixNano":"«now»","status":{"code":«2»},"attributes":[
            {"key":"circuit_breaker.name","value":{"stringValue":"stock"}},{"key":"peer.service","value":{"stringValue":"stock"}},
            {"key":"server.port","value":{"intValue":«8080»}}]}]}]}]}"#,
    ),
    (
        "/v1/metrics",
        r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeMetrics":[{"metrics":[
            {"name":"resilience4j.circuitbreaker.calls","unit":"milliseconds","histogram":{"aggregationTemporality":«1»,"dataPoints":[
            {"attributes":[{"key":"kind","value":{"stringValue":"failed"}},{"key":"name","value":{"stringValue":"stock"}}],
            "startTimeUnixNano":"«now»","timeUnixNano":"«now»","count":"«7»","sum":«70»,"bucketCounts":["«3»","«4»"],"explicitBounds":[«5»]}]}},
            {"name":"resilience4j.circuitbreaker.not.permitted.calls","sum":{"aggregationTemporality":«1»,"isMonotonic":true,"dataPoints":[
            {"attributes":[{"key":"name","value":{"stringValue":"stock"}}],"startTimeUnixNano":"«now»","timeUnixNano":"«now»","asInt":"«7»"}]}},
            {"name":"resilience4j.circuitbreaker.buffered.calls","gauge":{"dataPoints":[{"attributes":[{"key":"kind","value":{"stringValue":"failed"}},
            {"key":"name","value":{"stringValue":"stock"}}],"timeUnixNano":"«now»","asDouble":«5»}]}},
            {"name":"resilience4j.circuitbreaker.failure.rate","gauge":{"dataPoints":[{"attributes":[{"key":"name","value":{"stringValue":"stock"}}],
            "timeUnixNano":"«now»","asDouble":«50»}]}},
            {"name":"resilience4j.bulkhead.max.allowed.concurrent.calls","gauge":{"dataPoints":[{"attributes":[{"key":"name","value":
            {"stringValue":"stock"}}],"timeUnixNano":"«now»","asDouble":«25»}]}},
            {"name":"resilience4j.circuitbreaker.state","gauge":{"dataPoints":[{"attributes":[{"key":"name","value":{"stringValue":"stock"}},
            {"key":"state","value":{"stringValue":"open"}}],"timeUnixNano":"«now»","asDouble":«1»}]}}]}]}]}"#,
    ),
    (
        "/v1/metrics",
        r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"own"}},
            {"key":"service.instance.id","value":{"stringValue":"own-1"}}]},"scopeMetrics":[{"metrics":[
            {"name":"fusebox.circuit_breaker.call.duration","unit":"s","exponentialHistogram":{"aggregationTemporality":«2»,"dataPoints":[
            {"attributes":[{"key":"circuit_breaker.name","value":{"stringValue":"stock"}},
            {"key":"circuit_breaker.outcome","value":{"stringValue":"success"}}],"startTimeUnixNano":"«now»","timeUnixNano":"«now»",
            "count":"«7»","sum":«1»,"scale":«3»,"zeroCount":"«1»","zeroThreshold":«0.1»,"positive":{"offset":«-40»,"bucketCounts":["«7»","«1»"]}}]}},
            {"name":"fusebox.circuit_breaker.inflight","gauge":{"dataPoints":[
            {"attributes":[{"key":"circuit_breaker.name","value":{"stringValue":"stock"}}],"timeUnixNano":"«now»","asInt":"«7»"}]}}]}]}]}"#,
    ),
    (
        "/v1/logs",
        r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"own"}},
            {"key":"service.instance.id","value":{"stringValue":"own-1"}}]},"scopeLogs":[{"logRecords":[
            {"timeUnixNano":"«now»","observedTimeUnixNano":"«now»","severityNumber":«9»,"flags":«1»,"droppedAttributesCount":«1»,"traceId":"§",
            "body":{"intValue":"«5»"}},
            {"timeUnixNano":"«now»","eventName":"fusebox.circuit_breaker.settings","attributes":[
            {"key":"circuit_breaker.name","value":{"stringValue":"stock"}},{"key":"circuit_breaker.settings","value":{"stringValue":
            "{\"window_ms\":«10000»,\"minimum_calls\":«10»,\"failure_rate_percent\":«50»,\"open_duration_ms\":«5000»,\"max_concurrent\":«10»,\"half_open_probes\":«1»}"}}]},
            {"timeUnixNano":"«now»","eventName":"fusebox.circuit_breaker.transition","attributes":[
            {"key":"circuit_breaker.name","value":{"stringValue":"stock"}},
            {"key":"circuit_breaker.from","value":{"stringValue":"closed"}},
            {"key":"circuit_breaker.to","value":{"stringValue":"open"}},
            {"key":"circuit_breaker.open_until","value":{"intValue":"«now»"}}]}]}]}]}"#,
    ),
    (
        "/api/v2/spans",
        r#"[{"traceId":"§","id":"a1","name":"get","kind":"SERVER","timestamp":«us»,"duration":«9»,
            "localEndpoint":{"serviceName":"web","ipv4":"10.0.0.1","port":«80»},"annotations":[{"timestamp":«us»,"value":"ws"}]},
            {"traceId":"§","id":"a2","parentId":"a1","kind":"CLIENT","timestamp":«us»,"duration":«9»,"localEndpoint":{"serviceName":"web"},
            "remoteEndpoint":{"serviceName":"db","port":«5432»}}]"#,
    ),
    (
        "/api/v1/spans",
        r#"[{"traceId":"§","id":"a1","name":"get","timestamp":«us»,"duration":«9»,"annotations":[
            {"timestamp":«us»,"value":"sr","endpoint":{"serviceName":"web","port":«80»}},{"timestamp":«us»,"value":"ss","endpoint":{"serviceName":"web"}}],
            "binaryAnnotations":[{"key":"status","value":«200»,"endpoint":{"serviceName":"web"}}]}]"#,
    ),
    (
        "/eureka/apps/STOCK",
        r#"{"instance":{"instanceId":"§","hostName":"stock-1","app":"STOCK","ipAddr":"10.0.0.7","status":"UP","port":{"$":«8080»,"@enabled":"true"},
            "securePort":{"$":«443»,"@enabled":"false"},"countryId":«1»,"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
            "name":"MyOwn"},"leaseInfo":{"renewalIntervalInSecs":«30»,"durationInSecs":«90»,"registrationTimestamp":«ms»,"lastRenewalTimestamp":«ms»,
            "evictionTimestamp":«0»,"serviceUpTimestamp":«ms»},"lastUpdatedTimestamp":"«ms»","lastDirtyTimestamp":"«ms»"}}"#,
    ),
    (
        "/fusebox/v1/control",
        r#"{"service":"own","instance":"own-1","after":«0»,"wait_ms":«0»}"#,
    ),
    (
        "/jaeger/api/transform",
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0af7651916cd43dd8448eb211c803199","spanId":"00000000000000a1","name":"a",
            "startTimeUnixNano":"«now»","endTimeUnixNano":"«now»","events":[{"timeUnixNano":"«now»"}]}]}]}]}"#,
    ),
    (
        "/api/notifications/mutes",
        r#"{"service":"own","for_s":«60»,"by":"Ann","reason":"tried"}"#,
    ),
];

/// Two of Hystrix's objects, a command and a pool; `#` is another name each time.
const HYSTRIX: [&str; 3] = [
    r#"{"type":"HystrixCommand","name":"c#","group":"g","currentTime":«ms»,"isCircuitBreakerOpen":true,"errorPercentage":«31»,
        "errorCount":«5»,"requestCount":«16»,"rollingCountSuccess":«12»,"rollingCountFailure":«1»,"rollingCountTimeout":«1»,
        "rollingCountShortCircuited":«1»,"rollingCountSemaphoreRejected":«1»,"rollingCountThreadPoolRejected":«4»,"rollingCountBadRequests":«1»,
        "rollingCountFallbackSuccess":«1»,"rollingCountFallbackFailure":«1»,"rollingCountFallbackRejection":«1»,"rollingCountFallbackMissing":«1»,
        "currentConcurrentExecutionCount":«1»,"latencyExecute_mean":«38»,"latencyExecute":{"25":«5»,"50":«5»,"75":«6»,"90":«7»,"95":«9»,"99":«9»,
        "99.5":«9»,"100":«9»},"propertyValue_circuitBreakerRequestVolumeThreshold":«10»,"propertyValue_circuitBreakerSleepWindowInMilliseconds":«5000»,
        "propertyValue_circuitBreakerErrorThresholdPercentage":«50»,"propertyValue_executionIsolationStrategy":"THREAD",
        "propertyValue_executionTimeoutInMilliseconds":«500»,"propertyValue_executionIsolationSemaphoreMaxConcurrentRequests":«10»,
        "propertyValue_metricsRollingStatisticalWindowInMilliseconds":«10000»,"reportingHosts":«1»,"threadPool":"p#"}"#,
    r#"{"type":"HystrixThreadPool","name":"p#","currentTime":«ms»,"currentActiveCount":«1»,"currentCompletedTaskCount":«88»,
        "currentCorePoolSize":«4»,"currentLargestPoolSize":«4»,"currentPoolSize":«4»,"currentQueueSize":«1»,"currentTaskCount":«88»,
        "rollingCountThreadsExecuted":«21»,"rollingMaxActiveThreads":«4»,"rollingCountCommandRejections":«4»,
        "propertyValue_queueSizeRejectionThreshold":«5»,"reportingHosts":«1»}"#,
    r#"{"type":"HystrixCollapser","name":"s#","currentTime":«ms»,"rollingCountRequestsBatched":«2»,"rollingCountBatches":«2»,
        "rollingCountResponsesFromCache":«1»,"batchSize_mean":«1»,"batchSize":{"25":«1»,"50":«1»,"75":«1»,"90":«1»,"95":«1»,"99":«1»,"99.5":«1»,
        "100":«1»},"propertyValue_maxRequestsInBatch":«9»,"propertyValue_timerDelayInMilliseconds":«10»,"reportingHosts":«1»}"#,
];

/// What is asked afterwards, with each number in the place of `«»`.
const ASKED: [&str; 34] = [
    "/?at=«»",
    "/wallboard",
    "/circuits/own/stock?at=«»&range=«»s",
    "/circuits/shop/stock",
    "/circuits/own/stock/settings",
    "/traces?start=«»&end=«»&limit=«»&min_duration=«»&trace_max=«»h&range=«»d",
    "/traces?differs=slow",
    "/logs?start=«»&end=«»&limit=«»",
    "/services",
    "/services/shop",
    "/map",
    "/instances",
    "/about",
    "/metrics",
    "/api/circuits?at=«»",
    "/api/circuits/own/stock/history?start=«»&end=«»&buckets=«»",
    "/api/circuits/own/stock/transitions?start=«»&end=«»&limit=«»",
    "/api/policies",
    "/api/services?limit=«»",
    "/api/dependencies?start=«»&end=«»",
    "/api/traces?limit=«»&start=«»&end=«»&min_duration=«»",
    "/api/v2/traces?endTs=«»&lookback=«»&limit=«»&minDuration=«»&maxDuration=«»",
    "/api/v2/traces?limit=100",
    "/api/v2/dependencies?endTs=«»&lookback=«»",
    "/api/v2/remoteServices?serviceName=web",
    "/jaeger/api/traces?service=shop&start=«»&end=«»&limit=«»&minDuration=«»s&maxDuration=«»us",
    "/jaeger/api/traces?service=shop&limit=100",
    "/jaeger/api/dependencies?endTs=«»&lookback=«»",
    "/jaeger/api/metrics/latencies?service=shop&quantile=«»&endTs=«»&lookback=«»&step=«»&ratePer=«»",
    "/jaeger/api/v3/trace-summaries?query.serviceName=shop&query.startTimeMin=2026-01-01T00:00:00Z&query.startTimeMax=9999-01-01T00:00:00Z&query.searchDepth=«»",
    "/tempo/api/search?q=%7B%7D&limit=«»&spss=«»&start=«»&end=«»",
    "/tempo/api/search?q=%7Bduration%3E«»s%7D&start=0&end=4294967295",
    "/tempo/api/metrics/query_range?q=%7B%7D%7Crate()&start=«»&end=«»&step=«»",
    "/tempo/api/metrics/query?q=%7B%7D%7Csum_over_time(duration)&since=«»s",
];

/// Returns the body with usual numbers; with a number in one place of `«»`; and with it in all of them.
fn written(template: &str) -> Vec<String> {
    let places = template.matches('«').count();
    let mut all = vec![with(template, |_, usual| usual.to_owned())];
    for number in NUMBERS {
        all.push(with(template, |_, _| number.to_owned()));
        let alone =
            |at| move |place, usual: &str| (if place == at { number } else { usual }).to_owned();
        all.extend((0..places).map(|at| with(template, alone(at))));
    }
    all
}

fn with(template: &str, number: impl Fn(usize, &str) -> String) -> String {
    let id = format!("{:032x}", fastrand::u128(1..));
    let now = UnixNanos::now().get();
    let mut pieces = template.split('«');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for (place, piece) in pieces.enumerate() {
        let (usual, rest) = piece.split_once('»').expect("a closed place");
        let usual = match usual {
            "now" => now.to_string(),
            "us" => (now / 1_000).to_string(),
            "ms" => (now / 1_000_000).to_string(),
            usual => usual.to_owned(),
        };
        text += &number(place, &usual);
        text += rest;
    }
    text.replace('§', &id)
}

/// Serves each of Hystrix's objects once, under a name of its own, and then waits.
async fn hystrix() -> String {
    let objects = HYSTRIX.iter().flat_map(|template| written(template));
    let line = |(number, object): (usize, String)| {
        let object = object
            .replace('#', &(number % 900).to_string())
            .replace('\n', " ");
        format!("data: {object}\n\n")
    };
    let all: String = objects.enumerate().map(line).collect();
    let app = Router::new().route("/hystrix.stream", get(move || async move { all.clone() }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("hystrix=http://{address}/hystrix.stream")
}

async fn send_all(client: &Client, web: &str) {
    for (path, template) in BODIES {
        for body in written(template) {
            let request = client.post(format!("{web}{path}")).body(body.clone());
            let answer = request.header("content-type", "application/json").send();
            let status = answer.await.expect("an answer").status();
            assert!(status.as_u16() < 500, "{status}: {path} {body}");
        }
    }
}

async fn ask_all(client: &Client, web: &str) {
    for template in ASKED {
        for path in written(template) {
            let answer = client.get(format!("{web}{path}")).send().await;
            let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
            let status = answer.status();
            let text = answer.text().await;
            assert!(
                text.is_ok() && status.as_u16() < 500,
                "{status}: {path} {text:?}"
            );
        }
    }
}

/// Scenario: every number that can be sent or asked for is replaced by the largest and smallest of their types, alone and with
/// all others, in a build that checks arithmetic.
/// Guarantees: every request is answered, none as a failure of ours, and nothing panics.
#[tokio::test]
async fn no_number_breaks_anything() {
    let data = TempDir::new().expect("a temporary directory");
    let log = data.path().join("stderr");
    let source = hystrix().await;
    let arguments = ["--hystrix-stream", source.as_str()];
    let binary = Binary::serve_logging(&data.path().join("data"), &log, &arguments).await;
    let client = Client::new();
    for _ in 0..2 {
        send_all(&client, &binary.web).await;
        ask_all(&client, &binary.web).await;
    }
    let commands = format!("{}/api/circuits", binary.web);
    eventually("Hystrix's commands", async || {
        let wall = integration_tests::get_json(&commands).await?;
        let circuits = wall["circuits"].as_array()?;
        circuits
            .iter()
            .any(|one| one["service"] == "hystrix")
            .then_some(())
    })
    .await;
    ask_all(&client, &binary.web).await;
    binary.terminate().await;
    no_panic(&log);
}

fn no_panic(log: &Path) {
    let text = std::fs::read_to_string(log).expect("standard error");
    let panics: Vec<_> = text
        .lines()
        .filter(|line| line.contains("panicked at"))
        .collect();
    assert!(panics.is_empty(), "{panics:#?}");
}
