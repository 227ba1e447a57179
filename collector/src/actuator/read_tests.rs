//! Answers of Spring Boot 3.5 and resilience4j 2.3, shortened, and answers of whoever registered.

use serde_json::json;

use super::*;

#[test]
fn a_status_is_that_of_the_health_check_with_its_reason() {
    let read = |answer: StatusCode, body: Value| {
        let read = health(answer, body.to_string().as_bytes());
        (read.status, read.reason)
    };
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let down = json!({"status": "DOWN", "components": {
        "db": {"status": "DOWN", "details": {"error": "refused"}},
        "stores": {"status": "UP", "components": {"a": {"status": "OUT_OF_SERVICE"}}},
        "ping": {"status": "UP"}}});
    let reason = "db DOWN, stores / a OUT_OF_SERVICE".to_owned();
    assert_eq!(read(unavailable, down), (InstanceStatus::Down, reason));
    let up = json!({"status": "UP", "components": {"db": {"status": "UNKNOWN"}}});
    assert_eq!(
        read(StatusCode::OK, up),
        (InstanceStatus::Up, String::new())
    );
    let own = json!({"status": "DEGRADED"});
    assert_eq!(read(StatusCode::OK, own.clone()).0, InstanceStatus::Up);
    assert_eq!(read(unavailable, own).0, InstanceStatus::Down);
    let out = json!({"status": "OUT_OF_SERVICE"});
    let (status, reason) = read(unavailable, out);
    assert_eq!(status, InstanceStatus::OutOfService);
    assert_eq!(reason, "its health check says OUT_OF_SERVICE");
    for (answer, expected) in [
        (StatusCode::OK, InstanceStatus::Up),
        (StatusCode::UNAUTHORIZED, InstanceStatus::Unknown),
        (StatusCode::NOT_FOUND, InstanceStatus::Unknown),
        (StatusCode::INTERNAL_SERVER_ERROR, InstanceStatus::Down),
    ] {
        assert_eq!(health(answer, b"<html>").status, expected, "{answer}");
        assert_eq!(read(answer, json!([1])).0, expected, "{answer}");
    }
}

#[test]
fn breakers_events_and_exchanges_are_read() {
    let all = json!({"circuitBreakers": {"stock": {"failureRate": "50.0%", "failureRateThreshold": "50.0%",
        "slowCallRate": "-1.0%", "bufferedCalls": 100, "notPermittedCalls": 3, "state": "OPEN"}}});
    let breaker = &breakers(&all)[0];
    assert_eq!(
        (breaker.name.as_str(), breaker.state.as_str()),
        ("stock", "OPEN")
    );
    assert_eq!(breaker.failure_rate, "50.0% / 50.0%");
    assert_eq!(breaker.slow_rate, "");
    let all = json!({"circuitBreakerEvents": [
        {"circuitBreakerName": "stock", "type": "SUCCESS", "creationTime": "-", "stateTransition": null},
        {"circuitBreakerName": "stock", "type": "STATE_TRANSITION", "creationTime": "1970-01-01T00:00:02Z[Etc/UTC]", "stateTransition": "CLOSED_TO_OPEN"}]});
    let events = breaker_events(&all);
    assert_eq!(events.len(), 1);
    let time = Some(UnixNanos::new(2_000_000_000));
    assert_eq!(
        (events[0].what.as_str(), events[0].time),
        ("CLOSED_TO_OPEN", time)
    );
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let all = json!({"exchanges": [{"request": {"method": "GET", "uri": "http://shop/actuator/health"}}, {"timestamp": "1970-01-01T00:00:01.5Z", "timeTaken": "PT1M0.03S", "response": {"status": 200},
        "request": {"method": "GET", "uri": "http://shop:8080/stock?token=secret",
            "headers": {"traceparent": [format!("00-{trace}-00f067aa0ba902b7-01")]}}}]});
    let exchange = &exchanges(&all, "/actuator")[0];
    assert_eq!(
        (exchange.request.as_str(), exchange.status),
        ("GET /stock", 200)
    );
    assert_eq!(exchange.trace.as_deref(), Some(trace));
    assert_eq!(exchange.took_nanos, Some(60_030_000_000));
    for (unit, seconds) in [
        ("seconds", Some(1_500.0)),
        ("milliseconds", Some(1.5)),
        ("", None),
    ] {
        let metric = json!({"baseUnit": unit, "measurements": [{"value": 1_500.0}]});
        assert_eq!(uptime(&metric), seconds, "{unit}");
    }
}

#[test]
fn settings_have_the_origin_of_the_value_in_force() {
    let env = json!({"propertySources": [
        {"name": "systemProperties", "properties": {"java.home": {"value": "/opt"}}},
        {"name": "systemEnvironment", "properties": {
            "PATH": {"value": "/bin"}, "SPRING_PROFILES_ACTIVE": {"value": "a", "origin": "System Environment Property"}}},
        {"name": "commandLineArgs", "properties": {"server.port": {"value": "8081"}, "db.password": {"value": "pw"}}},
        {"name": "application.properties", "properties": {
            "server.port": {"value": "8080", "origin": "application.properties - 2:13"},
            "spring.application.name": {"value": "shop", "origin": "application.properties - 1:25"}}}]});
    let read = properties(&env);
    let read: Vec<_> = read
        .iter()
        .map(|it| {
            (
                it.name.as_str(),
                it.value.as_str(),
                it.source.as_str(),
                it.origin.as_str(),
            )
        })
        .collect();
    assert_eq!(
        read,
        [
            (
                "SPRING_PROFILES_ACTIVE",
                "a",
                "systemEnvironment",
                "System Environment Property"
            ),
            ("db.password", MASK, "commandLineArgs", ""),
            ("server.port", "8081", "commandLineArgs", ""),
            (
                "spring.application.name",
                "shop",
                "application.properties",
                "application.properties - 1:25"
            ),
        ]
    );
}

/// Guarantees: a secret is masked by its name, and in every text by its form, wherever an actuator says it.
#[test]
fn secrets_are_masked_in_every_text() {
    let url = "jdbc:postgresql://ada:hunter2@db/shop?password=hunter2";
    let long = format!("{} token=hunter2", "x".repeat(280));
    let source = json!({"name": format!("configserver:{url}"), "properties": {
        "spring.datasource.url": {"value": url, "origin": format!("{url} - 1:2")},
        "vendor.api-key": {"value": "hunter2"},
        "long": {"value": long},
        "java.opts": {"value": "-Dstore.password=hunter2 -Xmx1g"}}});
    let read = properties(&json!({ "propertySources": [source] }));
    let shown = |name: &str| read.iter().find(|one| one.name == name).unwrap();
    let expected = "jdbc:postgresql://REDACTED@db/shop?password=REDACTED";
    assert_eq!(shown("spring.datasource.url").value, expected);
    assert_eq!(shown("java.opts").value, "-Dstore.password=REDACTED -Xmx1g");
    let info = info(&json!({"db": {"password": "hunter2", "url": url}, "note": "pwd=hunter2"}));
    let down = json!({"status": "DOWN", "components": {
        "db": {"status": "DOWN", "details": {"error": format!("no route to {url}"), "secret": "hunter2"}}}});
    let health = health(StatusCode::OK, down.to_string().as_bytes());
    let request = json!({"method": "GET", "uri": "http://shop/reset/token=hunter2"});
    let exchanges = exchanges(&json!({"exchanges": [{ "request": request }]}), "/actuator");
    let all = format!("{read:?} {info:?} {health:?} {exchanges:?}");
    assert!(!all.contains("hunter"), "{all}");
}

#[test]
fn few_loggers_are_shown_and_those_that_are_set_first() {
    let mut all = serde_json::Map::new();
    for number in 0..200 {
        all.insert(
            format!("org.a{number:03}"),
            json!({"effectiveLevel": "INFO"}),
        );
    }
    all.insert(
        "org.a100".to_owned(),
        json!({"configuredLevel": "DEBUG", "effectiveLevel": "DEBUG"}),
    );
    all.insert(
        "ROOT".to_owned(),
        json!({"configuredLevel": "INFO", "effectiveLevel": "INFO"}),
    );
    all.insert("org".to_owned(), json!({"effectiveLevel": "FATAL"}));
    all.insert("none".to_owned(), json!({"effectiveLevel": "LOUD"}));
    all.insert("a.b.Class".to_owned(), json!({"effectiveLevel": "INFO"}));
    let shown = loggers(&json!({ "loggers": all }));
    assert_eq!(shown.len(), LOGGERS_MAX);
    assert!(shown.iter().all(|one| one.name != "a.b.Class"));
    let first: Vec<_> = shown
        .iter()
        .take(3)
        .map(|one| (one.name.as_str(), one.level))
        .collect();
    let expected = [
        ("ROOT", Level::Info),
        ("org.a100", Level::Debug),
        ("org", Level::Error),
    ];
    assert_eq!(first, expected);
}

/// Guarantees: whatever an actuator answers, little is kept of it.
#[test]
fn hostile_answers_are_cut() {
    let long = "x".repeat(10_000);
    let many: Value = (0..1_000)
        .map(|n| (format!("{n}{long}"), json!({"status": long})))
        .collect();
    let nested = json!({"components": {"a": {"components": many}}, "status": "DOWN"});
    let read = health(StatusCode::OK, nested.to_string().as_bytes());
    assert_eq!(read.components.len(), ROWS_MAX);
    assert!(read.reason.len() <= TEXT_BYTES_MAX);
    assert!(
        read.components
            .iter()
            .all(|one| one.name.len() <= TEXT_BYTES_MAX)
    );
    assert_eq!(info(&many).len(), ROWS_MAX);
    let text = json!({"a": "two\nlines\u{7}"});
    assert_eq!(info(&text), [("a".to_owned(), "two lines ".to_owned())]);
    for wrong in [
        json!(null),
        json!([]),
        json!({"circuitBreakers": [1], "exchanges": {}, "loggers": 7}),
    ] {
        assert!(breakers(&wrong).is_empty() && loggers(&wrong).is_empty());
        assert!(exchanges(&wrong, "").is_empty() && breaker_events(&wrong).is_empty());
        assert_eq!(uptime(&wrong), None);
    }
}
