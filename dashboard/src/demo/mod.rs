//! `fusebox demo`: collector and pages in this process, the shop's services as child processes of the same binary,
//! customers, and injected faults. All data of the pages arrives over OTLP, like the telemetry of any other service.

mod control;
mod customers;
mod faults;
mod process;
mod shop_plan;
mod story;

use std::net::SocketAddr;
use std::sync::Arc;

use fusebox_collector::{Collector, CollectorConfig, CollectorError};
use tokio::sync::watch;
use tracing::warn;

use crate::error::Error;
use crate::serve;
use control::ShopControl;
use process::Shop;

/// Settings of a demo.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Settings of the collector.
    pub server: CollectorConfig,
    /// Whether a data directory was given; else the demo uses a temporary one.
    pub data_dir_given: bool,
    /// Requests a second that customers make.
    pub requests_per_second: u32,
    /// Whether the story injects faults.
    pub faults_by_themselves: bool,
}

/// Runs the demo until the process is asked to stop; the shop's services end with it, even on `kill -9`.
///
/// # Errors
/// Returns why collector or shop could not start.
pub async fn run(mut options: DemoOptions) -> Result<(), Error> {
    serve::init_logs()?;
    let temporary = prepare_data_dir(&mut options)?;
    let collector = bind_near(options.server.clone()).await?;
    serve::announce(&collector);

    let otlp = format!("http://{}", collector.otlp_http_addr());
    let control = Arc::new(ShopControl::new(options.faults_by_themselves));
    let router = serve::web_router_with(&collector, control::NAV)
        .merge(control::router(Arc::clone(&control)));
    let (stop, stopped) = watch::channel(false);
    let shop = tokio::spawn(run_shop(
        otlp,
        options.requests_per_second,
        Arc::clone(&control),
        stopped,
    ));
    announce_demo(collector.web_addr());

    let result = collector.run(router, serve::shutdown_signal()).await;
    stop.send_replace(true);
    if let Err(error) = shop.await {
        warn!(%error, "the shop ended by a panic");
    }
    drop(temporary);
    Ok(result?)
}

/// Starts the services, then runs customers and faults until the demo stops.
async fn run_shop(
    otlp: String,
    rate: u32,
    control: Arc<ShopControl>,
    mut stopped: watch::Receiver<bool>,
) {
    let shop = match Shop::start(&otlp).await {
        Ok(shop) => Arc::new(shop),
        Err(error) => {
            warn!(%error, "could not start the shop");
            return;
        }
    };
    tokio::select! {
        () = customers::run(shop.gateway_url(), rate) => {}
        () = faults::run(Arc::clone(&shop), control) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    shop.stop().await;
}

/// Binds the configured ports, or, if one is in use, ports that the system chooses.
async fn bind_near(config: CollectorConfig) -> Result<Collector, Error> {
    match Collector::bind(config.clone()).await {
        Err(error @ CollectorError::Bind { .. }) => {
            warn!(%error, "choosing other ports");
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let elsewhere = CollectorConfig {
                web_addr: any,
                otlp_grpc_addr: any,
                otlp_http_addr: any,
                ..config
            };
            Ok(Collector::bind(elsewhere).await?)
        }
        bound => Ok(bound?),
    }
}

/// Replaces the data directory by a temporary one, which is deleted at the end, unless one was given.
fn prepare_data_dir(options: &mut DemoOptions) -> Result<Option<TemporaryDir>, Error> {
    if options.data_dir_given {
        return Ok(None);
    }
    let dir = std::env::temp_dir().join(format!("fusebox-demo-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    options.server.data_dir.clone_from(&dir);
    Ok(Some(TemporaryDir(dir)))
}

/// A directory that is deleted when this is dropped.
#[derive(Debug)]
struct TemporaryDir(std::path::PathBuf);

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            warn!(%error, dir = %self.0.display(), "could not delete the demo's data");
        }
    }
}

/// Prints what to open.
#[expect(
    clippy::print_stdout,
    reason = "the addresses are what a person starts this program for"
)]
fn announce_demo(web: SocketAddr) {
    println!("The shop is starting. In half a minute a breaker trips:");
    println!("  open http://{web}         the circuit wall");
    println!("  open http://{web}/traces  the requests");
    println!("  open http://{web}/demo    faults, to switch by hand");
    println!();
}
