//! Real servers for tests: Debian's `influxd` 1.x, started on loopback with its data in a temporary folder, and those that
//! the environment names. A server ends with the process that started it, also if that is killed.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use super::InfluxdbOptions;

/// How long a server may take to answer its first ping, in steps of `PAUSE`.
const PINGS_MAX: u32 = 6_000;
const PAUSE: Duration = Duration::from_millis(50);
/// How often a start is tried: between choosing a port and using it, another test may take the port.
const STARTS_MAX: u32 = 5;
/// Ports below those that Linux uses for outgoing connections, so that none of these takes one while a server
/// restarts.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Returns options for the server in `FUSEBOX_TEST_<server>_URL`, `_TOKEN` and `_ORG`. Tests that call it are
/// skipped without it: `#[ignore = "needs FUSEBOX_TEST_<server>_URL"]`.
///
/// # Panics
/// When the URL is not set.
pub fn named_server(server: &str, bucket: String) -> InfluxdbOptions {
    let variable = |name: &str| std::env::var(format!("FUSEBOX_TEST_{server}_{name}")).ok();
    let url = variable("URL").unwrap_or_else(|| panic!("FUSEBOX_TEST_{server}_URL is not set"));
    InfluxdbOptions {
        token: variable("TOKEN").map(Into::into),
        org: variable("ORG").unwrap_or_default(),
        bucket,
        ..InfluxdbOptions::new(url.parse().unwrap_or_else(|error| panic!("{error}")))
    }
}

/// A server that ends when this is dropped.
#[derive(Debug)]
pub struct Influxd {
    child: Child,
    dir: std::path::PathBuf,
    port: u16,
    settings: String,
}

impl Influxd {
    /// Starts a server with its data in that folder; blocks the thread until it answers.
    ///
    /// # Panics
    /// When `influxd` (Debian's package `influxdb`) is not installed, or it does not answer.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, "")
    }

    /// As `start`, with additional lines in the `[http]` section of its configuration.
    ///
    /// # Panics
    /// As `start`.
    pub fn start_with(dir: &Path, http_settings: &str) -> Self {
        let start = |_| Self::try_start(dir, http_settings);
        let server = (0..STARTS_MAX).find_map(start);
        server.expect(
            "influxd is installed (Debian: apt-get install influxdb) and starts on free ports",
        )
    }

    /// Starts it on free ports; `None` if one of them was taken meanwhile.
    fn try_start(dir: &Path, http_settings: &str) -> Option<Self> {
        let [port, rpc] = free_ports();
        let settings = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n\
             [meta]\ndir = \"{dir}/meta\"\n\
             [data]\ndir = \"{dir}/data\"\nwal-dir = \"{dir}/wal\"\nindex-version = \"tsi1\"\nquery-log-enabled = false\n\
             [monitor]\nstore-enabled = false\n\
             [http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n{http_settings}\n\
             [logging]\nlevel = \"error\"\n",
            dir = dir.display()
        );
        let child = spawn(dir, &settings);
        let mut server = Self {
            child,
            dir: dir.to_owned(),
            port,
            settings,
        };
        server.answers().then_some(server)
    }

    /// Returns options for the server, with the given database.
    pub fn options(&self, database: &str) -> InfluxdbOptions {
        InfluxdbOptions {
            bucket: database.to_owned(),
            ..InfluxdbOptions::new(self.url().parse().expect("loopback has an address"))
        }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it, keeping its data.
    pub fn stop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }

    /// Starts it again on the same port with the same data.
    ///
    /// # Panics
    /// As `start`.
    pub fn restart(&mut self) {
        self.stop();
        self.child = spawn(&self.dir, &self.settings);
        assert!(self.answers(), "influxd ended");
    }

    /// Waits until it can be connected to; returns false if it ended instead.
    fn answers(&mut self) -> bool {
        for _ in 0..PINGS_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("influxd did not answer");
    }
}

impl Drop for Influxd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(dir: &Path, settings: &str) -> Child {
    let file = dir.join("influxd.conf");
    std::fs::write(&file, settings).expect("the folder of a test can be written");
    let mut command = tied("influxd");
    command.arg("-config").arg(&file).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
        .spawn()
        .expect("influxd is installed (Debian: apt-get install influxdb)")
}

/// Has the id of the test run in the environment of each program that must end with it.
const RUN: &str = "FUSEBOX_TEST_RUN";

/// Waits until the test run has ended, which closes its pipe, and kills what still has its mark; a program that another one
/// was about to start is found in the next round. Linux only: elsewhere there is no such folder, and nothing is found.
const WATCHDOG: &str = r#"
cat > /dev/null
for round in $(seq 100); do
    found=$(grep -lasz "^$0\$" /proc/[0-9]*/environ | cut -d / -f 3)
    [ -n "$found" ] || exit
    kill -KILL $found
    sleep 0.1
done"#;

/// Returns a command for a program that is killed when this process has ended, however it ended, and with it all that the
/// program starts.
///
/// # Panics
/// When there is no shell.
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    static PIPE: LazyLock<Child> = LazyLock::new(|| {
        let mark = format!("{RUN}={}", std::process::id());
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", WATCHDOG, &mark]).stdin(Stdio::piped());
        watchdog.stdout(Stdio::null()).stderr(Stdio::null());
        // Who kills the run may kill its whole group.
        watchdog.process_group(0).spawn().expect("there is a shell")
    });
    LazyLock::force(&PIPE);
    let mut command = Command::new(program);
    command.env(RUN, std::process::id().to_string());
    command
}

/// Returns two free ports.
fn free_ports() -> [u16; 2] {
    let bind = || {
        let mut tried = std::iter::repeat_with(|| fastrand::u16(PORTS));
        let bound = tried.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
        bound.expect("loopback has a free port")
    };
    let listeners = [bind(), bind()];
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    /// Says in the environment that this process is a test run that will be killed.
    const DOOMED: &str = "FUSEBOX_TEST_DOOMED";

    /// Returns whether a process runs; one that ended may still be waited for.
    fn runs(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Scenario: a test run starts a server, which starts another program in a group of its own, and is killed.
    /// Guarantees: neither outlives the run.
    #[test]
    fn a_server_ends_with_a_killed_test_run() {
        if std::env::var_os(DOOMED).is_some() {
            let mut server = tied("sh");
            server.args(["-c", "setsid sleep 600 & echo; echo server $$ $!; wait"]);
            server.spawn().unwrap().wait().unwrap();
            return;
        }
        let name = "store::influxdb::testing::tests::a_server_ends_with_a_killed_test_run";
        let mut run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(DOOMED, "")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(run.stdout.take().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap);
        let pids = lines.find_map(|line| line.strip_prefix("server ").map(str::to_owned));
        let pids = pids.unwrap();
        let any_runs = || pids.split(' ').any(runs);
        assert!(any_runs());
        run.kill().unwrap();
        run.wait().unwrap();
        let mut asked = (0..PINGS_MAX).inspect(|_| std::thread::sleep(PAUSE));
        assert!(asked.any(|_| !any_runs()), "{pids} still run");
    }
}
