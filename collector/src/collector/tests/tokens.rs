//! A file of tokens with roles, on every port.

use axum::http::Request;

use super::{Running, send, traces};
use crate::config::CollectorConfig;
use crate::pipeline::testing::spans_request;

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

/// *Scenario*: each of three tokens has one role.
/// *Guarantees*: each allows only its own role, on every port; `/healthz` without a token returns only the
/// status.
#[tokio::test]
async fn each_role_does_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    let tokens = "send:sender-sender-01\nread:reader-reader-01\noperate:operator-operator\n";
    std::fs::write(&file, tokens).unwrap();
    let config = CollectorConfig {
        token_file: Some(file),
        ..CollectorConfig::for_test(dir.path().join("data"))
    };
    let running = Running::start(config).await;
    let get = async |path: &str, token: &str| {
        let request = Request::get(path).header("authorization", bearer(token));
        let (status, body) = send(running.web, request, "").await;
        (status, text(&body))
    };
    for (path, sender, reader, operator) in [
        ("/api/services", 403, 200, 403),
        ("/metrics", 403, 200, 200),
        ("/healthz", 403, 200, 200),
    ] {
        assert_eq!(get(path, "sender-sender-01").await.0, sender, "{path}");
        assert_eq!(get(path, "reader-reader-01").await.0, reader, "{path}");
        assert_eq!(get(path, "operator-operator").await.0, operator, "{path}");
    }
    for addr in [running.web, running.otlp_http] {
        for (token, expected) in [
            ("sender-sender-01", 200),
            ("reader-reader-01", 403),
            ("operator-operator", 403),
        ] {
            let request = traces().header("authorization", bearer(token));
            let answer = send(addr, request, spans_request(1, 0)).await;
            assert_eq!(answer.0, expected, "{token}");
        }
    }
    let (status, answer) = send(running.web, Request::get("/healthz"), "").await;
    assert_eq!(status, 200);
    assert_eq!(text(&answer), r#"{"status":"ok"}"#);
    let known = get("/healthz", "reader-reader-01").await.1;
    assert!(known.contains("spans_stored"), "{known}");
    assert_eq!(get("/healthz", "guesser-guesser").await.0, 401);
    let metrics = get("/metrics", "reader-reader-01").await.1;
    for line in [
        "fusebox_collector_requests_denied_total{listener=\"web\",reason=\"wrong\"} 1",
        "fusebox_collector_requests_denied_total{listener=\"OTLP HTTP\",reason=\"role\"} 2",
        "fusebox_collector_tokens_wrong_total{peer=\"127.0.0.1\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_file_of_tokens_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("empty", ""),
        ("short", "abc\n"),
        ("role", "sned:sender-sender-01"),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let config = CollectorConfig {
            token_file: Some(file),
            ..CollectorConfig::for_test(dir.path().join("data"))
        };
        let error = crate::Collector::bind(config)
            .await
            .unwrap_err()
            .to_string();
        let named = format!("{name}: line 1: ");
        assert!(
            error.starts_with("token-file: ") && error.contains(&named),
            "{error}"
        );
        assert!(!error.contains("sender-"), "{error}");
    }
}
