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

use fusebox_collector::{Collector, CollectorConfig, CollectorError, ListenAddr, Secret};
use tempfile::TempDir;
use tokio::sync::watch;
use tracing::warn;

use crate::error::Error;
use crate::serve;
use crate::terminal::print;
use control::ShopControl;
use process::{Otlp, Shop};

/// Settings of a demo.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Settings of the collector.
    pub server: CollectorConfig,
    /// Whether the addresses were given: pages, OTLP over gRPC, OTLP over HTTP. Others may change if their port is in
    /// use.
    pub addresses_given: [bool; 3],
    /// Whether a data directory was given; else the demo uses a temporary one.
    pub data_dir_given: bool,
    /// Requests per second of the customers.
    pub requests_per_second: u32,
    /// Whether the story injects faults.
    pub faults_by_themselves: bool,
}

/// Runs the demo until the process is asked to stop; the shop's services end with it, even on `kill -9`.
///
/// # Errors
/// Returns why collector or shop could not start.
pub async fn run(mut options: DemoOptions) -> Result<(), Error> {
    if options.server.tls.is_some() {
        return Err("the demo's shop speaks plain HTTP: start it without --tls-cert".into());
    }
    serve::init_logs()?;
    let temporary = prepare_data_dir(&mut options)?;
    options.server.sender_token = Some(Secret::random());
    let collector = bind_near(options.server.clone(), options.addresses_given).await?;
    serve::announce(&collector);

    let otlp = Otlp {
        url: format!("http://{}", collector.otlp_http_addr()),
        token: options.server.sender_token.clone(),
    };
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
    let deleted = temporary.map_or(Ok(()), TempDir::close);
    if let Err(error) = deleted {
        warn!(%error, "could not delete the demo's data");
    }
    Ok(result?)
}

/// Starts the services, then runs customers and faults until the demo stops.
async fn run_shop(
    otlp: Otlp,
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

/// Binds the configured ports; a port that is in use and was not given is replaced by one that the system chooses.
async fn bind_near(mut config: CollectorConfig, given: [bool; 3]) -> Result<Collector, Error> {
    let any = ListenAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)));
    loop {
        let error = match Collector::bind(config.clone()).await {
            Ok(collector) => return Ok(collector),
            Err(error) => error,
        };
        let CollectorError::Bind { addr, .. } = error else {
            return Err(error.into());
        };
        let addresses = [
            &mut config.web_addr,
            &mut config.otlp_grpc_addr,
            &mut config.otlp_http_addr,
        ];
        let mut addresses = addresses.into_iter().zip(given);
        match addresses.find(|(configured, _)| **configured == addr) {
            Some((moved, false)) if *moved != any => {
                warn!(%error, "choosing another port");
                *moved = any;
            }
            _ => return Err(error.into()),
        }
    }
}

/// Unless a data directory was given, replaces it by a temporary one with an unpredictable name, which only its owner
/// can access and which is deleted at the end.
fn prepare_data_dir(options: &mut DemoOptions) -> Result<Option<TempDir>, Error> {
    if options.data_dir_given {
        return Ok(None);
    }
    let dir = tempfile::Builder::new().prefix("fusebox-demo-").tempdir()?;
    options.server.data_dir = dir.path().to_owned();
    Ok(Some(dir))
}

/// Prints the addresses to open.
fn announce_demo(web: SocketAddr) {
    print("The shop is starting. A breaker opens within half a minute:");
    print(format_args!("  open http://{web}         the circuit wall"));
    print(format_args!("  open http://{web}/traces  the requests"));
    print(format_args!("  open http://{web}/demo    inject faults\n"));
}
