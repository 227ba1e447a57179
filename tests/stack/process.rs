//! The real binary as a process among others: its files, its environment, its standard output, its ports.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use integration_tests::{Binary, DEADLINE, TraceBuilder, binary_path, child, eventually, get_json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

fn mode(path: &Path) -> u32 {
    let metadata = path.symlink_metadata().expect("it is there");
    metadata.permissions().mode() & 0o777
}

fn everything_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder {
            found.extend(everything_below(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

/// Starts the binary with its ports chosen by the system unless `args` say otherwise; its output is piped.
fn spawn(data: &Path, args: &[&str], environment: &[(&str, &str)]) -> Child {
    let mut command = child::server(binary_path());
    command.args(["--otlp-grpc-listen", "127.0.0.1:0"]);
    command.args(["--otlp-http-listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(data).args(args);
    command.envs(environment.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// Returns a port that nothing listens on.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Scenario: an earlier version left its files readable for all, and a FIFO has the name of a segment.
/// Guarantees: the server starts, and everything it keeps is its owner's alone, old and new.
#[tokio::test]
async fn other_users_read_nothing() {
    let dir = TempDir::new().expect("a temporary directory");
    let data = dir.path().join("data");
    let day = data.join("spans/2026-11-23");
    std::fs::create_dir_all(&day).expect("folders");
    let made = Command::new("mkfifo")
        .arg(day.join("0000000009-0.seg"))
        .status();
    assert!(made.await.expect("mkfifo runs").success());
    std::fs::write(data.join("collector.lock"), "").expect("a file");
    for path in [&data, &data.join("spans"), &data.join("collector.lock")] {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("it is ours");
    }
    let binary = Binary::serve(&data).await;
    let mut trace = TraceBuilder::new("orders");
    trace.span(None, "GET /orders", Vec::new());
    trace.send(&binary.otlp_http).await;
    binary.terminate().await;
    let mut found = everything_below(&data);
    found.retain(|path| !path.ends_with("0000000009-0.seg"));
    assert!(found.len() > 5, "{found:?}");
    found.push(data);
    for path in found {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{path:?}");
    }
}

/// Scenario: whoever reads the addresses closes its end at once.
/// Guarantees: the server serves all the same.
#[tokio::test]
async fn a_closed_standard_output_stops_nothing() {
    let data = TempDir::new().expect("a temporary directory");
    let listen = format!("127.0.0.1:{}", free_port().await);
    let mut child = spawn(data.path(), &["--listen", &listen], &[]);
    drop(child.stdout.take());
    drop(child.stderr.take());
    let health = format!("http://{listen}/healthz");
    eventually("the server is up", || get_json(&health)).await;
    assert!(child.try_wait().expect("a process").is_none());
    child.kill().await.expect("it runs");
}

/// Guarantees: a switch in the environment takes the usual words, and no others.
#[tokio::test]
async fn a_switch_in_the_environment_is_read_as_one() {
    let data = TempDir::new().expect("a temporary directory");
    for (value, problem) in [
        ("0", "without a token"),
        ("false", "without a token"),
        ("maybe", "FUSEBOX_INSECURE"),
    ] {
        let environment = [("FUSEBOX_INSECURE", value)];
        let child = spawn(data.path(), &["--listen", "0.0.0.0:0"], &environment);
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output());
        let output = output.await.expect("it ends").expect("its output");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let named = error.contains(problem) || error.contains("--insecure");
        assert!(!output.status.success() && named, "{value}: {error}");
    }
    for value in ["1", "true"] {
        let port = free_port().await;
        let listen = format!("0.0.0.0:{port}");
        let environment = [("FUSEBOX_INSECURE", value)];
        let mut child = spawn(data.path(), &["--listen", &listen], &environment);
        let health = format!("http://127.0.0.1:{port}/healthz");
        eventually("the server is up", || get_json(&health)).await;
        child.kill().await.expect("it runs");
    }
}

/// Guarantees: the demo moves no port that was asked for; it names the one that is taken.
#[tokio::test]
async fn the_demo_names_a_port_that_is_taken() {
    let data = TempDir::new().expect("a temporary directory");
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listen = taken.local_addr().expect("an address").to_string();
    let child = spawn(data.path(), &["--listen", &listen, "demo"], &[]);
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output());
    let output = output.await.expect("it ends").expect("its output");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{error}");
    let named = format!("could not listen on {listen}");
    assert!(error.contains(&named), "{error}");
}

/// Scenario: another user has made folders under the names that a demo might use.
/// Guarantees: the demo works in a folder of its own, which others can neither read nor foresee, and deletes it.
#[tokio::test]
async fn the_demo_works_in_a_folder_of_its_own() {
    let shared = TempDir::new().expect("a temporary directory");
    let port = free_port().await;
    let mut command = child::server(binary_path());
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--otlp-grpc-listen", "127.0.0.1:0"]);
    command.args(["--otlp-http-listen", "127.0.0.1:0", "demo", "--quiet"]);
    command.env("TMPDIR", shared.path()).stdout(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let id = child.id().expect("it runs");
    std::fs::create_dir(shared.path().join(format!("fusebox-demo-{id}"))).ok();
    let health = format!("http://127.0.0.1:{port}/healthz");
    eventually("the demo is up", || get_json(&health)).await;
    let folders: Vec<PathBuf> = std::fs::read_dir(shared.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("collector.lock").exists())
        .collect();
    let [folder] = &folders[..] else {
        panic!("{folders:?}");
    };
    assert_eq!(mode(folder), 0o700);
    assert!(!folder.ends_with(format!("fusebox-demo-{id}")));
    child::signal(id, "TERM");
    assert!(child.wait().await.expect("it ends").success());
    assert!(!folder.exists());
}

/// Guarantees: the services of the demo show a token where one is required.
#[tokio::test]
async fn the_demo_works_with_a_token() {
    let data = TempDir::new().expect("a temporary directory");
    let listen = format!("127.0.0.1:{}", free_port().await);
    let token = "reader-reader-01";
    let args = ["--listen", &listen, "--token", token, "demo"];
    let mut child = spawn(data.path(), &args, &[]);
    let services = format!("http://{listen}/api/services");
    let client = reqwest::Client::new();
    eventually("the services of the shop", || async {
        let answer = client.get(&services).bearer_auth(token).send().await;
        let text = answer.ok()?.text().await.ok()?;
        text.contains("gateway").then_some(())
    })
    .await;
    child.kill().await.expect("it runs");
}

/// Guarantees: with a certificate every address is one of https, and plain HTTP gets a message.
#[tokio::test]
async fn a_certificate_of_the_settings_is_used_on_every_port() {
    let data = TempDir::new().expect("a temporary directory");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (data.path().join("cert.pem"), data.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let [cert, key] = [&cert, &key].map(|path| path.to_str().expect("a path of text"));
    let args = ["--tls-cert", cert, "--tls-key", key];
    let binary = Binary::serve_with(&data.path().join("data"), &args).await;
    for url in [&binary.web, &binary.otlp_http] {
        let plain = url.replacen("https://", "http://", 1);
        assert_ne!(*url, plain);
        let answer = reqwest::get(plain).await.expect("an answer");
        assert_eq!(answer.status(), 400);
        assert!(answer.text().await.expect("a body").contains("https://"));
    }
    binary.terminate().await;
    let swapped = ["--tls-cert", key, "--tls-key", cert];
    let error = Binary::rejects(&data.path().join("data"), &swapped).await;
    assert!(
        error.contains("tls: ") && error.contains("holds no"),
        "{error}"
    );
}
