//! The actuator's own listener. Connections are few and limited in time, so a slow client cannot use up more than its
//! own connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::registration::Registered;

/// Most concurrent connections; the next one waits.
const CONNECTIONS_MAX: usize = 64;
/// How long the head of a request may take to arrive, and how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long a connection may last; clients then open a new one.
const CONNECTION_MAX: Duration = Duration::from_secs(600);
/// The pause after a failed accept, which means a lack of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(200);

/// A running actuator; dropping it closes its connections.
#[derive(Debug)]
#[must_use = "the actuator ends when this is dropped: keep it until the end of main"]
pub struct Serving {
    pub(super) address: SocketAddr,
    pub(super) accepting: AbortHandle,
    pub(super) registered: Vec<Registered>,
}

impl Serving {
    /// Returns the bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Removes the service from the servers with which it registered, then stops serving.
    pub async fn stop(mut self) {
        for registered in std::mem::take(&mut self.registered) {
            registered.leave().await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves until it is aborted.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = accept(&listener).await;
        let connection = connection(stream, router.clone());
        connections.spawn(async move {
            let _ = tokio::time::timeout(CONNECTION_MAX, connection).await;
            drop(place);
        });
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::debug!(target: "fusebox", %error, "could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let mut server = Builder::new(TokioExecutor::new()).http1_only();
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN);
    let service = TowerToHyperService::new(router);
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}
