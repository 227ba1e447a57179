//! Invalid settings end the program with an error; settings that only InfluxDB can check are reported while it runs.

use integration_tests::{Binary, TraceBuilder, eventually};
use tempfile::TempDir;

use super::{Server, ask, everything_arrives, influxdb_health};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_settings_are_reported() {
    let data = TempDir::new().expect("a temporary directory");
    let here = ["--influxdb", "http://127.0.0.1:1"];
    let with_bucket = [&here[..], &["--influxdb-bucket", "a\"b"]].concat();
    let both = ["--influxdb-token", "t", "--influxdb-token-file", "f"];
    let both = [&here[..], &both].concat();
    let no_authority = data.path().join("nowhere.pem");
    let no_authority = no_authority.to_str().expect("a path of ASCII");
    let https = ["--influxdb", "https://127.0.0.1:1"];
    let https = [&https[..], &["--influxdb-ca-file", no_authority]].concat();
    for (args, words) in [
        (&https[..], "could not trust the certificate authorities in"),
        (&["--influxdb", "nonsense"], "http://127.0.0.1:8086"),
        (&["--influxdb", "http://"], "http://127.0.0.1:8086"),
        (&["--influxdb", "ftp://host"], "http://127.0.0.1:8086"),
        (&["--influxdb", "http://u:p@127.0.0.1:1"], "user:password"),
        (&with_bucket, "influxdb-bucket: must be"),
        (&both, "cannot be used with"),
    ] {
        let stderr = Binary::rejects(data.path(), args).await;
        assert!(stderr.contains(words), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
        assert!(!stderr.contains("u:p@"), "a password is shown: {stderr}");
    }
}

/// Scenario: InfluxDB requires authentication, and the token file has a wrong password; then it is corrected.
/// Guarantees: the collector works meanwhile and reports the problem; then everything arrives without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrected_token_is_used_without_a_restart() {
    let server = Server::start_with("auth-enabled = true");
    let create = r#"CREATE USER "root" WITH PASSWORD 'se:cret' WITH ALL PRIVILEGES"#;
    server.rows(create).await;
    let data = TempDir::new().expect("a temporary directory");
    let file = data.path().join("influxdb-token");
    std::fs::write(&file, "root:wrong\n").expect("the token is written");
    let file_name = file.display().to_string();
    let args = ["--influxdb-token-file", file_name.as_str()];
    let binary = server.collector_with(data.path(), &args).await;
    let mut trace = TraceBuilder::new("cart");
    trace.span(None, "GET /cart", Vec::new());
    trace.send(&binary.otlp_http).await;
    let problem = eventually("the problem", || async {
        let health = influxdb_health(&binary.web).await?;
        (health["reachable"] == false).then(|| health["problem"].to_string())
    })
    .await;
    assert!(problem.contains("does not know the token"), "{problem}");
    assert!(problem.contains(&server.url), "{problem}");
    assert!(
        !problem.contains("wrong"),
        "the password is shown: {problem}"
    );
    assert_eq!(ask(&binary.web, "/healthz").await["status"], "ok");

    std::fs::write(&file, "root:se:cret\n").expect("the token is written");
    everything_arrives(&binary.web).await;
    let count = r#"SELECT "v" FROM "span_idx""#;
    assert_eq!(server.rows_as(("root", "se:cret"), count).await.len(), 1);
    binary.terminate().await;
}
