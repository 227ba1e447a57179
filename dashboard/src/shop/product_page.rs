//! One product's page, put together from four services, each call in a command of its own: time limit, slots,
//! breaker and fallback in one place. Stock and price fall back to the monolith, which still knows them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use fusebox::circuit_breaker::{CircuitBreaker, CommandError, Settings};
use serde_json::{Value, json};

use super::peer::{Peer, Peers};
use super::work;
use crate::cli::Error;

struct ProductPage {
    inventory: Protected,
    price: Protected,
    review: Protected,
    recommendation: Protected,
    legacy: Protected,
}

/// A service and the breaker around calls to it.
struct Protected {
    peer: Peer,
    breaker: CircuitBreaker,
}

/// Why neither the new service nor the monolith answered.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("no answer from the new service: {0}")]
    New(#[from] reqwest::Error),
    #[error("no answer from the monolith: {0}")]
    Legacy(Box<CommandError<reqwest::Error>>),
}

/// Returns its routes.
pub(super) fn router(peers: &Peers) -> Result<Router, Error> {
    let page = ProductPage {
        inventory: Protected::new(peers, "inventory")?,
        price: Protected::new(peers, "price")?,
        review: Protected::new(peers, "review")?,
        recommendation: Protected::new(peers, "recommendation")?,
        legacy: Protected::new(peers, "legacy")?,
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
    Json(
        json!({ "product": id, "stock": stock, "price": price, "reviews": reviews, "others": others }),
    )
}

impl ProductPage {
    /// Asks the new service; the monolith takes over when it fails or is refused.
    async fn stock(&self, id: u32) -> Value {
        self.new_or_legacy(&self.inventory, format!("/stock/{id}"))
            .await
    }

    /// Asks the new service; the monolith takes over when it fails or is refused.
    async fn price(&self, id: u32) -> Value {
        self.new_or_legacy(&self.price, format!("/price/{id}"))
            .await
    }

    async fn new_or_legacy(&self, new: &Protected, path: String) -> Value {
        new.breaker
            .command()
            .run(|| async { Ok(new.peer.get_json(path.clone()).await?) })
            .fallback_to("legacy", |_cause| self.legacy.get(path.clone()))
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
            .fallback(|_cause| async { Ok(json!([])) })
            .execute()
            .await
            .unwrap_or_default()
    }

    /// Best sellers stand in for recommendations.
    async fn others(&self, id: u32) -> Value {
        self.recommendation
            .breaker
            .command()
            .run(|| {
                self.recommendation
                    .peer
                    .get_json(format!("/recommend/{id}"))
            })
            .fallback(|_cause| async { Ok(json!([1, 2, 3])) })
            .execute()
            .await
            .unwrap_or_default()
    }
}

impl Protected {
    fn new(peers: &Peers, name: &str) -> Result<Self, Error> {
        let settings = Settings {
            // Half of a customer's patience for the slowest part of the page.
            timeout: Some(Duration::from_millis(800)),
            max_concurrent: 20,
            ..Settings::default()
        };
        let breaker = CircuitBreaker::builder(name)
            .group("product-page")
            .settings(settings)
            .build();
        Ok(Self {
            peer: peers.get(name)?,
            breaker,
        })
    }

    /// Calls the service through its breaker, without a fallback.
    async fn get(&self, path: String) -> Result<Value, NoAnswer> {
        let answer = self
            .breaker
            .command()
            .run(|| self.peer.get_json(path))
            .execute()
            .await;
        answer.map_err(|error| NoAnswer::Legacy(Box::new(error)))
    }
}
