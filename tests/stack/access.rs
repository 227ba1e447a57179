//! Who may connect, and what idle clients and few file handles do to real senders: nothing.

use fusebox::circuit_breaker::EffectiveState;
use integration_tests::{Binary, FakeBreaker, TraceBuilder, eventually, get_json};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// Connects that many times and sends nothing.
async fn idle(url: &str, connections: usize) -> Vec<TcpStream> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may be raised");
    let addr = url.strip_prefix("http://").expect("an address");
    let mut idle = Vec::new();
    for _ in 0..connections {
        let connected = TcpStream::connect(addr).await;
        idle.push(connected.expect("the listener accepts"));
    }
    idle
}

/// Sends a trace and a transition of a breaker, and reads both.
async fn assert_works(binary: &Binary) {
    let mut trace = TraceBuilder::new("orders");
    trace.span(None, "GET /orders", Vec::new());
    trace.send(&binary.otlp_http).await;
    let mut breaker = FakeBreaker::new("orders", "stock", "orders-1");
    let to = EffectiveState::Open;
    breaker.turn(&binary.otlp_http, to, &trace.id()).await;
    let traces = format!("{}/api/traces/{}", binary.web, trace.id());
    assert!(get_json(&traces).await.is_some());
    let transitions = format!(
        "{}/api/circuits/orders/stock/transitions?limit=1",
        binary.web
    );
    let transitions = get_json(&transitions).await.expect("the transitions");
    assert_eq!(transitions["transitions"][0]["to"], "open");
}

/// Returns a value of `/metrics`.
async fn metric(web: &str, name: &str) -> Option<u64> {
    integration_tests::counter(web, name).await
}

/// Scenario: 4,096 clients connect to each port and send nothing.
/// Guarantees: spans and transitions are taken and read, on new connections, while all of them are there.
#[tokio::test]
async fn idle_connections_shut_no_client_out() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve(data.path()).await;
    let _web = idle(&binary.web, 4_096).await;
    let _otlp = idle(&binary.otlp_http, 4_096).await;
    assert_works(&binary).await;
    binary.terminate().await;
}

/// Scenario: the process may open 1,024 files, and 1,010 clients connect and send nothing.
/// Guarantees: connections leave handles to the store, and senders are heard.
#[tokio::test]
async fn few_file_handles_are_enough() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve_with_handles(data.path(), 1_024).await;
    let _web = idle(&binary.web, 1_010).await;
    let _otlp = idle(&binary.otlp_http, 1_010).await;
    assert_works(&binary).await;
    let max = metric(&binary.web, "handles_max").await;
    assert_eq!(max, Some(1_024));
    let open = metric(&binary.web, "handles_open").await;
    assert!(open.is_some_and(|open| open < 1_024 - 128), "{open:?}");
    binary.terminate().await;
}

/// Scenario: every file handle of the process is in use when the first span arrives on an open connection.
/// Guarantees: the segment is created all the same.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_segment_is_created_when_no_handle_is_left() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve(data.path()).await;
    let client = reqwest::Client::new();
    let services = client.get(format!("{}/api/services", binary.web)).send();
    let services = services.await.expect("an answer");
    services.text().await.expect("a body");
    let numbers = handle_numbers(binary.id());
    let handles = numbers.iter().max().expect("open files") + 1;
    let limit = Rlimit {
        current: Some(handles),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let process = i32::try_from(binary.id()).ok();
    let process = process.and_then(rustix::process::Pid::from_raw);
    rustix::process::prlimit(process, Resource::Nofile, limit).expect("the limit is lowered");
    let more_than_fit = usize::try_from(handles).expect("a small number") + 64;
    let _idle = idle(&binary.otlp_http, more_than_fit).await;
    eventually("connections take the last handles", || async {
        let open = handle_numbers(binary.id()).len() as u64;
        (open == handles).then_some(())
    })
    .await;

    let mut trace = TraceBuilder::new("orders");
    trace.span(None, "GET /orders", Vec::new());
    let sent = integration_tests::try_export(&client, &binary.web, &trace.request()).await;
    assert_eq!(sent.expect("an answer").status(), 200);
    binary.kill().await;
}

/// Returns the numbers of a process's open files.
#[cfg(target_os = "linux")]
fn handle_numbers(process: u32) -> Vec<u64> {
    let listed = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
    let names = listed.flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect()
}

/// Scenario: a token of a file is replaced while the server runs; both are valid for a while.
/// Guarantees: it is taken up without a restart, and the old one is refused once it is gone.
#[tokio::test]
async fn tokens_of_a_file_are_replaced_without_a_restart() {
    let data = TempDir::new().expect("a temporary directory");
    let file = data.path().join("tokens");
    let write = |text: &str| std::fs::write(&file, text).expect("the file is written");
    write("old-old-old-old-1\n");
    let args = ["--token-file", file.to_str().expect("a path of text")];
    let binary = Binary::serve_with(&data.path().join("data"), &args).await;
    let url = format!("{}/api/services", binary.web);
    let status = async |token: &str| {
        let answer = reqwest::Client::new().get(&url).bearer_auth(token).send();
        answer.await.expect("an answer").status().as_u16()
    };
    assert_eq!(status("old-old-old-old-1").await, 200);
    assert_eq!(status("new-new-new-new-2").await, 401);
    write("old-old-old-old-1\nread:new-new-new-new-2\n");
    eventually("the new token is valid", || async {
        (status("new-new-new-new-2").await == 200).then_some(())
    })
    .await;
    assert_eq!(status("old-old-old-old-1").await, 200);
    write("read:new-new-new-new-2\n");
    eventually("the old token is refused", || async {
        (status("old-old-old-old-1").await == 401).then_some(())
    })
    .await;
    assert_eq!(status("new-new-new-new-2").await, 200);
    binary.terminate().await;
}

/// Guarantees: a token that protects nothing is refused with a sentence, and never printed.
#[tokio::test]
async fn a_token_that_protects_nothing_is_refused() {
    let data = TempDir::new().expect("a temporary directory");
    for token in [
        "",
        "x",
        "fifteen-letters",
        "two words of letters",
        "sécret-sécret-sécret",
    ] {
        let error = Binary::rejects(data.path(), &["--token", token]).await;
        assert!(error.contains("token: a token must be"), "{error}");
        assert!(token.len() < 2 || !error.contains(token), "{error}");
    }
}
