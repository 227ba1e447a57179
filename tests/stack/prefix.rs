//! The pages behind a path prefix: configured, or named by a reverse proxy that removed it.

use std::collections::BTreeSet;

use integration_tests::{Binary, Browser, FakeBreaker, eventually};
use reqwest::{Client, redirect};
use tempfile::TempDir;

use crate::accessibility::paths;

const PREFIX: &str = "/tools/fusebox";

/// Asks for a path as a proxy that removed the prefix does, or with the prefix.
async fn page(web: &str, path: &str, is_removed: bool) -> reqwest::Response {
    let client = Client::builder().redirect(redirect::Policy::none());
    let client = client.build().expect("a client");
    let request = match is_removed {
        true => client
            .get(format!("{web}{path}"))
            .header("x-forwarded-prefix", PREFIX),
        false => client.get(format!("{web}{PREFIX}{path}")),
    };
    let request = request.header("accept", "text/html");
    request.send().await.expect("an answer")
}

/// Reports breakers, and sends the demo's trace, which links to some of them; returns its path.
async fn fill(binary: &Binary) -> String {
    FakeBreaker::new("gateway", "review", "gateway-1")
        .report(&binary.otlp_http, 20)
        .await;
    for name in ["inventory", "price", "review", "recommendation"] {
        FakeBreaker::new("product-page", name, "product-page-1")
            .report(&binary.otlp_http, 20)
            .await;
    }
    let sent = Client::new().post(format!("{}/demo-trace", binary.web));
    let sent = sent.header("sec-fetch-site", "same-origin").send().await;
    sent.expect("an answer").url().path().to_owned()
}

/// Returns the links in a page that are paths, each with its attribute.
fn links(html: &str) -> Vec<(&'static str, &str)> {
    let of_name = |name: &'static str| {
        let values = html.match_indices(name);
        let values = values.filter_map(move |(at, _)| html[at + name.len()..].strip_prefix("=\""));
        let values = values.filter_map(|rest| rest.split('"').next());
        let paths = values.filter(|value| value.starts_with('/'));
        paths.map(move |path| (name, path))
    };
    let names = ["href", "src", "action", "data-live"];
    names.into_iter().flat_map(of_name).collect()
}

/// *Scenario*: every page is asked for with a prefix, and every link on it is followed.
/// *Guarantees*: each link has the prefix once, and leads to a page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_link_of_every_page_has_the_prefix() {
    for is_removed in [true, false] {
        let data = TempDir::new().expect("a temporary directory");
        let settings: &[&str] = if is_removed {
            &[]
        } else {
            &["--path-prefix", PREFIX]
        };
        let binary = Binary::serve_with(data.path(), settings).await;
        let trace = fill(&binary).await;
        let mut linked = BTreeSet::new();
        for path in paths(&trace) {
            let html = page(&binary.web, &path, is_removed).await.text().await;
            let html = html.expect("text");
            for (name, link) in links(&html) {
                let without = link.strip_prefix(PREFIX);
                let without = without.unwrap_or_else(|| panic!("{path} has {name}={link}"));
                assert!(!without.starts_with(PREFIX), "{path} has {name}={link}");
                if matches!(name, "href" | "src") {
                    linked.insert(without.replace("&amp;", "&").replace("&#38;", "&"));
                }
            }
        }
        assert!(linked.len() > 50, "{linked:?}");
        for path in linked {
            let status = page(&binary.web, &path, is_removed).await.status();
            assert!(
                status.is_success() || status.is_redirection(),
                "{path}: {status}"
            );
        }
        let id = trace.trim_start_matches("/traces/");
        let jump = page(&binary.web, &format!("/go?q={id}"), is_removed).await;
        let target = jump.headers()["location"].to_str().expect("text");
        assert_eq!(target, format!("{PREFIX}{trace}"));
        binary.terminate().await;
    }
}

/// *Scenario*: the wall is open behind a prefix, and a breaker reports for the first time.
/// *Guarantees*: its card comes by the live stream, with a link that has the prefix.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wall_is_live_behind_a_prefix() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve_with(data.path(), &["--path-prefix", PREFIX]).await;
    fill(&binary).await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&format!("{}{PREFIX}/", binary.web)).await;
    let mut breaker = FakeBreaker::new("gateway", "price", "gateway-1");
    breaker.report(&binary.otlp_http, 20).await;
    let href = "return document.querySelector('a[href*=\"/circuits/gateway/price\"]')?.getAttribute('href') ?? ''";
    let link = eventually("the card", || async {
        let href = browser.client.execute(href, Vec::new()).await.ok()?;
        href.as_str()
            .filter(|href| !href.is_empty())
            .map(str::to_owned)
    });
    assert!(link.await.starts_with(&format!("{PREFIX}/circuits/")));
    browser.close().await;
    binary.terminate().await;
}
