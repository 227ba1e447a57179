//! Servers as child processes that end with the test run, also if that is killed.

use std::ffi::OsStr;
use std::process::Stdio;

use fusebox_collector::store::influxdb::testing::tied;
use tokio::process::{Child, Command};

use crate::wait::read_until;

/// Returns a command for a server.
pub fn server(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::from(tied(program));
    command.kill_on_drop(true);
    command
}

/// Sends a signal to a process, such as `TERM` or `STOP`.
///
/// # Panics
/// Panics if the process is gone.
pub fn signal(id: u32, name: &str) {
    let id = id.to_string();
    let mut kill = std::process::Command::new("kill");
    let sent = kill.args(["-s", name, &id]).status();
    assert!(sent.expect("kill runs").success(), "no process {id}");
}

/// A program of Spring Boot; it is killed when dropped.
#[derive(Debug)]
pub struct SpringBoot {
    process: Child,
    /// Its base URL.
    pub url: String,
}

impl SpringBoot {
    /// Starts a program on a port of its choice, and waits until it serves.
    ///
    /// # Panics
    /// Panics when it ends first.
    pub async fn start(jar: &str, arguments: &[String]) -> Self {
        let mut command = server("java");
        command
            .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-jar", jar])
            .args(["--server.port=0", "--server.address=127.0.0.1"])
            .args(arguments)
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("java starts");
        let stdout = process.stdout.take().expect("standard output is piped");
        let port = read_until("the program", stdout, |line| {
            let (_, rest) = line.split_once("Tomcat started on port ")?;
            Some(rest.split(' ').next()?.to_owned())
        });
        let url = format!("http://127.0.0.1:{}", port.await);
        Self { process, url }
    }

    /// Sends SIGTERM and waits for the end of the process.
    pub async fn terminate(mut self) {
        signal(self.process.id().expect("it is running"), "TERM");
        self.process.wait().await.expect("it ends");
    }
}
