//! A real Spring Boot Admin server shows a service, and changes it. `tests/run` builds the server where Java and Maven are.

use std::process::Stdio;
use std::time::Duration;

use fusebox::actuator::Registration;
use fusebox::circuit_breaker::{CircuitBreaker, EffectiveState, State};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tracing_subscriber::filter::LevelFilter;

use super::{TOKEN, actuator, eventually, with_telemetry};

/// Starts the server; returns it with its address.
async fn start() -> (Child, String) {
    let jar = std::env::var("FUSEBOX_TEST_SPRING_BOOT_ADMIN").expect("tests/run sets it");
    // Killed with this test, also if that is killed.
    let mut server = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "java"])
        .args([
            "-Xmx256m",
            "-jar",
            &jar,
            "--server.port=0",
            "--server.address=127.0.0.1",
        ])
        .arg("--spring.boot.admin.monitor.status-interval=3s")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("java starts");
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port = loop {
        let line = lines.next_line().await.unwrap().expect("it starts");
        if let Some((_, rest)) = line.split_once("Tomcat started on port ") {
            break rest.split(' ').next().unwrap().to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (server, format!("http://127.0.0.1:{port}"))
}

/// What the server's pages ask for. An answer in plain JSON is one of Spring Boot 1 to the server, which rewrites it.
const ACCEPTED: &str = "application/vnd.spring-boot.actuator.v2+json,\
    application/vnd.spring-boot.actuator.v1+json,application/json";

/// A client of the server, as its pages are one.
struct Pages {
    client: Client,
    server: String,
}

impl Pages {
    async fn get(&self, path: &str) -> Option<Value> {
        let request = self.client.get(format!("{}{path}", self.server));
        let response = request.header("accept", ACCEPTED).send().await.ok()?;
        response.status().is_success().then_some(())?;
        response.json().await.ok()
    }

    /// Waits until the server shows the service, as wanted.
    async fn instance(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            let all = self.get("/instances").await?;
            let mut all = all.as_array()?.iter();
            all.find(|it| it["registration"]["name"] == "shop" && is(it))
                .cloned()
        })
        .await
    }
}

/// The instance of the service, asked through the server as its pages do.
struct Shown<'a> {
    pages: &'a Pages,
    id: String,
}

impl Shown<'_> {
    fn path(&self, rest: &str) -> String {
        format!("/instances/{}/actuator/{rest}", self.id)
    }

    async fn get(&self, rest: &str) -> Option<Value> {
        self.pages.get(&self.path(rest)).await
    }

    async fn post(&self, rest: &str, body: Value) -> u16 {
        let url = format!("{}{}", self.pages.server, self.path(rest));
        let request = self.pages.client.post(url).json(&body);
        request.send().await.unwrap().status().as_u16()
    }
}

/// Scenario: a service with a token registers. Its pages are asked for through the server, a logger and a breaker are changed
/// there, and the service ends.
/// Guarantees: the server shows health, info, loggers, metrics, breakers, requests and log lines; what it changes is changed;
/// the token is not on its pages; and a service that has ended is none of its instances.
#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_SPRING_BOOT_ADMIN"]
async fn a_spring_boot_admin_server_shows_and_changes_a_service() {
    let (_java, server) = start().await;
    let breaker = CircuitBreaker::new("administered");
    let registration = Registration::with_server(&server).with_token_in_metadata();
    let serving = actuator()
        .with_token(TOKEN)
        .with_build(fusebox::build_info!())
        .with_registration(registration.with_metadata("tags.language", "rust"))
        .serve("127.0.0.1:0")
        .await
        .unwrap();
    let pages = Pages {
        client: Client::new(),
        server,
    };
    let shown = is_listed(&pages).await;
    levels_are_changed(&shown).await;
    breakers_are_forced(&shown, &breaker).await;
    all_else_is_shown(&shown).await;

    serving.stop().await;
    eventually("the service is gone", async || {
        let all = pages.get("/instances").await?;
        (all.as_array()?.is_empty()).then_some(())
    })
    .await;
}

async fn is_listed(pages: &Pages) -> Shown<'_> {
    let has_all =
        |it: &Value| it["statusInfo"]["status"] == "UP" && it["info"]["build"]["name"] == "fusebox";
    let instance = pages.instance("the service, up, with info", has_all).await;
    assert!(!instance.to_string().contains(TOKEN), "{instance}");
    assert_eq!(instance["tags"]["language"], "rust");
    assert_eq!(instance["buildVersion"], env!("CARGO_PKG_VERSION"));
    let ids = instance["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap());
    let ids: Vec<_> = ids.collect();
    for id in [
        "health",
        "info",
        "env",
        "configprops",
        "loggers",
        "metrics",
        "httpexchanges",
        "threaddump",
        "logfile",
        "circuitbreakers",
    ] {
        assert!(ids.contains(&id), "{id} in {ids:?}");
    }
    let id = instance["id"].as_str().unwrap().to_owned();
    Shown { pages, id }
}

async fn levels_are_changed(shown: &Shown<'_>) {
    let logger = || with_telemetry(|it| it.log_levels().get("administered::place")).unwrap();
    let loggers = shown.get("loggers").await.unwrap();
    assert_eq!(loggers["loggers"]["ROOT"]["effectiveLevel"], "INFO");
    assert_eq!(
        shown
            .post(
                "loggers/administered::place",
                json!({ "configuredLevel": "TRACE" })
            )
            .await,
        204
    );
    let level = logger();
    assert_eq!(level.effective, LevelFilter::TRACE);
    assert!(level.expires_in > Some(Duration::from_secs(3_000)));
    assert_eq!(
        shown
            .post(
                "loggers/administered::place",
                json!({ "configuredLevel": null })
            )
            .await,
        204
    );
    let level = logger();
    assert_eq!(level.effective, LevelFilter::INFO);
}

async fn breakers_are_forced(shown: &Shown<'_>, breaker: &CircuitBreaker) {
    breaker.transition_to(State::Open, "a test");
    let health = shown.get("health").await.unwrap();
    let open = &health["components"]["circuitBreakers"]["components"]["administered"];
    assert_eq!(
        (&health["status"], &open["status"]),
        (&json!("UP"), &json!("DEGRADED"))
    );
    assert_eq!(
        shown
            .post(
                "circuitbreakers/administered",
                json!({ "updateState": "FORCE_OPEN" })
            )
            .await,
        200
    );
    assert_eq!(breaker.state(), EffectiveState::ForcedOpen);
    let breakers = shown.get("circuitbreakers").await.unwrap();
    assert_eq!(
        breakers["circuitBreakers"]["administered"]["state"],
        "FORCED_OPEN"
    );
}

async fn all_else_is_shown(shown: &Shown<'_>) {
    let uptime = shown.get("metrics/process.uptime").await.unwrap();
    assert!(uptime["measurements"][0]["value"].as_f64() > Some(0.0));
    for rest in [
        "httpexchanges",
        "threaddump",
        "env",
        "configprops",
        "circuitbreakerevents",
    ] {
        assert!(shown.get(rest).await.is_some(), "{rest}");
    }
    let url = format!("{}{}", shown.pages.server, shown.path("logfile"));
    let log = shown.pages.client.get(url);
    let log = log
        .header("range", "bytes=-300000")
        .header("accept", "text/plain");
    let log = log.send().await.unwrap();
    assert_eq!(log.status(), 206);
    assert!(
        log.text()
            .await
            .unwrap()
            .contains("registered with Spring Boot Admin")
    );
}
