//! TLS on every port, with certificates made on the spot.

use std::path::Path;

use hyper_util::rt::TokioExecutor;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::receivers::TlsFiles;

const TOKEN: &str = "sender-sender-01";

/// A certificate and its key, in PEM form.
pub(super) struct Issued {
    pub(super) cert: String,
    pub(super) key: String,
}

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// Issues a certificate that is valid until the end of a year.
    pub(super) fn issue(&self, name: &str, until: i32) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        let key = key.serialize_pem();
        Issued { cert, key }
    }
}

fn write(dir: &Path, issued: &Issued) -> TlsFiles {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, &issued.cert).unwrap();
    std::fs::write(&key, &issued.key).unwrap();
    TlsFiles {
        cert,
        key,
        client_ca: None,
    }
}

fn config(dir: &Path, tls: TlsFiles) -> CollectorConfig {
    CollectorConfig {
        tls: Some(tls),
        token: Some(TOKEN.into()),
        ..CollectorConfig::for_test(dir.join("data"))
    }
}

/// Connects as a client that trusts the authority and has a certificate.
async fn connect(
    addr: SocketAddr,
    trusted: &Authority,
    shown: Option<&Issued>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let pem = trusted.pem.as_bytes();
    roots
        .add(CertificateDer::from_pem_slice(pem).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let cert = CertificateDer::from_pem_slice(issued.cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// Queries the health with the token, over HTTP/2.
async fn ask(stream: TlsStream<TcpStream>, path: &str) -> Result<StatusCode, hyper::Error> {
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(stream);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    let request = Request::get(format!("https://localhost{path}"))
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Full::new(Bytes::new()))
        .unwrap();
    Ok(client.send_request(request).await?.status())
}

/// *Guarantees*: every port accepts TLS, and HTTP/2 by ALPN; a plain HTTP client gets a message.
#[tokio::test]
async fn every_port_speaks_tls() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let files = write(dir.path(), &authority.issue("localhost", 4000));
    let running = Running::start(config(dir.path(), files)).await;
    for (addr, path, expected) in [
        (running.web, "/healthz", 200),
        (running.otlp_http, "/v1/traces", 405),
        (running.otlp_grpc, "/", 415),
    ] {
        let stream = connect(addr, &authority, None).await.unwrap();
        assert_eq!(ask(stream, path).await.unwrap(), expected, "{path}");
        let mut plain = TcpStream::connect(addr).await.unwrap();
        plain
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        plain.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("https://"), "{answer}");
    }
    assert_eq!(running.counters.connections_refused.all()["plain"], 3);
    running.stop().await;
}

/// *Guarantees*: a client rejects a certificate that is expired, or of another host or authority.
#[tokio::test]
async fn clients_refuse_certificates_that_are_not_valid() {
    let authority = Authority::new();
    for (issued, trusted) in [
        (authority.issue("localhost", 2001), &authority),
        (authority.issue("other.example", 4000), &authority),
        (authority.issue("localhost", 4000), &Authority::new()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let files = write(dir.path(), &issued);
        let running = Running::start(config(dir.path(), files)).await;
        assert!(connect(running.web, trusted, None).await.is_err());
        running.stop().await;
    }
}

/// *Guarantees*: if an authority for clients is configured, only clients with a valid certificate of it are
/// accepted.
#[tokio::test]
async fn clients_show_a_certificate_where_one_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new(), Authority::new());
    let client_ca = dir.path().join("clients.pem");
    std::fs::write(&client_ca, &clients.pem).unwrap();
    let files = TlsFiles {
        client_ca: Some(client_ca),
        ..write(dir.path(), &authority.issue("localhost", 4000))
    };
    let running = Running::start(config(dir.path(), files)).await;
    for (shown, is_let_in) in [
        (Some(clients.issue("orders", 4000)), true),
        (Some(clients.issue("orders", 2001)), false),
        (Some(authority.issue("orders", 4000)), false),
        (None, false),
    ] {
        // In TLS 1.3 the client hears of a refusal after its handshake.
        let answer = match connect(running.web, &authority, shown.as_ref()).await {
            Ok(stream) => ask(stream, "/healthz").await.ok(),
            Err(_) => None,
        };
        assert_eq!(answer.is_some_and(|status| status == 200), is_let_in);
    }
    eventually(async || {
        let refused = running.counters.connections_refused.all();
        refused.get("tls_handshake") == Some(&3)
    })
    .await;
    running.stop().await;
}

/// *Scenario*: certificate and key are replaced while a connection is open.
/// *Guarantees*: new connections use the new one, the open one continues, and a half-finished replacement is
/// not used.
#[tokio::test]
async fn a_certificate_is_replaced_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let files = write(dir.path(), &old.issue("localhost", 4000));
    let running = Running::start(config(dir.path(), files.clone())).await;
    let before = connect(running.web, &old, None).await.unwrap();
    std::fs::write(&files.cert, "half of a certificate").unwrap();
    write(dir.path(), &new.issue("localhost", 4000));
    eventually(async || connect(running.web, &new, None).await.is_ok()).await;
    assert!(connect(running.web, &old, None).await.is_err());
    assert_eq!(ask(before, "/healthz").await.unwrap(), 200);
    running.stop().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let files = write(dir.path(), &authority.issue("localhost", 4000));
    let running = Running::start(config(dir.path(), files)).await;
    let mut stream = TcpStream::connect(running.web).await.unwrap();
    stream.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    tokio::time::pause();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    tokio::time::resume();
    assert_eq!(running.counters.connections_refused.all()["silent"], 1);
    running.stop().await;
}

#[tokio::test]
async fn files_that_do_not_fit_together_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let files = write(dir.path(), &authority.issue("localhost", 4000));
    let other = authority.issue("localhost", 4000);
    let cases = [
        (
            &files.key,
            other.key.as_str(),
            "could not use the certificate",
        ),
        (&files.key, "", "key.pem holds no private key"),
        (&files.cert, "nothing", "cert.pem holds no certificate"),
    ];
    for (file, text, says) in cases {
        std::fs::write(file, text).unwrap();
        let error = Collector::bind(config(dir.path(), files.clone())).await;
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("tls: ") && error.contains(says),
            "{error}"
        );
    }
}
