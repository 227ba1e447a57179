//! TLS for every listener: rustls with ring; certificates in PEM files that are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::files;
use crate::secret::Secret;
use crate::sync::RwLock;

/// Largest file: a hundred certificates of the usual 2 KB.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// HTTP/2 first, since gRPC uses nothing else; then HTTP/1.1 (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate in PEM form, followed by the intermediate ones.
    pub cert: PathBuf,
    /// Its private key in PEM form.
    pub key: PathBuf,
    /// The authorities of clients' certificates, which are then required.
    pub client_ca: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("could not read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A file has other contents than expected.
    #[error("{path} holds no {what} in PEM form")]
    Pem { path: PathBuf, what: &'static str },
    /// Certificate and key, or the authorities, do not fit together.
    #[error("could not use the certificate {path}: {problem}")]
    Unusable { path: PathBuf, problem: String },
}

/// The configuration for new connections; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

/// The files, and their contents when last read.
#[derive(Debug)]
pub(crate) struct TlsSource {
    files: TlsFiles,
    read: Option<Secret>,
}

impl Tls {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read())
    }

    /// Replaces the configuration for new connections; open ones stay.
    pub(crate) fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write() = config;
    }
}

impl TlsSource {
    /// Does not read the files yet.
    pub(crate) fn new(files: TlsFiles) -> Self {
        Self { files, read: None }
    }

    /// Reads the files; `None` if their contents have not changed.
    ///
    /// # Errors
    /// When one cannot be read, or the contents do not fit together, for example while they are being
    /// replaced.
    pub(crate) fn changed(&mut self) -> Result<Option<Arc<ServerConfig>>, TlsError> {
        let TlsFiles {
            cert,
            key,
            client_ca,
        } = &self.files;
        let (cert_pem, key_pem) = (read(cert)?, read(key)?);
        let client_ca = match client_ca {
            Some(path) => Some((path.as_path(), read(path)?)),
            None => None,
        };
        let authorities = client_ca.as_ref().map_or(&[][..], |(_, pem)| pem);
        let all = [&cert_pem[..], &key_pem, authorities].concat();
        let all = Secret::from(String::from_utf8_lossy(&all).into_owned());
        if self.read.as_ref() == Some(&all) {
            return Ok(None);
        }
        let config = config(&self.files, &cert_pem, &key_pem, client_ca)?;
        self.read = Some(all);
        Ok(Some(Arc::new(config)))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read_regular(path, FILE_BYTES_MAX).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn config(
    files: &TlsFiles,
    cert: &[u8],
    key: &[u8],
    client_ca: Option<(&Path, Vec<u8>)>,
) -> Result<ServerConfig, TlsError> {
    let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable {
        path: files.cert.clone(),
        problem: error.to_string(),
    };
    let chain = certificates(&files.cert, cert)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Pem {
        path: files.key.clone(),
        what: "private key",
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3");
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some((path, pem)) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path, &pem)? {
                roots.add(authority).map_err(|error| unusable(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(&error))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(config)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::Pem {
            path: path.to_owned(),
            what: "certificate",
        }),
    }
}
