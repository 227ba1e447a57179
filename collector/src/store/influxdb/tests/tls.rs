//! InfluxDB over https, with a certificate authority of its own.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::fake::Fake;
use super::*;
use crate::store::influxdb::wire::query::Query;

/// Puts TLS in front of a server on loopback; returns the port and the authority's certificate in PEM form.
async fn with_tls(behind: String) -> (u16, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = names.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else {
                    return;
                };
                let mut server = TcpStream::connect(behind).await.unwrap();
                let _closed = copy_bidirectional(&mut tls, &mut server).await;
            });
        }
    });
    (port, authority)
}

/// *Scenario*: only a configured file has the authority of the server's certificate.
/// *Guarantees*: with the file, writing and reading work; without it the error says what to do, and nothing
/// is sent.
#[tokio::test]
async fn a_server_is_spoken_to_over_tls_with_its_own_authority() {
    let fake = Fake::start("1.6.7", |_| None).await;
    let behind = fake.url.strip_prefix("http://").unwrap().to_owned();
    let (port, authority) = with_tls(behind).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    let options = |ca_file| InfluxdbOptions {
        ca_file,
        token: Some("root:s3cret".into()),
        ..InfluxdbOptions::at(format!("https://127.0.0.1:{port}"))
    };
    let untrusted = Client::new(options(None)).unwrap();
    let error = untrusted.ping().await.unwrap_err().to_string();
    assert!(error.contains("--influxdb-ca-file"), "{error}");
    assert!(fake.sent("").is_empty());

    let figures = carry(
        options(Some(file.clone())),
        dir.path(),
        &[good_lines(1, 10)],
    )
    .await;
    assert_eq!((figures.points, figures.retries), (10, 0));
    assert_eq!(fake.writes(), [good_lines(1, 10)]);
    let client = Client::new(options(Some(file))).unwrap();
    let read = client.query(&Query::new("SELECT 1")).await;
    assert_eq!(read.unwrap().len(), 0);
    assert!(
        fake.sent("/query")
            .last()
            .unwrap()
            .authorization
            .starts_with("Basic ")
    );
}

/// *Scenario*: an InfluxDB 2 over https has no bucket. *Guarantees*: our own client creates it, because the
/// crate has no TLS.
#[tokio::test]
async fn a_bucket_is_made_over_tls() {
    let fake = Fake::start("v2.9.1", |sent| {
        let answer = |status, body: &str| Some((status, "", body.to_owned()));
        match (sent.method.as_str(), sent.path.as_str()) {
            ("GET", "/api/v2/buckets") => {
                answer(404, r#"{"message":"bucket \"fusebox\" not found"}"#)
            }
            ("POST", "/api/v2/buckets") => answer(201, "{}"),
            ("GET", "/api/v2/orgs") => answer(200, r#"{"orgs":[{"id":"o1"}]}"#),
            _ => None,
        }
    })
    .await;
    let (port, authority) = with_tls(fake.url.strip_prefix("http://").unwrap().to_owned()).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    let options = InfluxdbOptions {
        ca_file: Some(file),
        url: format!("https://127.0.0.1:{port}").parse().unwrap(),
        ..fake.options()
    };
    let client = Client::new(options).unwrap();
    crate::store::influxdb::wire::setup::ensure(&client, WEEK, dir.path())
        .await
        .unwrap();
    let made = fake.sent("/api/v2/buckets").pop().unwrap();
    let body: Value = serde_json::from_str(&made.body).unwrap();
    assert_eq!(
        (body["orgID"].as_str(), made.authorization.as_str()),
        (Some("o1"), "Token t0")
    );
    assert_eq!(body["retentionRules"][0]["everySeconds"], 604_800);
}

#[test]
fn a_file_without_certificates_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, "no certificate").unwrap();
    for ca_file in [file, dir.path().join("nowhere.pem")] {
        let name = ca_file.display().to_string();
        let options = InfluxdbOptions {
            ca_file: Some(ca_file),
            ..InfluxdbOptions::at("https://127.0.0.1:1")
        };
        let error = Client::new(options).unwrap_err().to_string();
        assert!(error.contains(&name), "{error}");
    }
}
