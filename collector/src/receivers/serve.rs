//! Accepts connections and serves HTTP/1.1 and HTTP/2 on them, within limits, until the collector stops.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::connection::{Connection, ServeOptions};
use super::places::{Place, Places};
use crate::counters::Incident;
use crate::sync::LogThrottle;

/// Pause after a failed accept (no file descriptors left): they come back as connections close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket with its name for logs.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    name: &'static str,
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// When the address is in use or not local.
    pub(crate) async fn bind(name: &'static str, addr: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpListener::bind(addr).await?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr, name })
    }

    /// Returns the address, with the port that the system chose.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until the collector stops, then lets running requests finish within the grace period.
    pub(crate) async fn serve<H, F, B>(self, options: ServeOptions, handle: H)
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let places = options.access.open(self.name, options.connections_max);
        let mut connections = JoinSet::new();
        let mut warnings = LogThrottle::default();
        let mut stop = options.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => break,
                Some(_ended) = connections.join_next() => {}
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, addr)) => {
                        let Some(place) = place(&options, &places, addr) else { continue };
                        let connection = Connection { name: self.name, options: options.clone(), place };
                        connections.spawn(connection.serve(stream, handle.clone()));
                    }
                    Err(error) => {
                        options.counters.incidents.add(Incident::AcceptFailed, 1);
                        if warnings.is_due() {
                            warn!(%error, listener = self.name, "could not accept a connection");
                        }
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        drop(self.socket);
        finish(self.name, options.grace, connections).await;
    }
}

/// Takes a place, and counts the connection that was refused or closed for want of one.
fn place(options: &ServeOptions, places: &Arc<Places>, addr: SocketAddr) -> Option<Place> {
    let refused = &options.counters.connections_refused;
    let Some((place, evicted)) = places.take(addr.ip().into()) else {
        refused.add("limit", 1);
        return None;
    };
    if let Some(reason) = evicted {
        refused.add(reason, 1);
    }
    Some(place)
}

/// Lets running requests finish within the grace period.
async fn finish(name: &'static str, grace: Duration, mut connections: JoinSet<()>) {
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(grace, all_ended).await.is_err() {
        info!(
            listener = name,
            "closing connections that did not end in time"
        );
        connections.abort_all();
    }
}
