//! Accepts connections and serves HTTP/1.1 and HTTP/2 on them, within limits, until the collector stops.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::connection::{Connection, ServeOptions};
use super::listen_addr::ListenAddr;
use super::places::{Place, Places};
use crate::counters::Incident;
use crate::sync::LogThrottle;

/// Pause after a failed accept (out of file descriptors), until connections close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often to look for a port that is free on both loopback addresses.
const PORT_ATTEMPTS: usize = 16;

/// Bound sockets, with a name for logs.
#[derive(Debug)]
pub(crate) struct Listener {
    sockets: Vec<TcpListener>,
    addr: SocketAddr,
    name: &'static str,
}

impl Listener {
    /// Fails when the address is in use or not local.
    pub(crate) async fn bind(name: &'static str, addr: ListenAddr) -> io::Result<Self> {
        let sockets = match addr {
            ListenAddr::One(addr) => vec![TcpListener::bind(addr).await?],
            ListenAddr::Localhost(port) => bind_localhost(port).await?,
        };
        let addr = sockets[0].local_addr()?;
        Ok(Self {
            sockets,
            addr,
            name,
        })
    }

    /// Returns the (first) address with its actual port.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the next connection on any of its addresses.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|context| {
            let mut accepted = self
                .sockets
                .iter()
                .map(|socket| socket.poll_accept(context));
            accepted.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
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
                accepted = self.accept() => match accepted {
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
        drop(self.sockets);
        finish(self.name, options.grace, connections).await;
    }
}

/// Binds 127.0.0.1 and ::1 on the same port, or whichever of them exists.
async fn bind_localhost(port: u16) -> io::Result<Vec<TcpListener>> {
    for _ in 0..PORT_ATTEMPTS {
        let v4 = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Err(error) if is_missing(&error) => {
                return Ok(vec![TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await?]);
            }
            bound => bound?,
        };
        match TcpListener::bind((Ipv6Addr::LOCALHOST, v4.local_addr()?.port())).await {
            Ok(v6) => return Ok(vec![v4, v6]),
            Err(error) if is_missing(&error) => return Ok(vec![v4]),
            Err(error) if port != 0 => return Err(error),
            // The chosen port is taken on the other address.
            Err(_) => {}
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Returns whether the error means that this machine lacks the address.
fn is_missing(error: &io::Error) -> bool {
    let exists = [io::ErrorKind::AddrInUse, io::ErrorKind::PermissionDenied];
    !exists.contains(&error.kind())
}

/// Takes a place, and counts connections rejected or evicted for lack of one.
fn place(options: &ServeOptions, places: &Arc<Places>, addr: SocketAddr) -> Option<Place> {
    let refused = &options.counters.connections_refused;
    let Some((place, evicted)) = places.take(addr.ip().into()) else {
        refused.add("limit", 1);
        return None;
    };
    if let Some(reason) = evicted {
        refused.add(reason, 1);
    }
    if options.access.is_proxy(addr.ip()) {
        place.session().trust_forwarded();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_is_every_loopback_address() {
        let listener = Listener::bind("web", ListenAddr::Localhost(0)).await;
        let listener = listener.unwrap();
        let port = listener.addr().port();
        let mut connected = 0;
        let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok();
        for host in ["127.0.0.1", "::1"] {
            if host == "::1" && !has_ipv6 {
                continue;
            }
            let _client = TcpStream::connect((host, port)).await.unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.ip().to_string(), host);
            connected += 1;
        }
        assert_eq!(connected, listener.sockets.len());
        let taken = Listener::bind("web", ListenAddr::Localhost(port)).await;
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
