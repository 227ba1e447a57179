//! The layer of a cache.

use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{PolicyFuture, take_ready};
use crate::isolated::isolated;
use crate::resilience::{Cache, Key, Value};

/// Puts a [`Cache`] around a service whose responses are `Clone`. For HTTP, put it outside the code that reads the
/// bodies. `D` returns the key of a request; a request without a key is not cached.
///
/// ```
/// use fusebox::resilience::Cache;
/// use fusebox::resilience::layer::CacheLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let prices: Cache<u32, String> = Cache::new("prices");
/// let service = ServiceBuilder::new()
///     .layer(CacheLayer::new(prices, |product: &u32| Some(*product)))
///     .service(service_fn(async |product: u32| Ok::<_, std::io::Error>(format!("{product} euros"))));
/// assert_eq!(service.oneshot(7).await.unwrap(), "7 euros");
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CacheLayer<K: Key, V: Value, D> {
    cache: Cache<K, V>,
    key: D,
}

impl<K: Key, V: Value, D> CacheLayer<K, V, D> {
    /// Creates a layer that stores responses in `cache`.
    pub fn new(cache: Cache<K, V>, key: D) -> Self {
        Self { cache, key }
    }
}

impl<S, K: Key, V: Value, D: Clone> Layer<S> for CacheLayer<K, V, D> {
    type Service = CacheService<S, K, V, D>;

    fn layer(&self, inner: S) -> Self::Service {
        CacheService {
            inner,
            cache: self.cache.clone(),
            key: self.key.clone(),
        }
    }
}

/// A service whose responses are cached.
#[derive(Debug, Clone)]
pub struct CacheService<S, K: Key, V: Value, D> {
    inner: S,
    cache: Cache<K, V>,
    key: D,
}

impl<S, K, V, D, Request> Service<Request> for CacheService<S, K, V, D>
where
    S: Service<Request, Response = V> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    K: Key,
    V: Value,
    D: Fn(&Request) -> Option<K>,
    Request: Send + 'static,
{
    type Response = V;
    type Error = S::Error;
    type Future = PolicyFuture<V, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (mut inner, cache) = (take_ready(&mut self.inner), self.cache.clone());
        let key = isolated("cache key", || (self.key)(&request)).flatten();
        Box::pin(async move {
            match key {
                Some(key) => cache.call(key, || inner.call(request)).await,
                None => inner.call(request).await,
            }
        })
    }
}
