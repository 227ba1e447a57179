//! A back end under test: where it listens, and what its process costs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use integration_tests::Binary;
use tempfile::TempDir;

/// Ticks of a processor's time in `/proc`, a second: Linux has had no other number for decades.
const TICKS: f64 = 100.0;

/// A back end under test.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) otlp: String,
    pub(crate) is_gzip: bool,
    /// A URL with `{id}`.
    pub(crate) by_id: Option<String>,
    pub(crate) search: Option<String>,
    pid: u32,
    data: Option<PathBuf>,
    restart: Option<String>,
    /// Our own, started here.
    own: Option<(Option<Binary>, TempDir)>,
}

impl Peer {
    /// Starts our own binary, or reads how another back end is reached.
    pub(crate) async fn begin(word: &str) -> Self {
        let is_gzip = word.split(',').any(|part| part == "gzip");
        if word.split(',').next() == Some("fusebox") {
            let data = TempDir::new().expect("a temporary folder");
            let binary = Binary::serve_from(&own_binary(), data.path()).await;
            let mut peer = Self {
                name: word.replace(',', ", "),
                otlp: String::new(),
                is_gzip,
                by_id: None,
                search: None,
                pid: 0,
                data: Some(data.path().to_owned()),
                restart: None,
                own: Some((None, data)),
            };
            peer.run_on(binary);
            return peer;
        }
        let pairs = word.split(',').filter_map(|part| part.split_once('='));
        let given: HashMap<&str, &str> = pairs.collect();
        let text = |name: &str| given.get(name).map(|value| (*value).to_owned());
        Self {
            name: text("name").unwrap_or_else(|| word.to_owned()),
            otlp: text("otlp").expect("a peer has otlp=http://HOST:PORT"),
            is_gzip,
            by_id: text("by_id"),
            search: text("search"),
            pid: given
                .get("pid")
                .and_then(|pid| pid.parse().ok())
                .expect("a peer has pid=N"),
            data: text("data").map(PathBuf::from),
            restart: text("restart"),
            own: None,
        }
    }

    fn run_on(&mut self, binary: Binary) {
        self.otlp.clone_from(&binary.otlp_http);
        self.by_id = Some(format!("{}/api/traces/{{id}}", binary.web));
        self.search = Some(format!(
            "{}/api/traces?service=checkout&limit=20",
            binary.web
        ));
        self.pid = binary.id();
        if let Some((running, _)) = &mut self.own {
            *running = Some(binary);
        }
    }

    /// Returns whether it can be killed and started again.
    pub(crate) fn can_come_back(&self) -> bool {
        self.own.is_some() || self.restart.is_some()
    }

    pub(crate) async fn kill(&mut self) {
        match self.own.as_mut().and_then(|(running, _)| running.take()) {
            Some(binary) => binary.kill().await,
            None => shell(&format!("kill -9 {}", self.pid)).await,
        }
    }

    /// Starts it again: `restart` returns once it listens.
    pub(crate) async fn come_back(&mut self) {
        if let Some((_, data)) = &self.own {
            let binary = Binary::serve_from(&own_binary(), data.path()).await;
            self.run_on(binary);
        } else if let Some(restart) = &self.restart {
            shell(restart).await;
        }
    }

    /// Stops our own binary.
    pub(crate) async fn end(self) {
        if let Some((Some(binary), _)) = self.own {
            binary.terminate().await;
        }
    }

    /// Returns the processor time of the process, user and system.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("the peer runs");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |at: usize| fields[at].parse::<f64>().expect("a number of ticks");
        (ticks(11) + ticks(12)) / TICKS
    }

    /// Returns the most memory that was resident.
    pub(crate) fn peak_mib(&self) -> f64 {
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(path).expect("the peer runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.expect("a number of kB") / 1024.0
    }

    /// Returns the bytes of its data, where the folder is known.
    pub(crate) fn data_bytes(&self) -> Option<u64> {
        self.data.as_deref().map(bytes_below)
    }
}

/// Returns the release binary, which is built beside this one.
fn own_binary() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this program");
    let binary = own.with_file_name("fusebox");
    assert!(binary.exists(), "cargo build --release --bin fusebox");
    binary
}

async fn shell(command: &str) {
    let status = tokio::process::Command::new("sh")
        .args(["-c", command])
        .status()
        .await;
    assert!(status.expect("sh runs").success(), "{command}");
}

/// Adds up the files of a folder; those that vanish meanwhile count nothing.
fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
