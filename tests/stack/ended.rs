//! Instances that end on purpose and those that are killed: real services, the real collector, killed too.

use integration_tests::{Binary, ShopService, child, eventually, get_json};
use tempfile::TempDir;

/// Nothing listens at the discard port.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Starts an instance of a service with breakers.
async fn page(collector: &Binary, instance: &str) -> ShopService {
    let names = ["inventory", "price", "review", "recommendation", "legacy"];
    let peers = names.map(|name| (name, NOWHERE));
    ShopService::start("product-page", instance, &collector.otlp_http, &peers).await
}

/// Returns how the collector lists an instance.
async fn liveness(collector: &Binary, id: &str) -> Option<String> {
    let found = get_json(&format!("{}/api/instances", collector.web)).await?;
    let mut instances = found["instances"].as_array()?.iter();
    let one = instances.find(|one| one["id"] == id)?;
    one["liveness"].as_str().map(str::to_owned)
}

async fn wait_for(collector: &Binary, id: &str, wanted: &str) {
    eventually(&format!("{id}, {wanted}"), async || {
        (liveness(collector, id).await? == wanted).then_some(())
    })
    .await;
}

/// Scenario: of two instances one ends as in a rolling deployment, the other one is killed; then the collector is killed and
/// starts again over its data.
/// Guarantees: the first has ended, for the next collector too; the second has not, and will be late and down.
#[tokio::test]
async fn only_an_instance_that_says_so_has_ended() {
    let data = TempDir::new().expect("a temporary directory");
    let collector = Binary::serve(data.path()).await;
    let (first, second) = (page(&collector, "1").await, page(&collector, "2").await);
    for id in ["product-page-1", "product-page-2"] {
        wait_for(&collector, id, "live").await;
    }
    child::signal(second.id(), "KILL");
    first.stop().await;
    wait_for(&collector, "product-page-1", "ended").await;
    let killed = liveness(&collector, "product-page-2").await;
    assert_eq!(
        killed.as_deref(),
        Some("live"),
        "its heartbeat is not due yet"
    );
    collector.kill().await;
    let again = Binary::serve(data.path()).await;
    wait_for(&again, "product-page-1", "ended").await;
    assert_ne!(
        liveness(&again, "product-page-2").await.as_deref(),
        Some("ended")
    );
}
