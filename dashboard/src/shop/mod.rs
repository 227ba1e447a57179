//! The demo's shop: a small store that is moving from a monolith to services.
//!
//! ```text
//! customers → gateway ─┬→ product-page (2 instances) ─┬→ inventory ──────┐ when refused or failing:
//!                      │                              ├→ price ──────────┤ the legacy monolith takes over
//!                      │                              ├→ review          └→ legacy
//!                      │                              └→ recommendation
//!                      └→ review (no fallback: customers see 503 while its breaker is open)
//! ```
//!
//! Every service is its own process with its own `service.name`, every hop is real HTTP, and only the public API of
//! `fusebox` is used. Use it as an example; start with `product_page.rs`.

pub mod fault;

mod gateway;
mod inventory;
mod legacy;
mod peer;
mod price;
mod product_page;
mod protected;
mod recommendation;
mod review;
mod work;

use std::io::Write;
use std::net::SocketAddr;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::put;
use fusebox::http::server::TraceLayer;
use fusebox::opentelemetry::KeyValue;
use fusebox::telemetry::TelemetryConfig;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::error::Error;
use fault::FaultState;
use peer::Peers;

/// Which service to run, its address and its callees.
#[derive(Debug, Clone)]
pub struct ShopOptions {
    /// `service.name`.
    pub service: String,
    /// Its address.
    pub listen: SocketAddr,
    /// The number of its instance.
    pub instance: String,
    /// Names and base URLs of the services it calls; a name may occur several times.
    pub peers: Vec<(String, String)>,
}

/// Runs one service until its standard input ends.
///
/// # Errors
/// Returns why it could not start.
pub fn run(options: ShopOptions) -> Result<(), Error> {
    // Telemetry outlives the runtime: it is flushed after everything else has ended.
    let instance = format!("{}-{}", options.service, options.instance);
    let instance = KeyValue::new("service.instance.id", instance);
    let _telemetry =
        fusebox::init(TelemetryConfig::from_env(&options.service).with_attribute(instance))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(options))
}

async fn serve(options: ShopOptions) -> Result<(), Error> {
    let listener = TcpListener::bind(options.listen).await?;
    let app = app(&options)?;
    announce(listener.local_addr()?);
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(parent_gone())
    .await?;
    Ok(())
}

/// Returns the service with its fault and its tracing.
fn app(options: &ShopOptions) -> Result<Router, Error> {
    let peers = Peers::new(&options.peers);
    let service = match options.service.as_str() {
        "gateway" => gateway::router(&peers)?,
        "product-page" => product_page::router(&peers)?,
        "inventory" => inventory::router(),
        "price" => price::router(),
        "review" => review::router(),
        "recommendation" => recommendation::router(),
        "legacy" => legacy::router(),
        other => return Err(format!("the shop has no service {other}").into()),
    };
    let fault = FaultState::default();
    // Read from top (outermost): a request is traced first, and then the fault applies. `_fault` requests skip both.
    let traced = service
        .layer(from_fn_with_state(fault.clone(), fault::suffer))
        .layer(TraceLayer::new());
    Ok(traced.route("/_fault", put(fault::put_fault).with_state(fault)))
}

/// Prints the address on the first line, which the demo reads. If the demo has already ended, this fails, and the
/// service ends soon afterwards.
fn announce(addr: SocketAddr) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{addr}")
        .and_then(|()| stdout.flush())
        .ok();
}

/// Resolves when the demo has ended, which closes our standard input.
async fn parent_gone() {
    let mut rest = [0; 64];
    while matches!(tokio::io::stdin().read(&mut rest).await, Ok(read) if read > 0) {}
}
