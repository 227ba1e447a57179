//! A service of Spring Boot registers with the binary as a client of Spring Boot Admin; it is shown, and changed from its
//! page in a real browser. `tests/run` builds the service where Java and Maven are.

use std::collections::BTreeSet;
use std::time::Duration;

use fantoccini::Locator;
use integration_tests::child::SpringBoot;
use integration_tests::{Binary, Browser, DEADLINE, eventually, needed};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

const SENDER_TOKEN: &str = "service-service-1";
const OPERATOR_TOKEN: &str = "operator-operator";
/// Its health is checked every ten seconds, twice if it does not answer.
const CHECKED_WITHIN: Duration = Duration::from_secs(30);

/// A service of Spring Boot.
struct Service(SpringBoot);

impl Service {
    async fn start(binary: &Binary) -> Self {
        Self::registering(binary, &binary.web).await
    }

    /// Starts a service that registers at these addresses, separated by commas.
    async fn registering(binary: &Binary, servers: &str) -> Self {
        let otlp = &binary.otlp_http;
        let jar = needed("FUSEBOX_TEST_SPRING_BOOT_SERVICE");
        let arguments = [
            format!("--spring.boot.admin.client.url={servers}"),
            "--spring.boot.admin.client.register-once=false".to_owned(),
            "--spring.boot.admin.client.username=shop".to_owned(),
            format!("--spring.boot.admin.client.password={SENDER_TOKEN}"),
            "--spring.boot.admin.client.period=1s".to_owned(),
            format!("--management.otlp.metrics.export.url={otlp}/v1/metrics"),
            "--management.otlp.metrics.export.step=1s".to_owned(),
            format!("--management.otlp.metrics.export.headers.Authorization=Bearer {SENDER_TOKEN}"),
        ];
        Self(SpringBoot::start(&jar, &arguments).await)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = reqwest::get(format!("{}{path}", self.0.url)).await;
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Waits until the logger of the service has this configured level.
    async fn has_level(&self, level: &Value) {
        eventually(&format!("{level} in the service"), || async {
            let (_, logger) = self.get("/actuator/loggers/service").await;
            (logger["configuredLevel"] == *level).then_some(())
        })
        .await;
    }
}

/// Asks as an operator.
async fn ask(web: &str, path: &str) -> Option<Value> {
    let request = Client::new().get(format!("{web}{path}"));
    let request = request.header("accept", "application/json");
    let answer = request.bearer_auth(OPERATOR_TOKEN).send().await.ok()?;
    answer.json().await.ok()
}

/// Waits until one instance has a status; returns it.
async fn instance(web: &str, status: &str) -> Value {
    let until = tokio::time::Instant::now() + CHECKED_WITHIN;
    loop {
        let listed = ask(web, "/instances").await.unwrap_or_default();
        let found = listed.as_array().into_iter().flatten();
        let mut found = found.filter(|one| one["statusInfo"]["status"] == status);
        if let Some(found) = found.next() {
            return found.clone();
        }
        assert!(tokio::time::Instant::now() < until, "no {status}: {listed}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The page of an instance in a browser of an operator, whose name the browser sends with the token.
struct Page<'a> {
    browser: &'a Browser,
    url: String,
}

impl Page<'_> {
    async fn open(&self, query: &str) {
        self.browser.open(&format!("{}{query}", self.url)).await;
    }

    async fn shows(&self, words: &[&str]) {
        eventually(&format!("{words:?} on the page"), || async {
            let script = "return document.body.innerText";
            let text = self.browser.client.execute(script, Vec::new()).await.ok()?;
            let text = text.as_str()?.to_owned();
            words.iter().all(|word| text.contains(word)).then_some(())
        })
        .await;
    }

    /// Fills in the reason and sends the form.
    async fn send(&self, form: &str, reason: &str) {
        let wait = || self.browser.client.wait().at_most(DEADLINE);
        let field = format!("{form} input[name=reason]");
        let field = wait().for_element(Locator::Css(&field)).await;
        let typed = field.expect("the field").send_keys(reason).await;
        typed.expect("it takes text");
        let button = format!("{form} button");
        let button = wait().for_element(Locator::Css(&button)).await;
        let pressed = button.expect("the button").click().await;
        pressed.expect("it can be pressed");
    }
}

/// Raises the level of a logger on the page and puts it back.
async fn its_level_is_changed(page: &Page<'_>, web: &str, service: &Service) {
    let loggers = "/api/services/shop/loggers";
    eventually("the loggers of the service", || async {
        let answer = ask(web, loggers).await?;
        (answer["instances"][0]["loggers"][0]["name"] == "ROOT").then_some(())
    })
    .await;
    page.open("?logger=service&level=debug#change").await;
    page.send("#change", "orders are lost").await;
    service.has_level(&Value::from("DEBUG")).await;
    page.shows(&["Level debug", "kim", "orders are lost", "acknowledged"])
        .await;
    page.open("?logger=service&level=back#change").await;
    page.send("#change", "they are found").await;
    service.has_level(&Value::Null).await;
}

/// Forces the circuit breaker open on the page and closes it again.
async fn its_breaker_is_forced_open(page: &Page<'_>, service: &Service) {
    page.open("?breaker=stock&action=force_open#breaker").await;
    page.send("#breaker", "the store is slow").await;
    eventually("refused calls", || async {
        (service.get("/stock").await.0 == 500).then_some(())
    })
    .await;
    eventually("the acknowledgement on the page", || async {
        page.open("").await;
        let script = "return document.body.innerText";
        let text = page.browser.client.execute(script, Vec::new()).await.ok()?;
        let words = ["FORCED_OPEN", "the store is slow", "CLOSED_TO_FORCED_OPEN"];
        let text = text.as_str()?.to_owned();
        words.iter().all(|word| text.contains(word)).then_some(())
    })
    .await;
    page.browser.screenshot("spring-boot-instance").await;
    page.open("?breaker=stock&action=reset#breaker").await;
    page.send("#breaker", "it is fast again").await;
    eventually("calls that pass", || async {
        (service.get("/stock").await.0 == 200).then_some(())
    })
    .await;
}

/// The journal has each change, with who made it, why, and that the service has it.
async fn who_changed_what_is_known(web: &str) {
    let journal = eventually("six changes that the service has", || async {
        let journal = ask(web, "/api/changes?service=shop&by=kim").await?;
        let changes = journal["changes"].as_array()?;
        let has_it = |change: &Value| change["outcomes"][0]["outcome"] == "applied";
        (changes.len() == 6 && changes.iter().all(has_it)).then(|| journal.clone())
    })
    .await;
    assert_eq!(journal["changes"][3]["reason"], "the store is slow");
}

/// Disables the circuit breaker on the page of the circuit, which the metrics of the service report.
async fn is_switched_from_its_circuit(page: &Page<'_>, web: &str, service: &Service) {
    eventually("the circuit by its metrics", || async {
        let circuit = ask(web, "/api/circuits/shop/stock").await?;
        (circuit["source"] == "resilience4j").then_some(())
    })
    .await;
    let root = page.url.split("/instances").next().expect("an address");
    let circuit = format!("{root}/circuits/shop/stock/switch?action=disable");
    page.browser.open(&circuit).await;
    page.send("form.switch", "it must not stop the sale").await;
    eventually("a disabled breaker", || async {
        let (_, all) = service.get("/actuator/circuitbreakers").await;
        (all["circuitBreakers"]["stock"]["state"] == "DISABLED").then_some(())
    })
    .await;
    page.shows(&[
        "Disable",
        "kim",
        "it must not stop the sale",
        "acknowledged",
    ])
    .await;
}

/// Closes the circuit breaker by the API, which shows what the actuator says.
async fn is_closed_by_the_api(web: &str, id: &str) {
    let path = format!("/api/instances/shop/{id}");
    let order = json!({"action": "reset", "reason": "the sale is over", "by": "kim"});
    let request = Client::new().post(format!("{web}{path}/breakers/stock"));
    let answer = request.bearer_auth(OPERATOR_TOKEN).json(&order).send();
    assert_eq!(answer.await.expect("an answer").status(), 202);
    eventually("a closed breaker in the API", || async {
        let read = ask(web, &format!("{path}/actuator")).await?;
        (read["breakers"][0]["state"] == "CLOSED").then_some(())
    })
    .await;
}

/// Scenario: a service registers; an operator reads its page, changes a level and resets it, forces a circuit breaker open and
/// closes it again, disables it on the page of its circuit and resets it by the API; the service is killed, and another one ends.
/// Guarantees: the page shows its health, information, loggers and breakers; the service has what was changed; the journal
/// says who did it and why; the killed service is offline with the reason, and the other one left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs FUSEBOX_TEST_SPRING_BOOT_SERVICE"]
async fn a_service_of_spring_boot_is_shown_and_changed() {
    let data = TempDir::new().expect("a temporary directory");
    let tokens = data.path().join("tokens");
    let lines = format!("send:{SENDER_TOKEN}\nread,operate:{OPERATOR_TOKEN}\n");
    std::fs::write(&tokens, lines).expect("a file of tokens");
    let file = tokens.display().to_string();
    let args = ["--token-file", &file, "--actuator-network", "127.0.0.1"];
    let binary = Binary::serve_with(&data.path().join("data"), &args).await;
    let web = binary.web.clone();
    let service = Service::start(&binary).await;
    let shown = instance(&web, "UP").await;
    assert_eq!(shown["registration"]["name"], "shop");
    assert_eq!(service.get("/stock").await.0, 200);
    let id = shown["id"].as_str().expect("an id");
    let browser = Browser::start(1280, 1400).await;
    let operator = format!("http://kim:{OPERATOR_TOKEN}@");
    let page = Page {
        browser: &browser,
        url: format!("{}/instances/shop/{id}", web.replace("http://", &operator)),
    };
    page.open("").await;
    page.shows(&[
        "diskSpace",
        "1.4.2",
        "stock",
        "CLOSED",
        "GET /stock",
        "running for",
        "commandLineArgs",
    ])
    .await;

    its_level_is_changed(&page, &web, &service).await;
    its_breaker_is_forced_open(&page, &service).await;
    is_switched_from_its_circuit(&page, &web, &service).await;
    is_closed_by_the_api(&web, id).await;
    browser.close().await;
    who_changed_what_is_known(&web).await;

    drop(service);
    let killed = instance(&web, "OFFLINE").await;
    let reason = killed["statusInfo"]["details"]["message"].as_str();
    assert!(
        reason.is_some_and(|reason| reason.contains("cannot be reached")),
        "{killed}"
    );
    let second = Service::start(&binary).await;
    instance(&web, "UP").await;
    second.0.terminate().await;
    eventually("its end in the journal", || async {
        let journal = ask(&web, "/api/changes?service=shop&kind=registration").await?;
        let mut entries = journal["changes"].as_array()?.iter();
        entries.find(|entry| entry["event"] == "left").cloned()
    })
    .await;
    binary.terminate().await;
}

/// Returns the names of the fields of an object.
fn fields(object: &Value) -> BTreeSet<&str> {
    let fields = object.as_object().into_iter().flatten();
    fields.map(|(name, _)| name.as_str()).collect()
}

/// Returns the addresses of the endpoints of an instance or an event, by id.
fn endpoints(of: &Value) -> BTreeSet<(String, String)> {
    let all = of["endpoints"].as_array().into_iter().flatten();
    all.map(|one| (one["id"].to_string(), one["url"].to_string()))
        .collect()
}

/// Asserts that an instance of ours is as Spring Boot Admin's server has it, but for what is counted or timed by each.
fn assert_same_instance(ours: &Value, theirs: &Value) {
    assert_eq!(fields(ours), fields(theirs));
    for field in [
        "id",
        "registration",
        "registered",
        "buildVersion",
        "info",
        "tags",
    ] {
        assert_eq!(ours[field], theirs[field], "{field}");
    }
    assert_eq!(endpoints(ours), endpoints(theirs));
    assert_same_status(&ours["statusInfo"], &theirs["statusInfo"]);
}

/// The details have figures of the moment, such as the free space of a disk.
fn assert_same_status(ours: &Value, theirs: &Value) {
    assert_eq!(fields(ours), fields(theirs));
    assert_eq!(ours["status"], theirs["status"]);
    assert_eq!(fields(&ours["details"]), fields(&theirs["details"]));
}

fn assert_same_event(ours: &Value, theirs: &Value) {
    assert_eq!(fields(ours), fields(theirs), "{theirs}");
    for field in ["instance", "type", "registration", "info"] {
        assert_eq!(ours[field], theirs[field], "{field}");
    }
    assert_eq!(endpoints(ours), endpoints(theirs));
    assert_same_status(&ours["statusInfo"], &theirs["statusInfo"]);
}

/// Asks both servers until their answers are as wanted.
async fn of_both(servers: [&str; 2], path: &str, is: impl Fn(&Value) -> bool) -> [Value; 2] {
    let mut found = Vec::new();
    for server in servers {
        let what = format!("{path} of {server}");
        let answer = eventually(&what, || async {
            ask(server, path).await.filter(|answer| is(answer))
        });
        found.push(answer.await);
    }
    found.try_into().expect("one answer of each")
}

/// *Scenario*: a service registers with Spring Boot Admin's own server and with ours, is checked by both, and ends.
/// *Guarantees*: both answer with the same fields and values about it, and with the same events in the same order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs FUSEBOX_TEST_SPRING_BOOT_SERVICE and FUSEBOX_TEST_SPRING_BOOT_ADMIN"]
async fn the_api_is_that_of_the_original_server() {
    let data = TempDir::new().expect("a temporary directory");
    let args = ["--actuator-network", "127.0.0.1"];
    let binary = Binary::serve_with(data.path(), &args).await;
    let jar = needed("FUSEBOX_TEST_SPRING_BOOT_ADMIN");
    let often = "--spring.boot.admin.monitor.status-interval=3s".to_owned();
    let admin = SpringBoot::start(&jar, &[often]).await;
    let both = [binary.web.as_str(), admin.url.as_str()];
    let service = Service::registering(&binary, &both.join(",")).await;

    let has_info = |all: &Value| all[0]["info"]["java"].is_object();
    let [ours, theirs] = of_both(both, "/instances", has_info).await;
    assert_same_instance(&ours[0], &theirs[0]);
    let id = ours[0]["id"].as_str().expect("an id");
    let path = format!("/instances/{id}");
    let [ours, theirs] = of_both(both, &path, Value::is_object).await;
    assert_same_instance(&ours, &theirs);
    let [ours, theirs] = of_both(both, "/applications/shop", Value::is_object).await;
    assert_eq!(fields(&ours), fields(&theirs));
    for field in ["name", "buildVersion", "status"] {
        assert_eq!(ours[field], theirs[field], "{field}");
    }

    service.0.terminate().await;
    let is_over = |all: &Value| {
        let mut all = all.as_array().into_iter().flatten();
        all.any(|event| event["type"] == "DEREGISTERED")
    };
    let [ours, theirs] = of_both(both, "/instances/events", is_over).await;
    let [ours, theirs] = [&ours, &theirs].map(|all| all.as_array().expect("a list"));
    assert_eq!(ours.len(), theirs.len(), "{ours:?} {theirs:?}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_same_event(ours, theirs);
    }
    let [ours, theirs] = of_both(both, "/applications", Value::is_array).await;
    assert_eq!(ours, theirs);
    binary.terminate().await;
}
