//! The panel for the developer tools, loaded as an extension into a real Chromium and a real Firefox, over a real collector:
//! within the developer tools beside a page, and as a page of its own, with HAR entries that the test makes.

use std::path::Path;

use axum::Router;
use fantoccini::Locator;
use fantoccini::elements::Element;
use fantoccini::wd::WindowHandle;
use integration_tests::{Browser, Firefox, Stack, TraceBuilder, eventually, needed};
use serde_json::{Value, json};

/// Returns the folder of the extension.
fn folder() -> std::path::PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tests.join("../dashboard/devtools").canonicalize();
    folder.expect("the folder is there")
}

/// Returns a HAR entry of a request whose response has that header.
fn entry(path: &str, server_timing: &str) -> Value {
    json!({
        "time": 12.5,
        "request": { "method": "GET", "url": format!("http://shop.example{path}") },
        "response": { "status": 503, "headers": [
            { "name": "Content-Type", "value": "text/html" },
            { "name": "Server-Timing", "value": server_timing },
        ] },
    })
}

async fn text(browser: &Browser, css: &str) -> String {
    let found = browser.client.find(Locator::Css(css)).await;
    match found {
        Ok(element) => element.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// Opens the panel in a page of its own, and sets the collector's address in it.
async fn open_panel(stack: &Stack) -> Browser {
    let browser = Browser::with_extension(900, 600, &folder()).await;
    let panel = format!(
        "chrome-extension://{}/panel.html",
        Browser::extension_id(&folder()).await
    );
    browser.open(&panel).await;
    eventually("the panel", || async {
        let ready = browser
            .client
            .execute("return !!window.fuseboxPanel", Vec::new());
        ready.await.is_ok_and(|ready| ready == true).then_some(())
    })
    .await;
    let address = browser
        .client
        .find(Locator::Id("address"))
        .await
        .expect("the field");
    address.clear().await.expect("it can be cleared");
    address.send_keys(&stack.web).await.expect("it takes text");
    let form = browser.client.find(Locator::Css("#where button")).await;
    form.expect("a button").click().await.expect("a click");
    browser
}

/// Scenario: a page made two requests; the response of one names its trace, between other timings.
/// Guarantees: that one is listed, and selecting it shows its call tree from the collector, each call below its caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_panel_shows_the_call_tree_of_the_selected_request() {
    let stack = Stack::start().await;
    let mut trace = TraceBuilder::new("gateway");
    let cart = trace.span(None, "GET /cart", Vec::new());
    let load = trace.span(Some(cart), "load", Vec::new());
    trace.span(Some(load), "GET /price", Vec::new());
    let id = trace.id();
    trace.send(&stack.otlp_http).await;

    let browser = open_panel(&stack).await;
    let named = format!("db;dur=3, traceparent;desc=\"00-{id}-00000000000000a1-01\"");
    for entry in [entry("/plain", "db;dur=3"), entry("/cart?page=2", &named)] {
        let added = browser
            .client
            .execute("fuseboxPanel.add(arguments[0])", vec![entry]);
        added.await.expect("it is taken");
    }
    let requests = browser.client.find_all(Locator::Css("#requests li")).await;
    let requests = requests.expect("a list");
    assert_eq!(requests.len(), 1, "only the request that names its trace");
    let words = requests[0].text().await.expect("text");
    assert!(
        words.contains("GET /cart?page=2") && words.contains("503"),
        "{words}"
    );

    let button = browser.client.find(Locator::Css("#requests button")).await;
    button.expect("a button").click().await.expect("a click");
    eventually("the call tree", || async {
        let said = text(&browser, "#said").await;
        said.starts_with("3 spans").then_some(())
    })
    .await;
    let rows = browser
        .client
        .find_all(Locator::Css(".rows .name"))
        .await
        .expect("rows");
    let mut said = Vec::new();
    for row in rows {
        said.push(row.text().await.expect("text"));
    }
    assert_eq!(
        said,
        ["gateway GET /cart", "gateway load", "gateway GET /price"]
    );
    let link = browser
        .client
        .find(Locator::Css("#tree a"))
        .await
        .expect("a link");
    let href = link.attr("href").await.expect("an answer");
    assert_eq!(href, Some(format!("{}/traces/{id}", stack.web)));
    browser.screenshot("devtools-panel").await;
    browser.close().await;
}

/// Serves pages whose responses name a trace; returns their address.
async fn serve_pages(trace: &str) -> String {
    let named = format!("traceparent;desc=\"00-{trace}-00000000000000a1-01\"");
    let page = move || async { ([("server-timing", named)], "a page") };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    let pages = Router::new().fallback(page);
    tokio::spawn(async { axum::serve(listener, pages).await });
    format!("http://{address}")
}

/// Selects the panel of the extension in the developer tools, once they have it.
const SELECT_PANEL: &str = "
    const done = arguments[arguments.length - 1];
    import('./ui/legacy/legacy.js').then(async ({ InspectorView }) => {
        const view = InspectorView.InspectorView.instance();
        const id = view.tabbedPane.tabIds().find((id) => id.endsWith('Fusebox'));
        if (id) await view.showPanel(id);
        done(!!id);
    }, () => done(false));";

/// Returns the frame of the panel, which lies within shadow roots.
const FIND_PANEL: &str = "
    const below = (root) => {
        for (const e of root.querySelectorAll('*')) {
            if (e.nodeName === 'IFRAME' && e.src.endsWith('/panel.html')) return e;
            const found = e.shadowRoot && below(e.shadowRoot);
            if (found) return found;
        }
    };
    return below(document);";

/// Switches to the window of the developer tools; returns that of the page.
async fn enter_developer_tools(browser: &Browser) -> WindowHandle {
    let client = &browser.client;
    let page = client.window().await.expect("a window");
    for window in client.windows().await.expect("windows") {
        client.switch_to_window(window).await.expect("it is there");
        let url = client.current_url().await.expect("an address");
        if url.scheme() == "devtools" {
            return page;
        }
    }
    panic!("the developer tools are not open");
}

/// *Scenario*: the developer tools are open beside a page; its response, of an error, names its trace.
/// *Guarantees*: the panel is one of theirs, lists the request, and shows its call tree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_developer_tools_have_the_panel() {
    let stack = Stack::start().await;
    let mut trace = TraceBuilder::new("gateway");
    let cart = trace.span(None, "GET /cart", Vec::new());
    trace.span(Some(cart), "GET /price", Vec::new());
    trace.send(&stack.otlp_http).await;
    let shop = serve_pages(&trace.id()).await;

    let browser = Browser::with_developer_tools(1300, 900, &folder()).await;
    let client = &browser.client;
    // Browser-internal pages have no panels of extensions.
    browser.open(&format!("{shop}/first")).await;
    let page = enter_developer_tools(&browser).await;
    eventually("the panel", || async {
        let selected = client.execute_async(SELECT_PANEL, Vec::new()).await.ok()?;
        selected.as_bool()?.then_some(())
    })
    .await;
    let tools = client.window().await.expect("a window");
    client.switch_to_window(page).await.expect("it is there");
    browser.open(&format!("{shop}/cart?page=2")).await;
    client.switch_to_window(tools).await.expect("it is there");
    let panel = client.execute(FIND_PANEL, Vec::new()).await;
    let panel = panel.expect("the script runs");
    // An element is answered as its id under a key of the protocol.
    let ids = panel.as_object().and_then(|one| one.values().next());
    let id = ids.and_then(Value::as_str).expect("the frame of the panel");
    let panel = Element::from_element_id(client.clone(), id.to_owned().into());
    panel.enter_frame().await.expect("it can be entered");
    let script = "
        const button = [...document.querySelectorAll('#requests button')].find((one) => one.title.endsWith('/cart?page=2'));
        if (!button) return false;
        document.getElementById('address').value = arguments[0];
        document.getElementById('where').requestSubmit();
        button.click();
        return true;";
    eventually("the request of the page", || async {
        let web = vec![stack.web.as_str().into()];
        let found = client.execute(script, web).await.ok()?;
        found.as_bool()?.then_some(())
    })
    .await;
    eventually("the call tree", || async {
        let rows = text(&browser, "#tree .rows").await;
        (rows.contains("GET /cart") && rows.contains("GET /price")).then_some(())
    })
    .await;
    browser.close().await;
}

/// Opens the developer tools beside the page, and selects the panel of the extension in them.
const FIREFOX_SELECTS_PANEL: &str = "
    const done = arguments[arguments.length - 1];
    const { require } = ChromeUtils.importESModule('resource://devtools/shared/loader/Loader.sys.mjs');
    const { gDevTools } = require('devtools/client/framework/devtools');
    const win = Services.wm.getMostRecentWindow('navigator:browser');
    (async () => {
        const toolbox = await gDevTools.showToolboxForTab(win.gBrowser.selectedTab, { toolId: 'webconsole' });
        const find = () => toolbox.getAdditionalTools().find((one) => one.label === 'Fusebox');
        while (!find()) await new Promise((again) => win.setTimeout(again, 50));
        await toolbox.selectTool(find().id);
        done(true);
    })();";

/// Runs its first argument, a function of the panel's window, in the panel.
const IN_FIREFOX_PANEL: &str = "
    const [script, argument, done] = arguments;
    const { require } = ChromeUtils.importESModule('resource://devtools/shared/loader/Loader.sys.mjs');
    const { gDevTools } = require('devtools/client/framework/devtools');
    const frames = [...gDevTools.getToolboxes()[0].doc.querySelectorAll('iframe')];
    const outer = frames.find((one) => one.id.includes('webext-devtools-panel'));
    const { messageManager } = outer.contentDocument.querySelector('browser');
    messageManager.addMessageListener('said', (message) => done(message.data));
    const run = `sendAsyncMessage('said', (${script})(content, ${JSON.stringify(argument)}))`;
    messageManager.loadFrameScript('data:,' + encodeURIComponent(run), false);";

/// *Scenario*: Firefox has the developer tools open beside a page; its response, of an error, names its trace.
/// *Guarantees*: the extension is installed as it is, its panel is one of the developer tools, lists the request, and shows
/// its call tree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs FUSEBOX_TEST_FIREFOX"]
async fn firefox_has_the_panel() {
    let stack = Stack::start().await;
    let mut trace = TraceBuilder::new("gateway");
    let cart = trace.span(None, "GET /cart", Vec::new());
    trace.span(Some(cart), "GET /price", Vec::new());
    trace.send(&stack.otlp_http).await;
    let shop = serve_pages(&trace.id()).await;

    let firefox = Firefox::start(&needed("FUSEBOX_TEST_FIREFOX")).await;
    let firefox = &tokio::sync::Mutex::new(firefox);
    firefox.lock().await.install(&folder()).await;
    firefox.lock().await.open(&format!("{shop}/first")).await;
    let selected = firefox
        .lock()
        .await
        .run_privileged(FIREFOX_SELECTS_PANEL, &[])
        .await;
    assert_eq!(selected, true);
    let choose = "(panel, web) => {
        const page = panel.document;
        const button = [...page.querySelectorAll('#requests button')].find((one) => one.title.endsWith('/cart?page=2'));
        if (!button) return false;
        page.getElementById('address').value = web;
        page.getElementById('where').requestSubmit();
        button.click();
        return true;
    }";
    // What the page asked for before the panel listened is not listed.
    eventually("the request of the page", || async {
        let mut firefox = firefox.lock().await;
        firefox.open(&format!("{shop}/cart?page=2")).await;
        let chosen = firefox
            .run_privileged(IN_FIREFOX_PANEL, &[choose, &stack.web])
            .await;
        chosen.as_bool()?.then_some(())
    })
    .await;
    let tree = "(panel) => panel.document.getElementById('tree').textContent";
    eventually("the call tree", || async {
        let mut firefox = firefox.lock().await;
        let rows = firefox.run_privileged(IN_FIREFOX_PANEL, &[tree, ""]).await;
        let rows = rows.as_str()?;
        (rows.contains("GET /cart") && rows.contains("GET /price")).then_some(())
    })
    .await;
}
