//! Servers as child processes that end with the test run, also if that is killed.

use std::ffi::OsStr;
use std::io;
use std::process::Stdio;

use fusebox_collector::store::influxdb::testing::{on_lasting_thread, tied};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

/// Returns a command for a server; start it by [`start`].
pub fn server(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::from(tied(program));
    command.kill_on_drop(true);
    command
}

/// Starts a server.
///
/// # Errors
/// When `setpriv` is not installed, which starts it (Debian: util-linux).
pub fn start(mut command: Command) -> io::Result<Child> {
    let runtime = Handle::current();
    on_lasting_thread(move || {
        let _entered = runtime.enter();
        command.spawn()
    })
}

/// Starts a program of Spring Boot on a port of its choice; returns it with its address once it serves.
pub async fn spring_boot(jar: &str, arguments: &[String]) -> (Child, String) {
    let mut command = server("java");
    command
        .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-jar", jar])
        .args(["--server.port=0", "--server.address=127.0.0.1"])
        .args(arguments)
        .stdout(Stdio::piped());
    let mut process = start(command).expect("java starts");
    let stdout = process.stdout.take().expect("standard output is piped");
    let mut lines = BufReader::new(stdout).lines();
    let port = loop {
        let line = lines.next_line().await.expect("text");
        let line = line.expect("it starts");
        if let Some((_, rest)) = line.split_once("Tomcat started on port ") {
            break rest.split(' ').next().expect("a port").to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (process, format!("http://127.0.0.1:{port}"))
}
