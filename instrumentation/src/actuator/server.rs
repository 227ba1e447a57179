//! The actuator's own listener. Connections are few, limited in time, and not all from one address, so that a slow client
//! cannot use up more than its own connections, and health probes find one.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
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
use crate::sync::Mutex;

/// Most concurrent connections; the next one waits.
const CONNECTIONS_MAX: usize = 64;
/// Most concurrent connections of one address; further ones are closed.
const CONNECTIONS_OF_ADDRESS_MAX: usize = CONNECTIONS_MAX / 2;
/// About the largest head of a request; hyper's own limit is 400 KiB.
const HEAD_BYTES_MAX: usize = 64 << 10;
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
    let addresses = Addresses::default();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (stream, peer) = accept(&listener).await;
        let Some(counted) = addresses.count(peer.ip()) else {
            continue;
        };
        let connection = connection(stream, router.clone());
        connections.spawn(async move {
            let _ = tokio::time::timeout(CONNECTION_MAX, connection).await;
            drop((place, counted));
        });
    }
}

/// How many connections each address has.
#[derive(Debug, Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection of an address, until it is dropped.
struct Counted(Addresses, IpAddr);

impl Addresses {
    /// Counts one more; `None` if the address has as many as it may.
    fn count(&self, address: IpAddr) -> Option<Counted> {
        let mut counts = self.0.lock();
        let count = counts.entry(address).or_default();
        if *count >= CONNECTIONS_OF_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Counted(self.clone(), address))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Self(Addresses(counts), address) = self;
        let mut counts = counts.lock();
        let left = counts.get(address).map_or(0, |count| count - 1);
        match left {
            0 => counts.remove(address),
            left => counts.insert(*address, left),
        };
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
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
        .max_buf_size(HEAD_BYTES_MAX)
        .header_read_timeout(HEAD_WITHIN);
    let service = TowerToHyperService::new(router);
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}
