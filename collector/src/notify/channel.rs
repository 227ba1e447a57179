//! The channel to a target: a URL to post to, or a mail server. Validated when the file is read.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::Deserialize;
use serde_json::Value;

use super::template;
use crate::secret::Secret;

/// Longest URL; those of workflows have some 400 bytes.
const URL_BYTES_MAX: usize = 4_096;
/// Headers or recipients of one target.
const LIST_MAX: usize = 100;

#[derive(Debug)]
pub(super) enum Channel {
    Webhook(Hook, Option<Value>),
    Slack(Hook),
    Teams(Hook),
    Alertmanager(Hook),
    Mail(Mail),
}

/// A URL to post to.
#[derive(Debug)]
pub(super) struct Hook {
    /// Chat webhooks' URLs are secrets themselves.
    url: Secret,
    pub(super) headers: HeaderMap,
}

/// A mail server and the recipients.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mail {
    /// `host:port`.
    pub(super) server: String,
    #[serde(default)]
    pub(super) tls: MailTls,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) from: String,
    pub(super) to: Vec<String>,
}

/// The encryption of the connection to a mail server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MailTls {
    /// STARTTLS, which the server must offer.
    #[default]
    Starttls,
    /// From the first byte.
    Implicit,
    None,
}

/// The channels of a target in the file; there must be exactly one.
#[derive(Debug)]
pub(super) struct ChannelEntry {
    pub(super) webhook: Option<HookEntry>,
    pub(super) slack: Option<HookEntry>,
    pub(super) teams: Option<HookEntry>,
    pub(super) alertmanager: Option<HookEntry>,
    pub(super) mail: Option<Mail>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HookEntry {
    url: Secret,
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
    template: Option<Value>,
}

impl ChannelEntry {
    /// Returns the only channel.
    ///
    /// # Errors
    /// Describes what is wrong, without secrets.
    pub(super) fn read(mut self) -> Result<Channel, String> {
        let mut found = Vec::new();
        if let Some(mut webhook) = self.webhook.take() {
            let template = webhook.template.take();
            template.as_ref().map_or(Ok(()), template::check)?;
            found.push(Channel::Webhook(hook(webhook)?, template));
        }
        for (hooked, make) in [
            (self.slack.take(), Channel::Slack as fn(Hook) -> Channel),
            (self.teams.take(), Channel::Teams),
            (self.alertmanager.take(), Channel::Alertmanager),
        ] {
            if let Some(hooked) = hooked {
                found.push(make(hook(hooked)?));
            }
        }
        if let Some(mail) = self.mail.take() {
            found.push(Channel::Mail(checked(mail)?));
        }
        let one = "needs exactly one of webhook, slack, teams, alertmanager and mail";
        match (found.pop(), found.is_empty()) {
            (Some(channel), true) => Ok(channel),
            _ => Err(one.to_owned()),
        }
    }
}

fn hook(entry: HookEntry) -> Result<Hook, String> {
    check_url(entry.url.expose()).map_err(|problem| format!("url: {problem}"))?;
    if entry.template.is_some() {
        return Err("template: only a webhook has one".to_owned());
    }
    if entry.headers.len() > LIST_MAX {
        return Err(format!("headers: at most {LIST_MAX} are possible"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &entry.headers {
        let wrong = || format!("headers: {name:?} is no header, or its value is none");
        let name = HeaderName::try_from(name).map_err(|_| wrong())?;
        let mut value = HeaderValue::try_from(value.expose()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let url = entry.url;
    Ok(Hook { url, headers })
}

fn checked(mail: Mail) -> Result<Mail, String> {
    let port = mail.server.rsplit_once(':');
    let port = port.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    if port.is_none_or(|(host, port)| host.is_empty() || port == 0) {
        return Err("mail: server must be HOST:PORT, such as mail.example:587".to_owned());
    }
    if mail.user.is_some() != mail.password.is_some() {
        return Err("mail: user and password belong together".to_owned());
    }
    if mail.password.is_some() && mail.tls == MailTls::None && !is_loopback(&mail.server) {
        return Err("mail: without TLS a password is sent to this machine alone".to_owned());
    }
    if !(1..=LIST_MAX).contains(&mail.to.len()) {
        return Err(format!("mail: to must have 1 to {LIST_MAX} addresses"));
    }
    let addresses = mail.to.iter().chain([&mail.from]);
    for address in addresses {
        if address.parse::<lettre::message::Mailbox>().is_err() {
            return Err(format!("mail: {address:?} is no address"));
        }
    }
    Ok(mail)
}

fn is_loopback(server: &str) -> bool {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Describes what is wrong with a URL, without repeating it, since it may be a secret.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    if url.len() > URL_BYTES_MAX {
        return Err(format!("must have at most {URL_BYTES_MAX} bytes"));
    }
    let uri: Uri = url.parse().map_err(|_| "is no URL".to_owned())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if !is_http || authority.is_empty() {
        return Err("must begin with http:// or https:// and a host".to_owned());
    }
    match authority.contains('@') {
        true => Err("must not hold a password; use a header".to_owned()),
        false => Ok(()),
    }
}

impl Hook {
    pub(super) fn uri(&self, path: &str) -> Uri {
        let url = self.url.expose();
        let whole = match path {
            "" => url.to_owned(),
            path => format!("{}{path}", url.trim_end_matches('/')),
        };
        whole.parse().expect("checked when the file was read")
    }
}

impl Channel {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook(..) => "webhook",
            Self::Slack(_) => "slack",
            Self::Teams(_) => "teams",
            Self::Alertmanager(_) => "alertmanager",
            Self::Mail(_) => "mail",
        }
    }

    /// Returns the destination without secrets.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Webhook(hook, _)
            | Self::Slack(hook)
            | Self::Teams(hook)
            | Self::Alertmanager(hook) => hook
                .uri("")
                .authority()
                .map_or_else(String::new, ToString::to_string),
            Self::Mail(mail) => mail.server.clone(),
        }
    }
}
