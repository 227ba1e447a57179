//! The real binary as a child process, to be killed and started again.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::LazyLock;

use tokio::process::{Child, Command};

use crate::child;
use crate::wait::{DEADLINE, read_until};

/// Ports that the system chooses.
const LISTEN_ANYWHERE: [&str; 6] = [
    "--listen",
    "127.0.0.1:0",
    "--otlp-grpc-listen",
    "127.0.0.1:0",
    "--otlp-http-listen",
    "127.0.0.1:0",
];

/// A running `fusebox`; it is killed when dropped.
#[derive(Debug)]
pub struct Binary {
    /// Base URL of pages and API.
    pub web: String,
    /// Base URL of OTLP over HTTP.
    pub otlp_http: String,
    child: Child,
}

/// Returns the path of the binary of the sources as they are; the first call in a process builds it.
pub fn binary_path() -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(build);
    BUILT.clone()
}

/// Builds the binary for the profile and into the directory of these tests; cargo only looks where nothing changed.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let dir = test.parent().and_then(Path::parent);
    let dir = dir.expect("target/<profile>/deps/test").to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = std::process::Command::new(cargo);
    // The selection of `tests/run`: another has other features and compiles the dependencies once more.
    build.args(["build", "--quiet", "--workspace", "--bin", "fusebox"]);
    build.args(["--test", "stack", "--target-dir"]);
    build.arg(dir.parent().expect("target/<profile>"));
    if dir.ends_with("release") {
        build.arg("--release");
    }
    let status = build.status().expect("cargo runs");
    assert!(status.success(), "the binary builds");
    dir.join(format!("fusebox{}", std::env::consts::EXE_SUFFIX))
}

impl Binary {
    /// Starts the server over that data directory.
    pub async fn serve(data: &Path) -> Self {
        Self::serve_with(data, &[]).await
    }

    /// Starts the server from that file, over that data directory.
    pub async fn serve_from(binary: &Path, data: &Path) -> Self {
        let data = data.display().to_string();
        Self::start(child::server(binary), &["--data-dir", data.as_str()]).await
    }

    /// Starts the server over that data directory with more arguments.
    pub async fn serve_with(data: &Path, args: &[&str]) -> Self {
        let data = data.display().to_string();
        Self::spawn(&[&["--data-dir", data.as_str()], args].concat()).await
    }

    /// Starts the server over that data directory with more arguments; its standard error is written to that file.
    pub async fn serve_logging(data: &Path, log: &Path, args: &[&str]) -> Self {
        let mut server = child::server(binary_path());
        server.stderr(std::fs::File::create(log).expect("a file"));
        let data = data.display().to_string();
        Self::start(server, &[&["--data-dir", data.as_str()], args].concat()).await
    }

    /// Starts the server with at most that many open files.
    pub async fn serve_with_handles(data: &Path, handles: u32) -> Self {
        let mut limited = child::server("sh");
        let script = format!("ulimit -n {handles} && exec \"$0\" \"$@\"");
        limited.args(["-c", &script]).arg(binary_path());
        let data = data.display().to_string();
        Self::start(limited, &["--data-dir", data.as_str()]).await
    }

    /// Starts the server with invalid arguments; returns its standard error.
    ///
    /// # Panics
    /// Panics unless it exits by itself with a failure.
    pub async fn rejects(data: &Path, args: &[&str]) -> String {
        let mut command = Command::new(binary_path());
        command.args(LISTEN_ANYWHERE).arg("--data-dir").arg(data);
        let output = command.args(args).kill_on_drop(true).output();
        let output = tokio::time::timeout(DEADLINE, output).await;
        let output = output.unwrap_or_else(|_| panic!("{args:?} is accepted"));
        let output = output.expect("the binary starts");
        assert!(!output.status.success(), "{args:?} is accepted");
        String::from_utf8(output.stderr).expect("standard error is text")
    }

    /// Starts the demo.
    pub async fn demo() -> Self {
        Self::demo_on(&[]).await
    }

    /// Starts the demo with these settings.
    pub async fn demo_on(settings: &[&str]) -> Self {
        Self::spawn(&[settings, &["demo"]].concat()).await
    }

    async fn spawn(args: &[&str]) -> Self {
        Self::start(child::server(binary_path()), args).await
    }

    async fn start(mut command: Command, args: &[&str]) -> Self {
        let is_given = |flag: &str| args.contains(&flag);
        let anywhere = LISTEN_ANYWHERE.chunks(2).filter(|pair| !is_given(pair[0]));
        command.args(anywhere.flatten()).args(args);
        command.stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut addresses = Addresses::default();
        let (web, otlp_http) = read_until("the binary", stdout, |line| addresses.read(line)).await;
        Self {
            web,
            otlp_http,
            child,
        }
    }

    /// Kills it as a crash would (SIGKILL).
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the process can be killed");
    }

    /// Sends SIGTERM and waits for the end of the process.
    pub async fn terminate(self) {
        self.ask_to_stop();
        let status = self.ended().await;
        assert!(status.success(), "a clean exit: {status}");
    }

    /// Sends SIGTERM.
    pub fn ask_to_stop(&self) {
        child::signal(self.id(), "TERM");
    }

    /// Waits for the end of the process; returns how it ended.
    ///
    /// # Panics
    /// Panics unless it ends within `DEADLINE`.
    pub async fn ended(mut self) -> ExitStatus {
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it does not end within {DEADLINE:?}"));
        status.expect("it can be waited for")
    }

    /// Returns whether the process ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_some()
    }

    /// Begins a new measurement of the most memory that it has resident; returns what is resident now, bytes.
    pub fn reset_peak_memory(&self) -> u64 {
        // `proc(5)`: 5 resets the peak.
        let path = format!("/proc/{}/clear_refs", self.id());
        std::fs::write(path, "5").expect("the peak can be reset");
        self.memory("VmRSS:")
    }

    /// Returns the most memory that it had resident since the last reset, bytes.
    pub fn peak_memory(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a number of kB") << 10
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it is running")
    }
}

/// The addresses printed so far.
#[derive(Default)]
struct Addresses {
    web: Option<String>,
    otlp_http: Option<String>,
}

impl Addresses {
    /// Reads one line; returns the web and OTLP/HTTP addresses once both are known.
    fn read(&mut self, line: &str) -> Option<(String, String)> {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("Pages"), Some(url)) => self.web = Some(url.to_owned()),
            (Some("OTLP/HTTP"), Some(url)) => self.otlp_http = Some(url.to_owned()),
            _ => {}
        }
        self.web.clone().zip(self.otlp_http.clone())
    }
}
