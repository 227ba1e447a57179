//! Circuits switched by hand: real services, the real collector, a real browser, and whoever may not.

use std::collections::BTreeSet;

use fantoccini::Locator;
use fusebox_collector::{Collector, CollectorConfig};
use fusebox_dashboard::serve;
use integration_tests::{
    Binary, Browser, DEADLINE, FakeBreaker, ShopService, Stack, child, eventually, get_json,
};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

const CIRCUIT: &str = "/circuits/product-page/inventory";
/// Nothing listens at the discard port.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Two instances of a service behind a breaker, and the service that they call.
struct Services {
    pages: [ShopService; 2],
    _inventory: ShopService,
}

impl Services {
    async fn start(otlp_http: &str) -> Self {
        let inventory = ShopService::start("inventory", "1", otlp_http, &[]).await;
        let others = ["price", "review", "recommendation", "legacy"];
        let mut peers = others.map(|name| (name, NOWHERE)).to_vec();
        peers.push(("inventory", &inventory.url));
        let pages = [
            ShopService::start("product-page", "1", otlp_http, &peers).await,
            ShopService::start("product-page", "2", otlp_http, &peers).await,
        ];
        let services = Self {
            _inventory: inventory,
            pages,
        };
        services.wait_for_stock([true, true]).await;
        services
    }

    /// Waits until the calls of each instance pass, or are refused.
    async fn wait_for_stock(&self, passes: [bool; 2]) {
        eventually(&format!("calls that pass: {passes:?}"), || async {
            let mut found = Vec::new();
            for page in &self.pages {
                let answer = get_json(&format!("{}/product/7", page.url)).await?;
                found.push(!answer["stock"].is_null());
            }
            (found == passes).then_some(())
        })
        .await;
    }
}

/// Waits until the collector shows both instances of the circuit.
async fn wait_for_circuit(web: &str) {
    eventually("both instances", || async {
        let circuit = get_json(&format!("{web}/api{CIRCUIT}")).await?;
        (circuit["instances"].as_array()?.len() == 2).then_some(())
    })
    .await;
}

async fn changes(web: &str) -> Option<Vec<Value>> {
    let answer = get_json(&format!("{web}/api{CIRCUIT}/changes")).await?;
    answer["changes"].as_array().cloned()
}

/// Waits until the latest change stands like that with both instances.
async fn wait_for_deliveries(web: &str, states: [&str; 2]) {
    eventually(&format!("deliveries {states:?}"), || async {
        let changes = changes(web).await?;
        let deliveries = changes.first()?["deliveries"].as_array()?.clone();
        let found: Vec<_> = deliveries.iter().map(|one| one["state"].as_str()).collect();
        (found == states.map(Some)).then_some(())
    })
    .await;
}

fn order(action: &str) -> Value {
    json!({"action": action, "reason": "the disk is full", "by": "Ada", "expires_in_s": 3600})
}

async fn send(web: &str, order: &Value) -> Response {
    let request = Client::new().post(format!("{web}/api{CIRCUIT}/changes"));
    request.json(order).send().await.expect("an answer")
}

/// Scenario: an operator opens the circuit's page in a browser, forces the circuit open, and later resets it.
/// Guarantees: calls are refused in both instances; the page says who, why, and that both acknowledged; reset, calls pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circuit_is_forced_open_from_its_page() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve(data.path()).await;
    let services = Services::start(&binary.otlp_http).await;
    wait_for_circuit(&binary.web).await;

    let browser = Browser::start(1280, 1000).await;
    switch(&browser, &binary.web, "Force open").await;
    services.wait_for_stock([false, false]).await;
    wait_for_deliveries(&binary.web, ["applied", "applied"]).await;
    eventually("what happened on the page", || async {
        let text = body_text(&browser).await;
        let says = |words: &str| text.contains(words);
        let both = text.matches("acknowledged").count() == 2;
        let all = says("Forced open") && says("Ada") && says("the disk is full") && both;
        all.then_some(())
    })
    .await;
    browser.screenshot("forced-open").await;
    browser.open(&binary.web).await;
    eventually("who and why on the wall", || async {
        let text = body_text(&browser).await;
        text.contains("Ada: the disk is full").then_some(())
    })
    .await;

    switch(&browser, &binary.web, "Reset").await;
    services.wait_for_stock([true, true]).await;
    browser.close().await;
    binary.terminate().await;
}

/// Fills in the form of the circuit's page and sends it.
async fn switch(browser: &Browser, web: &str, action: &str) {
    browser.open(&format!("{web}{CIRCUIT}")).await;
    click(browser, Locator::LinkText(action)).await;
    fill(browser, "reason", "the disk is full").await;
    fill(browser, "by", "Ada").await;
    browser.screenshot(&format!("switch-{action}")).await;
    assert_beside_words(browser).await;
    click(browser, Locator::Id("confirm")).await;
    let panel = browser.client.wait().at_most(DEADLINE);
    let panel = panel.for_element(Locator::Css("#switch .note")).await;
    panel.expect("the circuit's page with the change");
}

/// Asserts that each choice has its words beside it, not below it.
async fn assert_beside_words(browser: &Browser) {
    let furthest = "
        const middle = (e) => { const box = e.getBoundingClientRect(); return (box.top + box.bottom) / 2; };
        const apart = (label) => Math.abs(middle(label.querySelector('input')) - middle(label.querySelector('b, bdi')));
        return Math.max(...[...document.querySelectorAll('.switch fieldset label')].map(apart));";
    let furthest = browser.client.execute(furthest, Vec::new()).await;
    let furthest = furthest.expect("the script runs");
    assert!(
        furthest.as_f64().is_some_and(|px| px < 4.0),
        "{furthest} px"
    );
}

async fn click(browser: &Browser, what: Locator<'_>) {
    let found = browser.client.wait().at_most(DEADLINE);
    let found = found.for_element(what).await.expect("it is on the page");
    found.click().await.expect("it can be pressed");
}

async fn fill(browser: &Browser, field: &str, text: &str) {
    let css = format!("input[name={field}]");
    let found = browser.client.wait().at_most(DEADLINE);
    let found = found.for_element(Locator::Css(&css)).await;
    let found = found.expect("the field is on the page");
    found.send_keys(text).await.expect("it takes text");
}

async fn body_text(browser: &Browser) -> String {
    let script = "return document.body.innerText";
    let text = browser.client.execute(script, Vec::new()).await;
    text.ok()
        .and_then(|text| text.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Scenario: one instance is stopped while the circuit is forced open, and the collector is killed while the change is
/// pending there. It starts again, and the instance goes on.
/// Guarantees: the change comes to the instance, once, and is shown as acknowledged by both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_change_arrives_once_after_a_crash() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve(data.path()).await;
    let otlp_http = binary.otlp_http.clone();
    let services = Services::start(&otlp_http).await;
    wait_for_circuit(&binary.web).await;
    child::signal(services.pages[1].id(), "STOP");
    let taken = send(&binary.web, &order("force_open")).await;
    assert_eq!(taken.status(), 202);
    wait_for_deliveries(&binary.web, ["applied", "pending"]).await;
    binary.kill().await;

    let port = otlp_http.strip_prefix("http://").expect("an address");
    let binary = Binary::serve_with(data.path(), &["--otlp-http-listen", port]).await;
    child::signal(services.pages[1].id(), "CONT");
    wait_for_circuit(&binary.web).await;
    wait_for_deliveries(&binary.web, ["applied", "applied"]).await;
    services.wait_for_stock([false, false]).await;
    let transitions = format!("{}/api{CIRCUIT}/transitions", binary.web);
    let forced = eventually("the transitions of both", || async {
        let answer = get_json(&transitions).await?;
        let all = answer["transitions"].as_array()?.clone();
        let forced = all.into_iter().filter(|one| one["to"] == "forced_open");
        let mut forced: Vec<_> = forced.map(|one| one["instance"].to_string()).collect();
        forced.sort();
        (forced.len() >= 2).then_some(forced)
    })
    .await;
    assert_eq!(forced, ["\"product-page-1\"", "\"product-page-2\""]);
    binary.terminate().await;
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Routes that change something without being an operator's: they set cookies, show an upload, or are what services send
/// about themselves; and a call that only reads.
const OTHERS: [&str; 16] = [
    "POST /api/v2/spans",
    "POST /preferences",
    "POST /upload",
    "POST /jaeger/api/transform",
    "POST /demo-trace",
    "POST /tempopb.StreamingQuerier/{method}",
    "POST /instances",
    "DELETE /instances/{id}",
    "POST /eureka/apps/{app}",
    "PUT /eureka/apps/{app}/{id}",
    "DELETE /eureka/apps/{app}/{id}",
    "PUT /eureka/apps/{app}/{id}/metadata",
    "POST /eureka/v2/apps/{app}",
    "PUT /eureka/v2/apps/{app}/{id}",
    "DELETE /eureka/v2/apps/{app}/{id}",
    "PUT /eureka/v2/apps/{app}/{id}/metadata",
];

/// A change that only operators make.
struct Write {
    method: Method,
    route: &'static str,
    content_type: &'static str,
    body: String,
}

impl Write {
    fn path(&self) -> String {
        let has = |part| self.route.contains(part);
        let id = match (has("instances"), has("mutes")) {
            (true, _) => "product-page-1",
            (_, true) => "1",
            _ => TRACE,
        };
        let name = if has("services") {
            "product-page"
        } else {
            "inventory"
        };
        let values = [
            ("{service}", "product-page"),
            ("{app}", "PRODUCT-PAGE"),
            ("{name}", name),
            ("{logger}", "ROOT"),
            ("{id}", id),
        ];
        let filled = values.into_iter();
        filled.fold(self.route.to_owned(), |path, (name, value)| {
            path.replace(name, value)
        })
    }
}

/// Every change that only operators make.
fn writes() -> Vec<Write> {
    let settings = json!({"settings": {"minimum_calls": 9}, "reason": "full", "by": "Ada"});
    let level = json!({"level": "debug", "reason": "full", "by": "Ada", "expires_in_s": 60});
    let mute = json!({"for_s": 60, "reason": "we deploy", "by": "Ada"});
    let keep = json!({"note": "outage", "by": "Ada"});
    let status = json!({"status": "OUT_OF_SERVICE", "reason": "full", "by": "Ada"});
    let api = [
        (
            "/api/circuits/{service}/{name}/changes",
            order("force_open"),
        ),
        ("/api/circuits/{service}/{name}/settings", settings),
        ("/api/services/{name}/loggers/{logger}", level),
        ("/api/instances/{service}/{id}/status", status),
        (
            "/api/instances/{service}/{id}/breakers/{name}",
            order("force_open"),
        ),
        ("/api/notifications/mutes", mute),
        ("/api/traces/{id}/keep", keep),
        ("/jaeger/api/archive/{id}", json!({})),
    ];
    let forms = [
        (
            "/circuits/{service}/{name}/switch",
            "action=force_open&reason=full&by=Ada&expires_in_s=3600",
        ),
        (
            "/circuits/{service}/{name}/settings",
            "minimum_calls=9&reason=full&by=Ada&expires_in_s=0",
        ),
        (
            "/instances/{service}/{id}/level",
            "logger=ROOT&level=debug&reason=full&by=Ada&expires_in_s=300",
        ),
        (
            "/instances/{service}/{id}/breaker",
            "breaker=inventory&action=force_open&reason=full&by=Ada&expires_in_s=300",
        ),
        (
            "/instances/{service}/{id}/status",
            "status=OUT_OF_SERVICE&reason=full&by=Ada",
        ),
        ("/notifications/mutes", "for_s=60&reason=deploy&by=Ada"),
        ("/notifications/mutes/{id}/end", ""),
        ("/traces/{id}/keep", "note=outage&by=Ada"),
        ("/kept/{id}/remove", ""),
    ];
    let others = [
        (Method::DELETE, "/api/notifications/mutes/{id}"),
        (Method::DELETE, "/api/kept/{id}"),
        (Method::DELETE, "/api/instances/{service}/{id}"),
        (Method::DELETE, "/applications/{name}"),
        (Method::PUT, "/eureka/apps/{app}/{id}/status"),
        (Method::DELETE, "/eureka/apps/{app}/{id}/status"),
        (Method::PUT, "/eureka/v2/apps/{app}/{id}/status"),
        (Method::DELETE, "/eureka/v2/apps/{app}/{id}/status"),
    ];
    let form = "application/x-www-form-urlencoded";
    let write = |method, route, content_type, body: String| Write {
        method,
        route,
        content_type,
        body,
    };
    let api =
        api.map(|(route, body)| write(Method::POST, route, "application/json", body.to_string()));
    let forms = forms.map(|(route, body)| write(Method::POST, route, form, body.to_owned()));
    let others = others.map(|(method, route)| write(method, route, form, String::new()));
    api.into_iter().chain(forms).chain(others).collect()
}

/// Guarantees: the tests of this file try every route that changes something, also those that come later.
#[tokio::test]
async fn every_route_that_changes_something_is_tried() {
    let data = TempDir::new().expect("a temporary directory");
    let config = CollectorConfig::for_test(data.path());
    let collector = Collector::bind(config).await.expect("a collector");
    // A router shows its routes in no other way.
    let router = format!("{:?}", serve::web_router(&collector));
    let is_route = |part: &&str| part.starts_with('/') && !part.contains("__private");
    let paths: BTreeSet<&str> = router.split('"').filter(is_route).collect();
    assert!(paths.contains("/api/circuits/{service}/{name}/changes"));
    let stack = Stack::start().await;
    let mut found = BTreeSet::new();
    for path in paths {
        let asked = Client::new().request(Method::OPTIONS, format!("{}{path}", stack.web));
        let answer = asked.send().await.expect("an answer");
        if answer.status() == 404 {
            continue; // A path that routes stand below.
        }
        let allowed = answer.headers().get("allow").expect(path);
        let allowed = allowed.to_str().expect("names of methods").split(',');
        let changes = allowed.filter(|method| !["GET", "HEAD"].contains(method));
        found.extend(changes.map(|method| format!("{method} {path}")));
    }
    let tried = writes().into_iter();
    let tried = tried.map(|it| format!("{} {}", it.method, it.route));
    let known: BTreeSet<_> = tried.chain(OTHERS.map(str::to_owned)).collect();
    assert_eq!(found, known);
}

/// Sends each change with these headers; returns the statuses that occurred.
async fn try_all(web: &str, headers: &[(&str, &str)]) -> BTreeSet<u16> {
    let mut statuses = BTreeSet::new();
    for write in writes() {
        statuses.insert(try_one(web, headers, write).await);
    }
    statuses
}

async fn try_one(web: &str, headers: &[(&str, &str)], write: Write) -> u16 {
    let no_redirects = reqwest::redirect::Policy::none();
    let client = Client::builder().redirect(no_redirects).build();
    let client = client.expect("a client");
    let mut request = client.request(write.method.clone(), format!("{web}{}", write.path()));
    request = request
        .header("content-type", write.content_type)
        .body(write.body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("an answer");
    answer.status().as_u16()
}

/// Asserts that whoever sends these headers may change the circuit, by the API and the form, and is refused nothing else:
/// the other routes exist and answer about what is changed.
async fn assert_may_change(web: &str, headers: &[(&str, &str)]) {
    for write in writes() {
        let path = write.path();
        let status = try_one(web, headers, write).await;
        match path.contains(CIRCUIT) {
            true => assert!([202, 303].contains(&status), "{path}: {status}"),
            false => assert!(![401, 403, 405, 421].contains(&status), "{path}: {status}"),
        }
    }
}

/// Reports the circuit, so that there is something to switch.
async fn report(otlp_http: &str) {
    let mut breaker = FakeBreaker::new("product-page", "inventory", "product-page-1");
    breaker.report(otlp_http, 1).await;
}

/// Scenario: changes are sent without a token, with a viewer's, a sender's, and from pages of other sites that have an
/// operator's.
/// Guarantees: each is refused with its status, and only the operator's own is taken.
#[tokio::test]
async fn only_an_operator_switches_where_there_are_tokens() {
    let data = TempDir::new().expect("a temporary directory");
    let file = data.path().join("tokens");
    let tokens = "send:sender-sender-01\nread:viewer-viewer-01\nread,operate:operator-operator\n";
    std::fs::write(&file, tokens).expect("a file");
    let file = file.display().to_string();
    let args = ["--token-file", file.as_str()];
    let binary = Binary::serve_with(&data.path().join("data"), &args).await;
    let web = &binary.web;
    let sent = reporting(&binary.otlp_http).await;
    assert_eq!(sent, 200);

    assert_eq!(try_all(web, &[]).await, [401].into());
    for token in ["viewer-viewer-01", "sender-sender-01"] {
        let bearer = format!("Bearer {token}");
        let refused = try_all(web, &[("authorization", &bearer)]).await;
        assert_eq!(refused, [403].into(), "{token}");
    }
    let operator = ("authorization", "Bearer operator-operator");
    for site in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
    ] {
        assert_eq!(
            try_all(web, &[operator, site]).await,
            [403].into(),
            "{site:?}"
        );
    }
    let same = ("sec-fetch-site", "same-origin");
    assert_may_change(web, &[operator, same]).await;
    binary.terminate().await;
}

/// Reports the circuit with the sender's token.
async fn reporting(otlp_http: &str) -> u16 {
    let body = FakeBreaker::new("product-page", "inventory", "product-page-1").body();
    let request = Client::new().post(format!("{otlp_http}/v1/metrics"));
    let request = request.bearer_auth("sender-sender-01").json(&body);
    request.send().await.expect("an answer").status().as_u16()
}

/// Scenario: there is no token. Changes come to a host name that anybody could have pointed here, and from pages of other
/// sites; once more with `--insecure`.
/// Guarantees: each is refused; from this machine itself they are taken.
#[tokio::test]
async fn only_this_machine_switches_where_there_is_no_token() {
    for args in [&[][..], &["--insecure"]] {
        let data = TempDir::new().expect("a temporary directory");
        let binary = Binary::serve_with(data.path(), args).await;
        report(&binary.otlp_http).await;
        let web = &binary.web;
        let rebound = try_all(web, &[("host", "evil.example:9411")]).await;
        assert_eq!(rebound, [421].into(), "{args:?}");
        let own = [
            ("host", "evil.example:9411"),
            ("origin", "http://evil.example:9411"),
        ];
        assert_eq!(try_all(web, &own).await, [421].into(), "{args:?}");
        let other = [("origin", "http://evil.example")];
        assert_eq!(try_all(web, &other).await, [403].into(), "{args:?}");
        assert_eq!(changes(web).await, Some(Vec::new()), "{args:?}");
        assert_may_change(web, &[]).await;
        binary.terminate().await;
    }
}

/// Scenario: a reverse proxy at this address identifies users; an operator, a viewer and an unknown user come through it,
/// and a client names the operator from another address.
/// Guarantees: only the operator changes something, and their name is in the journal.
#[tokio::test]
async fn a_proxys_users_have_the_roles_that_they_were_given() {
    let data = TempDir::new().expect("a temporary directory");
    let args = [
        "--trusted-proxy=127.0.0.1",
        "--proxy-user-header=X-Forwarded-User",
        "--proxy-operator=ada@example.org",
        "--proxy-viewer=eve",
    ];
    let binary = Binary::serve_with(data.path(), &args).await;
    report(&binary.otlp_http).await;
    let web = &binary.web;
    let header = "x-forwarded-user";
    assert_eq!(try_all(web, &[]).await, [401].into());
    for user in ["eve", "mallory"] {
        assert_eq!(
            try_all(web, &[(header, user)]).await,
            [403].into(),
            "{user}"
        );
    }
    let ada = (header, "ada@example.org");
    let rebound = [ada, ("host", "evil.example:9411")];
    assert_eq!(try_all(web, &rebound).await, [401].into());
    let cross = [ada, ("sec-fetch-site", "cross-site")];
    assert_eq!(try_all(web, &cross).await, [403].into());
    assert_may_change(web, &[ada]).await;
    let journal = Client::new().get(format!("{web}/api/changes?kind=settings"));
    let journal = journal
        .header(header, "eve")
        .send()
        .await
        .expect("an answer");
    let journal: Value = journal.json().await.expect("a document");
    assert_eq!(journal["changes"][0]["by"], "ada@example.org");
    binary.terminate().await;

    let elsewhere = ["--trusted-proxy=10.9.9.9", args[1], args[2]];
    let binary = Binary::serve_with(data.path(), &elsewhere).await;
    assert_eq!(try_all(&binary.web, &[ada]).await, [401].into());
    binary.terminate().await;
}
