//! A service of the demo's shop as a process of its own, with telemetry and breakers of the library.

use std::process::Stdio;

use tokio::process::Child;

use crate::binary::binary_path;
use crate::child;
use crate::wait::{DEADLINE, read_until};

/// A running service; it is killed when dropped.
#[derive(Debug)]
pub struct ShopService {
    /// Its base URL.
    pub url: String,
    child: Child,
}

impl ShopService {
    /// Starts an instance of a service that sends its telemetry to `otlp_http` and calls these peers: name and URL.
    pub async fn start(
        service: &str,
        instance: &str,
        otlp_http: &str,
        peers: &[(&str, &str)],
    ) -> Self {
        let mut command = child::server(binary_path());
        command.args(["shop", service, "--instance", instance]);
        for (name, url) in peers {
            command.arg("--peer").arg(format!("{name}={url}"));
        }
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", otlp_http)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            // It ends when its standard input does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the service starts");
        let stdout = child.stdout.take().expect("standard output is piped");
        let address = read_until(service, stdout, |line| Some(line.to_owned())).await;
        Self {
            url: format!("http://{address}"),
            child,
        }
    }

    /// Lets it end by itself, as when it is replaced, and waits for that.
    ///
    /// # Panics
    /// Panics unless it ends within `DEADLINE`.
    pub async fn stop(mut self) {
        drop(self.child.stdin.take());
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        let status = ended.expect("it ends").expect("it can be waited for");
        assert!(status.success(), "a clean exit: {status}");
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it is running")
    }
}
