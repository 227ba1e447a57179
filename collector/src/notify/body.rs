//! The message bodies of the targets: Slack, Microsoft Teams, Alertmanager (API v2), and our own for
//! webhooks.

use serde_json::{Value, json};

use super::incident::{Notice, Stage};
use super::message::Message;
use super::template;
use crate::model::{MINUTE, UnixNanos, format_timestamp};

/// How much longer than the interval of posts an alert lives: four posts may be lost.
const ALERT_LIVES: std::time::Duration = MINUTE.saturating_mul(5);
/// Longest text from outside in a section of Slack, and longest URL of a link, in characters once escaped: a section
/// with a text and two links has less than 3,000, which is Slack's limit.
const SLACK_TEXT_MAX: usize = 1_500;
const SLACK_URL_MAX: usize = 650;

/// Returns the body of a webhook: the template with values, or all fields.
pub(super) fn webhook(message: &Message, template: Option<&Value>) -> Value {
    message.with_values(|values| match template {
        Some(template) => template::fill(template, values),
        None => {
            let all = values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)));
            Value::Object(all.collect())
        }
    })
}

/// Returns a message with blocks for Slack's incoming webhooks.
pub(super) fn slack(message: &Message) -> Value {
    let lines = message.lines();
    let lines = lines
        .iter()
        .map(|(word, text)| format!("*{word}:* {}", escaped(text)));
    let links = message.links();
    let links = links
        .iter()
        .filter_map(|(word, url)| Some(format!("<{}|{word}>", slack_url(url)?)));
    let lines: Vec<_> = lines.chain(links).collect();
    // Verbatim: addresses in the text, which comes from outside, do not become links.
    let section = |text: String| {
        let text = json!({"type": "mrkdwn", "text": text, "verbatim": true});
        json!({"type": "section", "text": text})
    };
    let title = escaped(&message.title);
    let head = [section(format!("*{title}*")), section(lines.join("\n"))];
    let listed = message.listed.iter();
    let listed = listed.map(|(title, url)| {
        let title = escaped(title);
        let link = slack_url(url).map(|url| format!("<{url}|{title}>"));
        section(link.unwrap_or(title))
    });
    let blocks = head.into_iter().chain(listed);
    let blocks: Vec<_> = blocks.chain(message.rest().map(section)).collect();
    json!({"text": title, "blocks": blocks})
}

/// Escapes the characters of Slack's markup, and cuts what is too long then.
/// <https://api.slack.com/reference/surfaces/formatting#escaping>
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let mut left = SLACK_TEXT_MAX;
    for c in text.chars() {
        let mut own = [0; 4];
        let written = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            c => c.encode_utf8(&mut own),
        };
        let Some(rest) = left.checked_sub(written.chars().count()) else {
            escaped.push('…');
            break;
        };
        left = rest;
        escaped.push_str(written);
    }
    escaped
}

/// Returns a URL within a link; `None` if it is too long.
fn slack_url(url: &str) -> Option<String> {
    let url = url.replace('&', "&amp;").replace('|', "%7C");
    (url.len() <= SLACK_URL_MAX).then_some(url)
}

/// Returns an adaptive card for the webhooks of Teams' workflows. Texts from outside are runs of text: everywhere else
/// Teams reads Markdown, and would make links of them.
pub(super) fn teams(message: &Message) -> Value {
    let runs = |runs: Value| json!({"type": "RichTextBlock", "inlines": runs});
    let facts = message.lines().into_iter().map(|(word, text)| {
        let word = json!({"type": "TextRun", "text": format!("{word}: "), "weight": "Bolder"});
        runs(json!([word, {"type": "TextRun", "text": text}]))
    });
    let links = message.links();
    let actions = links
        .iter()
        .map(|(word, url)| json!({"type": "Action.OpenUrl", "title": word, "url": url}));
    let is_over = !message.until.is_empty();
    let title = json!({
        "type": "TextRun", "text": message.title, "weight": "Bolder", "size": "Medium",
        "color": if is_over { "Good" } else { "Attention" },
    });
    let line = |text: &str| runs(json!([{"type": "TextRun", "text": text}]));
    let listed = message.listed.iter().map(|(title, url)| {
        let open = json!({"type": "Action.OpenUrl", "url": url});
        json!({"type": "Container", "items": [line(title)], "selectAction": open})
    });
    let rest = message.rest().map(|rest| line(&rest));
    let facts = json!({"type": "Container", "items": facts.collect::<Vec<_>>()});
    let body: Vec<_> = [runs(json!([title])), facts]
        .into_iter()
        .chain(listed)
        .chain(rest)
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard", "version": "1.4",
                "body": body,
                "actions": actions.collect::<Vec<_>>(),
            },
        }],
    })
}

/// Returns alerts for Alertmanager's `POST /api/v2/alerts`: an open one resolves by itself when no more are
/// posted.
pub(super) fn alerts(notices: &[(&Notice, Message)], now: UnixNanos) -> Value {
    notices
        .iter()
        .map(|(notice, message)| alert(notice, message, now))
        .collect()
}

fn alert(notice: &Notice, message: &Message, now: UnixNanos) -> Value {
    let incident = &notice.incident;
    let ends = incident.ended.unwrap_or(now + ALERT_LIVES);
    // Labels identify an alert, so they must not change from its beginning to its end.
    let mut labels = json!({
        "alertname": notice.alert_name(),
        "severity": "warning",
        "source": "fusebox",
    });
    for (name, value) in [
        ("service", &message.service),
        ("circuit", &message.circuit),
        ("instance", &message.instance),
    ] {
        if !value.is_empty() {
            labels[name] = json!(value);
        }
    }
    let mut annotations = json!({"summary": message.title, "description": message.reason});
    if !message.trace.is_empty() {
        annotations["trace"] = json!(message.trace);
    }
    if notice.stage == Stage::Flapping {
        annotations["flapping"] = json!("true");
    }
    json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": message.since,
        "endsAt": format_timestamp(ends),
        "generatorURL": message.link,
    })
}

impl Notice {
    fn alert_name(&self) -> &'static str {
        use super::subject::Subject;
        match self.incident.subject {
            Subject::Circuit(_) => "FuseboxCircuitOpen",
            Subject::Instance { .. } => "FuseboxInstanceDown",
            Subject::Silence => "FuseboxInstancesSilent",
            Subject::Collector => "FuseboxCollectorFailing",
            Subject::Influxdb => "FuseboxInfluxdbUnreachable",
        }
    }
}
