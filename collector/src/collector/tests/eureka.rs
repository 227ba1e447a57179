//! Who may write to the registry by the APIs of Eureka and Spring Boot Admin, over sockets.

use http::Method;

use super::*;

/// What services change.
const WRITES: [(&str, &str); 6] = [
    ("POST", "/eureka/apps/SHOP"),
    ("PUT", "/eureka/apps/SHOP/a"),
    ("DELETE", "/eureka/apps/SHOP/a"),
    ("PUT", "/eureka/apps/SHOP/a/metadata?zone=b"),
    ("POST", "/instances"),
    ("DELETE", "/instances/66f2e01cd99d"),
];
/// What operators change.
const STATUSES: [(&str, &str); 2] = [
    ("PUT", "/eureka/apps/SHOP/a/status?value=OUT_OF_SERVICE"),
    ("DELETE", "/eureka/v2/apps/SHOP/a/status"),
];
const SHOP: &str = r#"{"instance": {"instanceId": "a", "hostName": "h", "app": "SHOP", "ipAddr": "10.0.0.7",
    "status": "UP", "dataCenterInfo": {"name": "MyOwn"}}}"#;

/// Sends a write with these headers.
async fn write(running: &Running, (method, path): (&str, &str), headers: &[(&str, &str)]) -> u16 {
    let method: Method = method.parse().unwrap();
    let mut request = Request::builder().method(method).uri(path);
    request = request.header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(running.web, request, SHOP).await.0.as_u16()
}

/// Returns the header in which a client of Eureka sends the token of its server's URL.
fn basic(token: &str) -> String {
    use base64::Engine;
    let pair = format!("shop:{token}");
    let pair = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Basic {pair}")
}

/// Guarantees: a sender registers and reads; only an operator sets a status.
#[tokio::test]
async fn only_a_sender_registers() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    let tokens = "send:sender-sender-01\nread:reader-reader-01\noperate:operator-operator\n";
    std::fs::write(&file, tokens).unwrap();
    let config = CollectorConfig {
        token_file: Some(file),
        ..CollectorConfig::for_test(dir.path().join("data"))
    };
    let running = Running::start(config).await;
    let (sender, reader) = (basic("sender-sender-01"), basic("reader-reader-01"));
    let operator = basic("operator-operator");
    let all = WRITES.map(|to| (to, [&reader, &operator], &sender));
    let statuses = STATUSES.map(|to| (to, [&reader, &sender], &operator));
    for (to, others, who) in all.into_iter().chain(statuses) {
        assert_eq!(write(&running, to, &[]).await, 401, "{to:?}");
        for other in others {
            let answered = write(&running, to, &[("authorization", other.as_str())]).await;
            assert_eq!(answered, 403, "{to:?}");
        }
        for foreign in [
            ("origin", "http://evil.example"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let answered = write(&running, to, &[("authorization", who.as_str()), foreign]).await;
            assert_eq!(answered, 403, "{to:?}");
        }
    }
    let get = async |token: &str| {
        let request = Request::get("/eureka/apps").header("authorization", token);
        let (status, body) = send(running.web, request, "").await;
        (status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    };
    assert!(
        !get(&reader).await.1.contains("<instance>"),
        "nothing was changed"
    );
    let registered = write(&running, WRITES[0], &[("authorization", sender.as_str())]).await;
    assert_eq!(registered, 204);
    for who in [&reader, &sender] {
        assert!(get(who).await.1.contains("<instanceId>a</instanceId>"));
    }
    assert_eq!(get(&operator).await.0, 403);
    for to in STATUSES {
        let set = write(&running, to, &[("authorization", operator.as_str())]).await;
        assert_eq!(set, 200, "{to:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn without_tokens_no_page_of_another_site_registers() {
    let dir = tempfile::tempdir().unwrap();
    for insecure in [false, true] {
        let config = CollectorConfig {
            insecure,
            ..CollectorConfig::for_test(dir.path().join(insecure.to_string()))
        };
        let running = Running::start(config).await;
        for to in WRITES.into_iter().chain(STATUSES) {
            let rebound = write(&running, to, &[("host", "evil.example:9411")]).await;
            assert_eq!(rebound, 421, "{to:?}");
            let foreign = write(&running, to, &[("origin", "http://evil.example")]).await;
            assert_eq!(foreign, 403, "{to:?}");
        }
        assert_eq!(write(&running, WRITES[0], &[]).await, 204);
        assert_eq!(write(&running, STATUSES[0], &[]).await, 200);
        let passed_on = [("x-forwarded-for", "192.0.2.7")];
        assert_eq!(write(&running, STATUSES[0], &passed_on).await, 403);
        running.stop().await;
    }
}
