//! Calls the live instances of a service through tower's balancer, which finds them in the collector's registry.
//!
//! Start a collector, then this program on several ports:
//! `cargo run -p fusebox --example registry --features registry -- 8081`.

use std::convert::Infallible;
use std::pin::pin;

use fusebox::TelemetryConfig;
use fusebox::registry::{Change, Instances, Registration};
use futures_util::stream::{self, Stream};
use tower::balance::p2c::Balance;
use tower::discover::Change as Discovered;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::{BoxError, Service, ServiceExt, service_fn};

type Call = PendingRequests<tower::util::BoxService<String, String, BoxError>>;

/// Returns the changes in the form that tower's balancer reads, with a client for each instance.
fn discovered(
    instances: Instances,
) -> impl Stream<Item = Result<Discovered<String, Call>, Infallible>> {
    stream::unfold(instances, async |mut instances| {
        let change = match instances.next().await? {
            Change::Insert(instance) => {
                let address = instance.address;
                let call = service_fn(move |path: String| {
                    let url = format!("{address}{path}");
                    async move { Ok::<_, BoxError>(reqwest::get(url).await?.text().await?) }
                });
                let call = PendingRequests::new(call.boxed(), CompleteOnResponse::default());
                Discovered::Insert(instance.id, call)
            }
            Change::Remove(id) => Discovered::Remove(id),
        };
        Some((Ok(change), instances))
    })
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "8081".to_owned());
    let address = format!("127.0.0.1:{port}");
    let telemetry = fusebox::init(TelemetryConfig::from_env("review"))?;
    let registered = Registration::at(&format!("http://{address}"))
        .with_metadata("version", env!("CARGO_PKG_VERSION"))
        .start(&telemetry)?;
    let own = move || async move { format!("the review of {port}") };
    let app = axum::Router::new().route("/", axum::routing::get(own));
    let listener = tokio::net::TcpListener::bind(address).await?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    let reviews = pin!(discovered(registered.instances("review")));
    let mut reviews = Balance::new(reviews);
    for _ in 0..10 {
        let ready = reviews.ready().await?;
        let answer = ready.call("/".to_owned()).await?;
        tracing::info!(answer, "answered");
    }
    Ok(())
}
