//! A real headless Chromium, driven by WebDriver.

use std::path::Path;
use std::process::Stdio;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use url::{ParseError, Url};

use crate::child;
use crate::wait::read_until_exit;

/// How often a driver is started before the test fails.
const DRIVER_STARTS_MAX: usize = 3;

/// A browser with an empty profile; it is killed when dropped.
#[derive(Debug)]
pub struct Browser {
    /// The WebDriver session.
    pub client: Client,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser with a window of that size in CSS pixels.
    pub async fn start(width: u32, height: u32) -> Self {
        Self::start_with(width, height, Vec::new()).await
    }

    /// Starts a browser with an extension from a folder.
    pub async fn with_extension(width: u32, height: u32, folder: &Path) -> Self {
        Self::start_with(width, height, extension(folder)).await
    }

    /// Starts a browser with an extension from a folder, and with the developer tools open in a window of their own.
    pub async fn with_developer_tools(width: u32, height: u32, folder: &Path) -> Self {
        let mut arguments = extension(folder);
        arguments.push("--auto-open-devtools-for-tabs".to_owned());
        Self::start_with(width, height, arguments).await
    }

    /// Returns the id that Chromium gives to an extension from that folder: the hash of its path, in letters.
    ///
    /// # Panics
    /// Panics where there is no `sha256sum`.
    pub async fn extension_id(folder: &Path) -> String {
        use tokio::io::AsyncWriteExt;
        let command = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut command = command.expect("sha256sum starts");
        let mut stdin = command.stdin.take().expect("standard input is piped");
        let path = folder.as_os_str().as_encoded_bytes();
        stdin.write_all(path).await.expect("it reads");
        drop(stdin);
        let output = command.wait_with_output().await.expect("it ends");
        let digits = output.stdout.iter().take(32);
        let letter = |digit: &u8| char::from(*digit).to_digit(16).map(|n| b'a' + n as u8);
        digits.filter_map(letter).map(char::from).collect()
    }

    async fn start_with(width: u32, height: u32, more: Vec<String>) -> Self {
        let (driver, port) = start_driver().await;
        let profile = TempDir::new().expect("a temporary directory");
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities(profile.path(), width, height, more))
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a browser session");
        Self {
            client,
            driver,
            _profile: profile,
        }
    }

    /// Opens a page.
    ///
    /// # Panics
    /// Panics when it cannot be opened.
    pub async fn open(&self, url: &str) {
        let opened = self.client.goto(url).await;
        opened.unwrap_or_else(|error| panic!("{url} does not open: {error}"));
    }

    /// Writes a screenshot into the directory `FUSEBOX_TEST_SCREENSHOTS`, if that is set.
    pub async fn screenshot(&self, name: &str) {
        let Some(dir) = std::env::var_os("FUSEBOX_TEST_SCREENSHOTS") else {
            return;
        };
        let picture = self.client.screenshot().await.expect("a screenshot");
        std::fs::create_dir_all(&dir).expect("the screenshot directory");
        std::fs::write(Path::new(&dir).join(format!("{name}.png")), picture)
            .expect("the screenshot is written");
    }

    /// Sets the width of the page in CSS pixels, as on a phone.
    pub async fn set_width(&self, width: u32) {
        let metrics =
            json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": true });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    /// Emulates the preference for a `dark` or `light` colour scheme.
    pub async fn set_colour_scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    async fn devtools(&self, command: &'static str, parameters: serde_json::Value) {
        let command = Devtools {
            command,
            parameters,
        };
        self.client
            .issue_cmd(command)
            .await
            .expect("the browser takes the command");
    }

    /// Closes the session and the driver.
    pub async fn close(mut self) {
        self.client.clone().close().await.ok();
        self.driver.kill().await.ok();
    }
}

/// Chromium's extension of WebDriver that runs a DevTools command.
#[derive(Debug)]
struct Devtools {
    command: &'static str,
    parameters: serde_json::Value,
}

impl WebDriverCompatibleCommand for Devtools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _url: &Url) -> (http::Method, Option<String>) {
        let body = json!({ "cmd": self.command, "params": self.parameters });
        (http::Method::POST, Some(body.to_string()))
    }
}

/// Returns the arguments that load an extension. Since Chrome 137 the switch alone does nothing.
fn extension(folder: &Path) -> Vec<String> {
    vec![
        "--disable-features=DisableLoadExtensionCommandLineSwitch".to_owned(),
        format!("--load-extension={}", folder.display()),
    ]
}

/// Starts a driver on a free port. It exits where another process took that port between its two sockets (IPv4 and IPv6),
/// as happens when many tests start at once.
async fn start_driver() -> (Child, u16) {
    for _ in 0..DRIVER_STARTS_MAX {
        if let Some(started) = try_start_driver().await {
            return started;
        }
    }
    panic!("chromedriver exited {DRIVER_STARTS_MAX} times before it printed its port");
}

async fn try_start_driver() -> Option<(Child, u16)> {
    let mut command = child::server("chromedriver");
    command.arg("--port=0").stdout(Stdio::piped());
    let mut driver = command
        .spawn()
        .expect("chromedriver starts: tests/run installs it");
    let stdout = driver.stdout.take().expect("standard output is piped");
    let port = read_until_exit("chromedriver", stdout, |line| {
        let (_, port) = line.rsplit_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    Some((driver, port.await?))
}

fn capabilities(
    profile: &Path,
    width: u32,
    height: u32,
    more: Vec<String>,
) -> serde_json::Map<String, serde_json::Value> {
    let mut arguments = vec![
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        // For pages of other sites: their names lead to this machine, as after DNS rebinding.
        "--host-resolver-rules=MAP *.example 127.0.0.1".to_owned(),
        format!("--window-size={width},{height}"),
        format!("--user-data-dir={}", profile.display()),
    ];
    arguments.extend(more);
    let capabilities = json!({
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
    });
    capabilities.as_object().cloned().expect("an object")
}
