//! Servers as child processes that end with the test run, also if that is killed.

use std::ffi::OsStr;
use std::io;

use fusebox_collector::store::influxdb::testing::{on_lasting_thread, tied};
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
