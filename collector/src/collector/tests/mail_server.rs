//! A mail server in the test's process: SMTP with STARTTLS and AUTH PLAIN, which takes mails of its one user.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::tls::Issued;

#[derive(Debug, Clone, Default)]
pub(super) struct Arrived {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    /// Headers and text.
    pub(super) data: String,
}

/// Ends with the runtime.
#[derive(Clone)]
pub(super) struct MailServer {
    pub(super) addr: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    acceptor: TlsAcceptor,
    /// The accepted `user\0password`.
    credentials: String,
}

impl MailServer {
    pub(super) async fn start(issued: &Issued, user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            addr: listener.local_addr().unwrap(),
            arrived: Arc::default(),
            acceptor: acceptor(issued),
            credentials: format!("\0{user}\0{password}"),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    pub(super) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    async fn serve(&self, stream: TcpStream) {
        let mut plain = BufReader::new(stream);
        plain.write_all(b"220 mail.test ESMTP\r\n").await.unwrap();
        if self.talk(&mut plain, false).await {
            let encrypted = self.acceptor.accept(plain.into_inner()).await;
            if let Ok(encrypted) = encrypted {
                self.talk(&mut BufReader::new(encrypted), true).await;
            }
        }
    }

    /// Answers commands; returns whether the client requests encryption.
    async fn talk<S>(&self, stream: &mut BufReader<S>, is_encrypted: bool) -> bool
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut mail, mut is_known) = (Arrived::default(), false);
        let mut line = String::new();
        while stream
            .read_line(&mut line)
            .await
            .is_ok_and(|bytes| bytes > 0)
        {
            let command = std::mem::take(&mut line);
            let command = command.trim_end();
            let verb = command.get(..4).unwrap_or_default().to_ascii_uppercase();
            let answer = match verb.as_str() {
                "EHLO" if is_encrypted => "250-mail.test\r\n250 AUTH PLAIN",
                "EHLO" => "250-mail.test\r\n250 STARTTLS",
                "STAR" => {
                    stream.write_all(b"220 go on\r\n").await.unwrap();
                    return true;
                }
                "AUTH" => {
                    let shown = STANDARD
                        .decode(command.rsplit(' ').next().unwrap())
                        .unwrap();
                    is_known = is_encrypted && shown == self.credentials.as_bytes();
                    if is_known {
                        "235 welcome"
                    } else {
                        "535 unknown"
                    }
                }
                "MAIL" if is_known => {
                    mail = Arrived::default();
                    mail.from = command.to_owned();
                    "250 ok"
                }
                "MAIL" => "530 who are you?",
                "RCPT" => {
                    mail.to.push(command.to_owned());
                    "250 ok"
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n").await.unwrap();
                    mail.data = read_data(stream).await;
                    self.arrived.lock().unwrap().push(mail.clone());
                    "250 taken"
                }
                "QUIT" => "221 bye",
                _ => "502 what?",
            };
            let answered = stream.write_all(format!("{answer}\r\n").as_bytes()).await;
            if answered.is_err() || verb == "QUIT" {
                break;
            }
        }
        false
    }
}

/// Reads a mail up to the line with a dot.
async fn read_data<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> String {
    let mut data = String::new();
    loop {
        let before = data.len();
        stream.read_line(&mut data).await.unwrap();
        match &data[before..] {
            ".\r\n" => {
                data.truncate(before);
                return data;
            }
            line => assert!(line.ends_with("\r\n"), "{line:?}"),
        }
    }
}

fn acceptor(issued: &Issued) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(issued.cert.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
