//! The page of a product, composed from four services, each called in its own command: timeout, slots, breaker and
//! fallback. Stock and price fall back to the monolith.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use fusebox::circuit_breaker::CommandError;
use serde_json::{Value, json};
use tracing::info;

use super::peer::{PeerError, Peers};
use super::protected::Protected;
use super::work;
use crate::error::Error;

/// Half of the gateway's timeout, for the slowest part of the page.
const TIMEOUT: Duration = Duration::from_millis(800);

struct ProductPage {
    inventory: Protected,
    price: Protected,
    review: Protected,
    recommendation: Protected,
    legacy: Protected,
}

/// Why neither the new service nor the monolith answered.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error(transparent)]
    New(PeerError),
    #[error(transparent)]
    Legacy(CommandError<PeerError>),
}

/// Returns its routes.
pub(super) fn router(peers: &Peers) -> Result<Router, Error> {
    let protected = |name| Protected::new(peers, "product-page", name, TIMEOUT);
    let page = ProductPage {
        inventory: protected("inventory")?,
        price: protected("price")?,
        review: protected("review")?,
        recommendation: protected("recommendation")?,
        legacy: protected("legacy")?,
    };
    Ok(Router::new()
        .route("/product/{id}", get(product))
        .with_state(Arc::new(page)))
}

async fn product(State(page): State<Arc<ProductPage>>, Path(id): Path<u32>) -> Json<Value> {
    let (stock, price, reviews, others) = tokio::join!(
        page.stock(id),
        page.price(id),
        page.reviews(id),
        page.others(id)
    );
    work::compute("render page", 2).await;
    let is_whole = !stock.is_null() && !price.is_null();
    info!(product = id, is_whole, "page rendered");
    Json(
        json!({ "product": id, "stock": stock, "price": price, "reviews": reviews, "others": others }),
    )
}

impl ProductPage {
    /// Calls the new service; falls back to the monolith on failures and refusals, but not if the product does not
    /// exist.
    async fn stock(&self, id: u32) -> Value {
        self.new_or_legacy(&self.inventory, format!("/stock/{id}"))
            .await
    }

    /// Calls the new service; falls back to the monolith on failures and refusals.
    async fn price(&self, id: u32) -> Value {
        self.new_or_legacy(&self.price, format!("/price/{id}"))
            .await
    }

    async fn new_or_legacy(&self, new: &Protected, path: String) -> Value {
        new.breaker
            .command()
            .run(|| async { new.peer.get_json(path.clone()).await.map_err(NoAnswer::New) })
            .bad_request_if(|error| matches!(error, NoAnswer::New(error) if error.is_ours()))
            .fallback_to("legacy", |_cause| async {
                self.legacy
                    .get(path.clone())
                    .await
                    .map_err(NoAnswer::Legacy)
            })
            .execute()
            .await
            .unwrap_or_default()
    }

    /// A page without reviews is better than no page.
    async fn reviews(&self, id: u32) -> Value {
        self.review
            .breaker
            .command()
            .run(|| self.review.peer.get_json(format!("/reviews/{id}")))
            .bad_request_if(PeerError::is_ours)
            .fallback(|_cause| async { Ok(json!([])) })
            .execute()
            .await
            .unwrap_or_default()
    }

    /// Best sellers replace recommendations.
    async fn others(&self, id: u32) -> Value {
        self.recommendation
            .breaker
            .command()
            .run(|| {
                self.recommendation
                    .peer
                    .get_json(format!("/recommend/{id}"))
            })
            .bad_request_if(PeerError::is_ours)
            .fallback(|_cause| async { Ok(json!([1, 2, 3])) })
            .execute()
            .await
            .unwrap_or_default()
    }
}
