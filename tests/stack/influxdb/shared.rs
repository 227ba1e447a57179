//! Two collectors behind a load balancer share one InfluxDB: each shows the data of both.

use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::UnixNanos;
use integration_tests::{Binary, FakeBreaker, TraceBuilder, eventually, get_json};
use serde_json::Value;
use tempfile::TempDir;

use super::{Server, ask, everything_arrives, names, span_count};

const TRACES: usize = 20;
const SPANS: usize = 6;

/// Scenario: half of the spans of each trace go to each collector; one breaker reports to each, and a third has an instance
/// at each; all of them open.
/// Guarantees: both show every trace complete, once, without notes; all breakers, now and at a past time; all transitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_collectors_share_one_influxdb() {
    let server = Server::start();
    let data = [(); 2].map(|()| TempDir::new().expect("a temporary directory"));
    let first = server.collector(data[0].path()).await;
    let second = server.collector(data[1].path()).await;
    let both = [&first, &second];
    let traces = send_halves(both).await;
    open_breakers(both, &traces[0]).await;
    let moment = UnixNanos::now().get();
    for binary in both {
        everything_arrives(&binary.web).await;
    }
    for binary in both {
        shows_every_trace_whole(&binary.web, &traces).await;
        shows_every_breaker(&binary.web, moment).await;
    }
    first.terminate().await;
    second.terminate().await;
}

/// Sends half of each trace to each collector; returns the trace ids, sorted.
async fn send_halves([first, second]: [&Binary; 2]) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..TRACES {
        let mut one = TraceBuilder::new("cart");
        let root = one.span(None, "GET /cart", Vec::new());
        let mut other = one.of_service("stock");
        for step in 1..SPANS {
            let (takes, skips) = match step % 2 {
                0 => (&mut one, &mut other),
                _ => (&mut other, &mut one),
            };
            takes.span(Some(root), &format!("step {step}"), Vec::new());
            skips.skip();
        }
        let (to_first, to_second) = match number % 2 {
            0 => (&one, &other),
            _ => (&other, &one),
        };
        to_first.send(&first.otlp_http).await;
        to_second.send(&second.otlp_http).await;
        ids.push(one.id());
    }
    ids.sort_unstable();
    ids
}

/// Opens a breaker at the first collector, one at the second, and one with an instance at each.
async fn open_breakers([first, second]: [&Binary; 2], trace: &str) {
    for (binary, name, instance) in [
        (first, "stock", "pod-1"),
        (second, "price", "pod-2"),
        (first, "review", "pod-1"),
        (second, "review", "pod-2"),
    ] {
        let mut breaker = FakeBreaker::new("cart", name, instance);
        breaker.report(&binary.otlp_http, 10).await;
        let open = EffectiveState::Open;
        breaker.turn(&binary.otlp_http, open, trace).await;
    }
}

async fn shows_every_trace_whole(web: &str, traces: &[String]) {
    // Another collector is noticed within half a minute.
    eventually("traces of both collectors", || async {
        let trace = get_json(&format!("{web}/api/traces/{}", traces[0])).await?;
        (span_count(&trace) == SPANS).then_some(())
    })
    .await;
    for id in traces {
        let trace = ask(web, &format!("/api/traces/{id}")).await;
        assert_eq!(span_count(&trace), SPANS, "{trace}");
        assert_eq!(trace["notes"].as_array().map(Vec::len), Some(0), "{trace}");
    }
    for search in [
        "limit=100",
        "service=cart&limit=100",
        "service=stock&limit=100",
    ] {
        let found = ask(web, &format!("/api/traces?{search}")).await;
        assert!(found["missing"].is_null(), "{found}");
        let rows = found["traces"].as_array().expect("rows");
        let counts = rows.iter().map(|row| row["span_count"].as_u64());
        assert!(
            counts.into_iter().all(|count| count == Some(SPANS as u64)),
            "{found}"
        );
        let ids = rows.iter().filter_map(|row| row["trace_id"].as_str());
        let mut ids: Vec<&str> = ids.collect();
        ids.sort_unstable();
        assert_eq!(ids, traces, "{search}");
    }
}

async fn shows_every_breaker(web: &str, moment: u64) {
    let expected = ["price", "review", "stock"];
    for path in [
        "/api/circuits".to_owned(),
        format!("/api/circuits?at={moment}"),
    ] {
        eventually("the breakers of both collectors, open", || async {
            let wall = get_json(&format!("{web}{path}")).await?;
            (names(&wall) == expected && all_open(&wall)).then_some(())
        })
        .await;
    }
    for (name, instances) in [("stock", 1), ("price", 1), ("review", 2)] {
        let path = format!("{web}/api/circuits/cart/{name}/transitions");
        let changes = eventually("its changes of state", || async {
            let answer = get_json(&path).await?;
            let changes = answer["transitions"].as_array()?.clone();
            (changes.len() >= instances).then_some(changes)
        })
        .await;
        assert_eq!(changes.len(), instances, "{changes:?}");
        let view = ask(web, &format!("/api/circuits/cart/{name}")).await;
        let known = view["instances"].as_array().map(Vec::len);
        assert_eq!(known, Some(instances), "{view}");
    }
}

fn all_open(wall: &Value) -> bool {
    let mut circuits = wall["circuits"].as_array().into_iter().flatten();
    circuits.all(|circuit| circuit["state"] == "open")
}
