//! A real headless Firefox, driven by its own protocol, Marionette: Debian has no geckodriver, and only this protocol reaches
//! the developer tools.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::child;
use crate::wait::eventually;

/// Preferences: a free port, and nothing asked of other machines.
const PREFERENCES: &str = r#"
user_pref("marionette.port", 0);
user_pref("app.normandy.enabled", false);
user_pref("app.update.disabledForTesting", true);
user_pref("browser.safebrowsing.provider.google4.updateURL", "");
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage", "about:blank");
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.blocklist.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,none");
user_pref("startup.homepage_welcome_url", "about:blank");
user_pref("toolkit.telemetry.enabled", false);
"#;

/// How long a script may run, milliseconds.
const SCRIPT_MS: u64 = 30_000;

/// A browser with an empty profile; it is killed when dropped.
#[derive(Debug)]
pub struct Firefox {
    connection: BufReader<TcpStream>,
    last: u64,
    browser: Child,
    _profile: TempDir,
}

impl Firefox {
    /// Starts this program and a session.
    pub async fn start(program: &str) -> Self {
        let profile = TempDir::new().expect("a temporary directory");
        let path = profile.path();
        std::fs::write(path.join("user.js"), PREFERENCES).expect("the preferences are written");
        let mut command = child::server(program);
        command
            .args([
                "--headless",
                "--marionette",
                "--no-remote",
                "--remote-allow-system-access",
            ])
            .arg("--profile")
            .arg(path)
            .env("HOME", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let browser = command
            .spawn()
            .expect("Firefox starts: tests/run installs it");
        let file = path.join("MarionetteActivePort");
        let port: u16 = eventually("Firefox's port", || async {
            std::fs::read_to_string(&file).ok()?.trim().parse().ok()
        })
        .await;
        let connection = TcpStream::connect(("127.0.0.1", port)).await;
        let mut firefox = Self {
            connection: BufReader::new(connection.expect("a connection")),
            last: 0,
            browser,
            _profile: profile,
        };
        firefox.receive().await;
        firefox.ask("WebDriver:NewSession", json!({})).await;
        firefox
    }

    /// Installs an extension from a folder until the browser ends.
    pub async fn install(&mut self, folder: &Path) {
        let addon = json!({ "path": folder, "temporary": true });
        self.ask("Addon:Install", addon).await;
    }

    /// Opens a page.
    pub async fn open(&mut self, url: &str) {
        self.enter("content").await;
        self.ask("WebDriver:Navigate", json!({ "url": url })).await;
    }

    /// Runs a script with the rights of the browser's own code; it calls its last argument with its result.
    pub async fn run_privileged(&mut self, script: &str, arguments: &[&str]) -> Value {
        self.enter("chrome").await;
        let run = json!({ "script": script, "args": arguments, "scriptTimeout": SCRIPT_MS });
        let mut answer = self.ask("WebDriver:ExecuteAsyncScript", run).await;
        answer["value"].take()
    }

    async fn enter(&mut self, context: &str) {
        self.ask("Marionette:SetContext", json!({ "value": context }))
            .await;
    }

    /// Sends a command; returns its result.
    ///
    /// # Panics
    /// Panics if the browser cannot do it.
    async fn ask(&mut self, command: &str, parameters: Value) -> Value {
        self.last += 1;
        let message = json!([0, self.last, command, parameters]).to_string();
        let framed = format!("{}:{message}", message.len());
        let sent = self.connection.write_all(framed.as_bytes()).await;
        sent.expect("Firefox reads");
        let mut answer = self.receive().await;
        assert!(answer[2].is_null(), "{command}: {}", answer[2]);
        answer[3].take()
    }

    /// Reads a message: its length in digits, a colon, JSON.
    async fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            match self.connection.read_u8().await.expect("Firefox answers") {
                b':' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }
        let mut message = vec![0; length];
        let read = self.connection.read_exact(&mut message).await;
        read.expect("a whole message");
        serde_json::from_slice(&message).expect("JSON")
    }

    /// Ends the browser.
    pub async fn close(mut self) {
        self.ask("Marionette:Quit", json!({ "flags": ["eForceQuit"] }))
            .await;
        self.browser.wait().await.ok();
    }
}
