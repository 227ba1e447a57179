//! A pooled HTTP/1.1 client, plain or over TLS, with a timeout for every exchange and a limit for every body.
//!
//! TLS is rustls with ring. Certificates are verified against the system's authorities, or those in a file.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::url::InfluxdbUrl;
use crate::outbound::{connector, last_cause, system_roots};

/// Timeout of an exchange: InfluxDB gives up on a write after 10 s, but on most queries never.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an idle connection is kept: shorter than in proxies (60 s and more), which may close one just as
/// a request arrives.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// At most as many bytes as requested.
    pub(crate) body: Vec<u8>,
    pub(crate) is_cut: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("no answer in time")]
    Timeout,
    #[error("no connection: {0}")]
    Connect(String),
    #[error("the connection failed: {0}")]
    Broken(String),
}

/// Why certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificatesError {
    #[error("it contains no certificate in PEM form")]
    None,
    /// The file, or a certificate in it, cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

impl Http {
    /// `ca_file` has the trusted authorities; `None` means those of the system.
    pub(crate) fn new(
        url: &InfluxdbUrl,
        ca_file: Option<&Path>,
    ) -> Result<Self, CertificatesError> {
        let roots = match ca_file {
            Some(file) => roots_of(file)?,
            None if url.is_https() => system_roots(),
            None => RootCertStore::empty(),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector(roots));
        Ok(Self(client))
    }

    /// Sends a request and reads at most `body_bytes_max` bytes of the answer. Redirects are not followed: a
    /// proxy's redirect to its login page would turn a POST into a GET that succeeds.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        body_bytes_max: usize,
    ) -> Result<Reply, HttpError> {
        let exchange = async {
            let answer = self.0.request(request).await.map_err(unanswered)?;
            let (parts, body) = answer.into_parts();
            let (body, is_cut) = read(body, body_bytes_max).await?;
            Ok(Reply {
                status: parts.status,
                headers: parts.headers,
                body,
                is_cut,
            })
        };
        let answer = tokio::time::timeout(EXCHANGE_TIMEOUT, exchange).await;
        answer.map_err(|_| HttpError::Timeout).flatten()
    }
}

async fn read(mut body: Incoming, most: usize) -> Result<(Vec<u8>, bool), HttpError> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| HttpError::Broken(last_cause(&error)))?;
        let Ok(chunk) = frame.into_data() else {
            continue;
        };
        let room = most - read.len();
        read.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((read, true));
        }
    }
    Ok((read, false))
}

fn unanswered(error: hyper_util::client::legacy::Error) -> HttpError {
    let cause = last_cause(&error);
    match error.is_connect() {
        true => HttpError::Connect(with_advice(cause)),
        false => HttpError::Broken(cause),
    }
}

/// Adds advice about an untrusted certificate.
fn with_advice(cause: String) -> String {
    let advice = if cause.contains("UnknownIssuer") {
        "name the file of its certificate authority with --influxdb-ca-file"
    } else if cause.contains("CaUsedAsEndEntity") {
        "the server's own certificate must not be one of an authority (basicConstraints CA:FALSE)"
    } else {
        return cause;
    };
    format!("{cause}; {advice}")
}

fn roots_of(file: &Path) -> Result<RootCertStore, CertificatesError> {
    let unreadable =
        |error: &dyn std::fmt::Display| CertificatesError::Unreadable(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))? {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    match roots.is_empty() {
        true => Err(CertificatesError::None),
        false => Ok(roots),
    }
}
