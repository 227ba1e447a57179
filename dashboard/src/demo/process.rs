//! The shop's processes: start, kill, restart at the same address, stop.
//!
//! A child reads its standard input and ends at its end of file, so it ends with this process, however this process
//! ends. Its first line on standard output is its address.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use fusebox_collector::Secret;

use super::shop_plan::{PlannedService, SHOP};
use crate::error::Error;

/// How long a service may take to print its address.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The running shop.
#[derive(Debug)]
pub(super) struct Shop {
    instances: Vec<Instance>,
}

/// One process of the shop.
#[derive(Debug)]
pub(super) struct Instance {
    /// Its service.
    pub(super) service: &'static str,
    /// Its address, the same after every restart.
    pub(super) addr: SocketAddr,
    spec: Spec,
    child: Mutex<Option<Child>>,
}

/// The receiver of the services' telemetry.
#[derive(Debug, Clone)]
pub(super) struct Otlp {
    /// OTLP over HTTP.
    pub(super) url: String,
    /// The token that the services send.
    pub(super) token: Option<Secret>,
}

/// The arguments for starting the process again.
#[derive(Debug, Clone)]
struct Spec {
    service: &'static str,
    instance: usize,
    peers: Vec<String>,
    otlp: Otlp,
}

impl Shop {
    /// Starts every service, those without callees first.
    pub(super) async fn start(otlp: &Otlp) -> Result<Self, Error> {
        let mut shop = Self {
            instances: Vec::new(),
        };
        for planned in &SHOP {
            shop.start_service(planned, otlp).await?;
        }
        Ok(shop)
    }

    async fn start_service(&mut self, planned: &PlannedService, otlp: &Otlp) -> Result<(), Error> {
        let peers = self.peers_of(planned);
        for instance in 1..=planned.instances {
            let spec = Spec {
                service: planned.name,
                instance,
                peers: peers.clone(),
                otlp: otlp.clone(),
            };
            let (child, addr) = spec.spawn(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
            self.instances.push(Instance {
                service: planned.name,
                addr,
                spec,
                child: Mutex::new(Some(child)),
            });
        }
        Ok(())
    }

    /// Returns `name=url` of every instance of the services it calls.
    fn peers_of(&self, planned: &PlannedService) -> Vec<String> {
        self.instances
            .iter()
            .filter(|instance| planned.calls.contains(&instance.service))
            .map(|instance| format!("{}=http://{}", instance.service, instance.addr))
            .collect()
    }

    /// Returns the URL that customers use.
    pub(super) fn gateway_url(&self) -> String {
        let gateway = self
            .instances
            .last()
            .expect("the plan ends with the gateway");
        format!("http://{}", gateway.addr)
    }

    pub(super) fn instances_of(&self, service: &str) -> impl Iterator<Item = &Instance> {
        self.instances
            .iter()
            .filter(move |instance| instance.service == service)
    }

    /// Returns the addresses of every service.
    pub(super) fn addresses(&self) -> BTreeMap<&'static str, Vec<SocketAddr>> {
        let mut addresses: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for instance in &self.instances {
            addresses
                .entry(instance.service)
                .or_default()
                .push(instance.addr);
        }
        addresses
    }

    /// Ends every process: closes its standard input, and kills it if it does not end in time.
    pub(super) async fn stop(&self) {
        for instance in self.instances.iter().rev() {
            instance.stop().await;
        }
    }
}

impl Instance {
    /// Ends the process at once, as a crash would.
    pub(super) async fn kill(&self) {
        if let Some(mut child) = self.child.lock().await.take() {
            // It may have ended already; either way it has ended afterwards.
            child.kill().await.ok();
        }
    }

    /// Starts the process again at the same address, if it is not running.
    pub(super) async fn restart(&self) -> Result<(), Error> {
        let mut child = self.child.lock().await;
        if child.is_none() {
            *child = Some(self.spec.spawn(self.addr).await?.0);
        }
        Ok(())
    }

    async fn stop(&self) {
        let Some(mut child) = self.child.lock().await.take() else {
            return;
        };
        drop(child.stdin.take());
        if tokio::time::timeout(Duration::from_secs(3), child.wait())
            .await
            .is_err()
        {
            child.kill().await.ok();
        }
    }
}

impl Spec {
    /// Starts the process and waits for the address that it prints.
    async fn spawn(&self, listen: SocketAddr) -> Result<(Child, SocketAddr), Error> {
        let mut child = self.command(listen)?.spawn()?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        tokio::time::timeout(START_TIMEOUT, stdout.read_line(&mut line))
            .await
            .map_err(|_| format!("{} did not start within {START_TIMEOUT:?}", self.service))??;
        let addr = line
            .trim()
            .parse()
            .map_err(|_| format!("{} ended while starting", self.service))?;
        Ok((child, addr))
    }

    fn command(&self, listen: SocketAddr) -> Result<Command, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("shop").arg(self.service);
        command.args([
            "--address",
            &listen.to_string(),
            "--instance",
            &self.instance.to_string(),
        ]);
        for peer in &self.peers {
            command.args(["--peer", peer]);
        }
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &self.otlp.url);
        if let Some(token) = &self.otlp.token {
            let header = format!("authorization=Bearer%20{}", token.expose());
            command.env("OTEL_EXPORTER_OTLP_HEADERS", header);
        }
        // Only warnings, because the demo's terminal shows its addresses.
        command.env(
            "RUST_LOG",
            std::env::var("FUSEBOX_SHOP_LOG").unwrap_or_else(|_| "off".to_owned()),
        );
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }
}
