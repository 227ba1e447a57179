//! What someone on call asks of the pages, over the demo: each task with at most as many clicks as are stated here.

use fantoccini::Locator;
use fantoccini::elements::Element;
use integration_tests::{Binary, Browser, DEADLINE, eventually};
use serde_json::Value;

/// A walk that counts its clicks.
struct Walk<'w> {
    browser: &'w Browser,
    clicks: usize,
}

impl<'w> Walk<'w> {
    /// Begins at the wall.
    async fn begin(browser: &'w Browser, web: &str) -> Self {
        browser.open(web).await;
        let walk = Self { browser, clicks: 0 };
        walk.element("article.card").await;
        walk
    }

    async fn element(&self, css: &str) -> Element {
        let wait = self.browser.client.wait().at_most(DEADLINE);
        let found = wait.for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    async fn click(&mut self, css: &str) {
        self.click_at(Locator::Css(css)).await;
    }

    async fn click_at(&mut self, place: Locator<'_>) {
        // What is clicked may be redrawn between the look and the click.
        eventually("something to click", || async {
            let found = self.browser.client.find(place).await.ok()?;
            found.click().await.ok()
        })
        .await;
        self.clicks += 1;
    }

    /// Chooses from a list that submits its form: one click for the choice.
    async fn choose(&mut self, css: &str, value: &str) {
        let list = self.element(css).await;
        list.select_by_value(value).await.expect("a choice");
        self.clicks += 1;
    }

    async fn at(&self, path: &str, parts: &[&str]) {
        eventually(path, || async {
            let url = self.browser.client.current_url().await.ok()?;
            let query = url.query().unwrap_or_default().to_owned();
            let is_there = parts.iter().all(|part| query.contains(part));
            (url.path().starts_with(path) && is_there).then_some(())
        })
        .await;
    }

    async fn run(&self, script: &str) -> Value {
        let value = self.browser.client.execute(script, Vec::new()).await;
        value.expect("the script runs")
    }

    /// Waits until a script says yes.
    async fn until(&self, what: &str, script: &str) {
        eventually(what, || async {
            let value = self.browser.client.execute(script, Vec::new()).await.ok()?;
            (value == true).then_some(())
        })
        .await;
    }

    fn took(&self, task: &str, most: usize) {
        assert!(self.clicks <= most, "{task}: {} clicks", self.clicks);
    }
}

/// *Scenario*: the shop of the demo, in which the breaker of `inventory` opens again and again.
/// *Guarantees*: each task of someone on call ends at its answer within the stated clicks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tasks_of_someone_on_call_take_few_clicks() {
    let demo = Binary::demo().await;
    let browser = Browser::start(1440, 1000).await;
    let web = demo.web.as_str();
    what_is_open_and_why(&browser, web).await;
    the_call_that_opened_it(&browser, web).await;
    the_slowest_through_a_service(&browser, web).await;
    all_refused_of_five_minutes(&browser, web).await;
    what_was_open_ten_minutes_ago(&browser, web).await;
    who_depends_on_a_service(&browser, web).await;
    a_link_to_this_moment(&browser, web).await;
    browser.close().await;
    demo.terminate().await;
}

/// No click: state, reason and how many of the instances are on the card.
async fn what_is_open_and_why(browser: &Browser, web: &str) {
    let walk = Walk::begin(browser, web).await;
    let says = "const card = document.querySelector('article.card.is-open');
        if (!card?.querySelector('.why')) return false;
        const figures = card.querySelector('.figs').textContent;
        return /failed/.test(card.querySelector('.why').textContent) && /\\d of \\d/.test(figures);";
    walk.until("reason and instances", says).await;
    walk.took("what is open, and why; one instance or all", 0);
}

/// One click: the trace, with the call that failed in view and marked.
async fn the_call_that_opened_it(browser: &Browser, web: &str) {
    let mut walk = Walk::begin(browser, web).await;
    walk.click("article.card.is-open a[data-key=cause]").await;
    walk.at("/traces/", &["circuit="]).await;
    let shows = "const row = document.querySelector('a.t[aria-current=true]')?.closest('li');
        if (!row) return false;
        const { top, bottom } = row.getBoundingClientRect();
        return top >= 0 && bottom <= innerHeight + row.offsetHeight && /failed|cut off|timed out/.test(row.textContent);";
    walk.until("the failing hop in view", shows).await;
    walk.took("the call that opened it", 1);
}

/// Four clicks: traces, the service, fifteen minutes, longest first.
async fn the_slowest_through_a_service(browser: &Browser, web: &str) {
    let mut walk = Walk::begin(browser, web).await;
    walk.click("nav a[href='/traces']").await;
    walk.at("/traces", &[]).await;
    walk.choose("select[name=service]", "product-page").await;
    walk.at("/traces", &["service=product-page"]).await;
    walk.choose("select[name=range]", "15m").await;
    walk.at("/traces", &["range=15m"]).await;
    walk.choose("select[name=order]", "longest").await;
    walk.at("/traces", &["order=longest", "range=15m", "service="])
        .await;
    let sorted = "const wide = [...document.querySelectorAll('.took-bar .fill')].map((bar) => parseFloat(bar.getAttribute('width')));
        return wide.length > 3 && wide[0] === 100 && wide.every((one, at) => !at || one <= wide[at - 1]);";
    walk.until("the longest first", sorted).await;
    walk.took("the slowest", 4);
}

/// Two clicks: the refused calls of the card, of five minutes.
async fn all_refused_of_five_minutes(browser: &Browser, web: &str) {
    let mut walk = Walk::begin(browser, web).await;
    walk.click("article.card.is-open a[data-key=rejected]")
        .await;
    walk.at("/traces", &["outcome=rejected"]).await;
    walk.choose("select[name=range]", "5m").await;
    walk.at("/traces", &["outcome=rejected", "range=5m"]).await;
    let counts =
        "return /\\d+ (traces?|found)/.test(document.querySelector('.head-line').textContent)";
    walk.until("their number", counts).await;
    walk.took("all refused of five minutes", 2);
}

/// Two clicks: the popover of the time, ten minutes ago.
async fn what_was_open_ten_minutes_ago(browser: &Browser, web: &str) {
    let mut walk = Walk::begin(browser, web).await;
    walk.click(".when-go summary").await;
    let step = "//*[@class='pop']//a[contains(., '10 min')]";
    walk.click_at(Locator::XPath(step)).await;
    walk.at("/", &["at="]).await;
    walk.took("what was open then", 2);
}

/// Two clicks: the services, one of them; its callers are there with their breakers.
async fn who_depends_on_a_service(browser: &Browser, web: &str) {
    let mut walk = Walk::begin(browser, web).await;
    walk.click("nav a[href='/services']").await;
    walk.click("main a[href='/services/review']").await;
    walk.at("/services/review", &[]).await;
    walk.element("main .cards th a[href='/services/product-page']")
        .await;
    walk.took("who depends on review", 2);
}

/// One click: the address has the moment, and shows the same states again.
async fn a_link_to_this_moment(browser: &Browser, web: &str) {
    let mut walk = Walk::begin(browser, web).await;
    walk.click("#live").await;
    walk.at("/", &["at="]).await;
    let cards = "return [...document.querySelectorAll('article')].map((card) => card.id + card.className).sort().join()";
    let before = walk.run(cards).await;
    let url = browser.client.current_url().await.expect("an address");
    browser.open(url.as_str()).await;
    assert_eq!(walk.run(cards).await, before, "{url}");
    walk.took("a link to this moment", 1);
}
