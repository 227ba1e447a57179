//! Sends what is due to one target: JSON over HTTP, or mail by SMTP. Nothing is retried here.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tokio::time::timeout;

use super::body;
use super::channel::{Channel, Hook, Mail, MailTls};
use super::incident::Notice;
use super::message::Message;
use super::settings::Target;
use crate::files;
use crate::model::UnixNanos;
use crate::outbound::{connector, last_cause, system_roots};

/// Timeout of a delivery; mail servers that look up senders take the longest.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// How long the rest of an answer is read after its success status.
const REST_WITHIN: Duration = Duration::from_secs(1);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Longest error text that is shown.
const SHOWN_CHARS_MAX: usize = 200;
/// Longest pause that a target can request.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Largest file of authorities: that of a system has 250 KB.
const AUTHORITIES_BYTES_MAX: u64 = 4 << 20;

/// Sends to targets; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Authorities that replace the system's, as PEM.
    authorities: Option<Bytes>,
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SendError {
    #[error("no answer within {} s", SEND_WITHIN.as_secs())]
    TimedOut,
    #[error("could not reach it: {0}")]
    Unreachable(String),
    #[error("it answered {status}: {text}")]
    Status {
        status: StatusCode,
        text: String,
        retry_after: Option<Duration>,
    },
    #[error("mail: {text}")]
    Mail { text: String, answer: MailAnswer },
}

/// How a mail server answered to a mail that it did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MailAnswer {
    None,
    /// It may take the mail later.
    Postponed,
    Rejected,
}

#[derive(Debug, thiserror::Error)]
#[error("ca_file: {0}")]
pub(super) struct AuthoritiesError(String);

impl SendError {
    /// Whether the same message would be rejected again.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::TimedOut | Self::Unreachable(_) => false,
            Self::Status { status, .. } => {
                let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
                !status.is_server_error() && !passes.contains(status)
            }
            Self::Mail { answer, .. } => *answer == MailAnswer::Rejected,
        }
    }

    /// Whether the failure may be due to this message: the target answered, and did not ask for a pause.
    pub(super) fn is_of_message(&self) -> bool {
        match self {
            Self::TimedOut | Self::Unreachable(_) => false,
            Self::Status {
                status,
                retry_after,
                ..
            } => retry_after.is_none() && *status != StatusCode::TOO_MANY_REQUESTS,
            Self::Mail { answer, .. } => *answer != MailAnswer::None,
        }
    }

    /// Returns the pause that the target requests.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Sender {
    /// Trusts the authorities in a file, or those of the system. Blocks.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, AuthoritiesError> {
        let read = |path| files::read_regular(path, AUTHORITIES_BYTES_MAX);
        let pem = ca_file.map(read).transpose();
        let pem = pem.map_err(|error| AuthoritiesError(error.to_string()))?;
        let roots = pem.as_deref().map_or_else(|| Ok(system_roots()), roots)?;
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector(roots)),
            authorities: pem.map(Bytes::from),
        })
    }

    /// Sends what is due to a target: to Alertmanager as an alert each, otherwise as one message. `url` is the base of the links.
    pub(super) async fn send(
        &self,
        target: &Target,
        notices: &[Notice],
        url: &str,
    ) -> Result<(), SendError> {
        let sending = async {
            let message = Message::of(notices, url);
            match &target.channel {
                Channel::Alertmanager(hook) => {
                    let messages = notices
                        .iter()
                        .map(|notice| (notice, Message::new(notice, url)));
                    let alerts = body::alerts(&messages.collect::<Vec<_>>(), UnixNanos::now());
                    self.post(hook, "/api/v2/alerts", &alerts).await
                }
                Channel::Webhook(hook, template) => {
                    let body = body::webhook(&message, template.as_ref());
                    self.post(hook, "", &body).await
                }
                Channel::Slack(hook) => self.post(hook, "", &body::slack(&message)).await,
                Channel::Teams(hook) => self.post(hook, "", &body::teams(&message)).await,
                Channel::Mail(mail) => self.mail(mail, notices, &message).await,
            }
        };
        timeout(SEND_WITHIN, sending)
            .await
            .unwrap_or(Err(SendError::TimedOut))
    }

    /// Posts JSON. Redirects are not followed: only the file decides where to send.
    async fn post(&self, hook: &Hook, path: &str, json: &Value) -> Result<(), SendError> {
        let mut request = Request::new(Full::new(Bytes::from(json.to_string())));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = hook.uri(path);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(hook.headers.clone());
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| SendError::Unreachable(last_cause(&error)))?;
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            // So that the connection can be reused; if the rest never comes, the message was still delivered.
            let rest = Limited::new(body, ANSWER_BYTES_MAX).collect();
            let _read = timeout(REST_WITHIN, rest).await;
            return Ok(());
        }
        let text = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let text = text.map(|text| text.to_bytes()).unwrap_or_default();
        let seconds = head
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let seconds = seconds
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs);
        Err(SendError::Status {
            status: head.status,
            text: shown(&String::from_utf8_lossy(&text)),
            retry_after: seconds.map(|pause| pause.min(RETRY_AFTER_MAX)),
        })
    }

    async fn mail(
        &self,
        mail: &Mail,
        notices: &[Notice],
        message: &Message,
    ) -> Result<(), SendError> {
        let letter = letter(mail, notices, message).map_err(failed(MailAnswer::Rejected))?;
        let transport = self.transport(mail).map_err(failed(MailAnswer::None))?;
        match transport.send(letter).await {
            Ok(_) => Ok(()),
            Err(error) => Err(SendError::Mail {
                text: shown(&last_cause(&error)),
                answer: match (error.is_permanent(), error.is_transient()) {
                    (true, _) => MailAnswer::Rejected,
                    (false, true) => MailAnswer::Postponed,
                    (false, false) => MailAnswer::None,
                },
            }),
        }
    }

    fn transport(&self, mail: &Mail) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
        let (host, port) = mail.server.rsplit_once(':').unwrap_or((&mail.server, "25"));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tls = || self.tls(host);
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port.parse().unwrap_or(25))
            .timeout(Some(SEND_WITHIN))
            .tls(match mail.tls {
                MailTls::Starttls => Tls::Required(tls()?),
                MailTls::Implicit => Tls::Wrapper(tls()?),
                MailTls::None => Tls::None,
            });
        let credentials = mail.user.as_ref().zip(mail.password.as_ref());
        let credentials = credentials.map(|(user, password)| {
            let password = password.expose().to_owned();
            Credentials::new(user.clone(), password)
        });
        Ok(match credentials {
            Some(credentials) => builder.credentials(credentials).build(),
            None => builder.build(),
        })
    }

    fn tls(&self, host: &str) -> Result<TlsParameters, String> {
        let mut builder = TlsParameters::builder(host.to_owned());
        if let Some(pem) = &self.authorities {
            let authorities = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
            builder = builder
                .certificate_store(CertificateStore::None)
                .add_root_certificate(authorities);
        }
        builder.build_rustls().map_err(|error| error.to_string())
    }
}

fn failed(answer: MailAnswer) -> impl Fn(String) -> SendError {
    move |text| SendError::Mail { text, answer }
}

/// Returns the mail. Those about one incident alone form a thread; one about several belongs to none.
fn letter(mail: &Mail, notices: &[Notice], message: &Message) -> Result<lettre::Message, String> {
    let mailbox = |address: &str| {
        let parsed = address.parse::<Mailbox>();
        parsed.map_err(|error| format!("{address:?}: {error}"))
    };
    let mut builder = lettre::Message::builder()
        .from(mailbox(&mail.from)?)
        .subject(message.title.clone());
    for address in &mail.to {
        builder = builder.to(mailbox(address)?);
    }
    if let [notice] = notices {
        let begun = format!("<{}@fusebox>", notice.thread());
        builder = match notice.is_first() {
            true => builder.message_id(Some(begun)),
            false => {
                let own = format!("<{}.{}@fusebox>", notice.thread(), UnixNanos::now().get());
                let builder = builder.message_id(Some(own));
                builder.in_reply_to(begun.clone()).references(begun)
            }
        };
    } else {
        let own = format!("<several.{}@fusebox>", UnixNanos::now().get());
        builder = builder.message_id(Some(own));
    }
    let letter = builder.header(ContentType::TEXT_PLAIN).body(message.text());
    letter.map_err(|error| error.to_string())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, AuthoritiesError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.map(|certificate| roots.add(certificate));
        match added {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(AuthoritiesError(error.to_string())),
            Err(error) => return Err(AuthoritiesError(error.to_string())),
        }
    }
    match roots.is_empty() {
        true => Err(AuthoritiesError(
            "it contains no certificate in PEM form".to_owned(),
        )),
        false => Ok(roots),
    }
}

/// Returns the beginning of an external text, in one line.
fn shown(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let shown = words.join(" ");
    shown
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN_CHARS_MAX)
        .collect()
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
