//! Real servers for tests: Debian's `influxd` 1.x, started on loopback with its data in a temporary folder, and those that
//! the environment names. A server ends with the process that started it, in most cases also if that is killed.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, mpsc};
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
    /// When `influxd` (Debian's package `influxdb`) or `setpriv` is not installed, or it does not answer.
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
    let started = on_lasting_thread(move || command.spawn());
    started.expect("setpriv is installed (Debian: util-linux)")
}

/// Returns a command for a program whose process is killed when the thread that started it ends, however it ends: start it by
/// [`on_lasting_thread`].
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Runs something on a thread that lasts as long as the process: threads of tests and of pools end earlier, and with them
/// the programs that they started.
///
/// # Panics
/// When it panics.
pub fn on_lasting_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    type Work = Box<dyn FnOnce() + Send>;
    static WORKS: LazyLock<mpsc::Sender<Work>> = LazyLock::new(|| {
        let (sender, works) = mpsc::channel::<Work>();
        std::thread::spawn(move || works.into_iter().for_each(|work| work()));
        sender
    });
    let (done, result) = mpsc::channel();
    let work = move || {
        let _asked_no_more = done.send(work());
    };
    WORKS.send(Box::new(work)).expect("the thread lasts");
    result.recv().expect("it does not panic")
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
