//! The message bodies of the targets: Slack, Microsoft Teams, Alertmanager (API v2), and our own for
//! webhooks.

use serde_json::{Value, json};

use super::incident::{Notice, Stage};
use super::message::Message;
use super::template;
use crate::model::{MINUTE, UnixNanos, format_timestamp};

/// How much longer than the interval of posts an alert lives: four posts may be lost.
const ALERT_LIVES: std::time::Duration = MINUTE.saturating_mul(5);

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
    // Slack's markup has these three; https://api.slack.com/reference/surfaces/formatting#escaping
    let escaped = |text: &str| {
        let text = text.replace('&', "&amp;");
        text.replace('<', "&lt;").replace('>', "&gt;")
    };
    let lines = message.lines();
    let lines = lines
        .iter()
        .map(|(word, text)| format!("*{word}:* {}", escaped(text)));
    let link = |words: &str, url: &str| {
        let url = escaped(url).replace('|', "%7C");
        format!("<{url}|{}>", escaped(words))
    };
    let links = message.links();
    let links = links.iter().map(|(word, url)| link(word, url));
    let lines: Vec<_> = lines.chain(links).collect();
    let section =
        |text: String| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
    let title = escaped(&message.title);
    let head = [section(format!("*{title}*")), section(lines.join("\n"))];
    let listed = message.listed.iter();
    let listed = listed.map(|(title, url)| section(link(title, url)));
    let blocks = head.into_iter().chain(listed);
    let blocks: Vec<_> = blocks.chain(message.rest().map(section)).collect();
    json!({"text": title, "blocks": blocks})
}

/// Returns an adaptive card for the webhooks of Teams' workflows.
pub(super) fn teams(message: &Message) -> Value {
    let lines = message.lines();
    let facts = lines
        .iter()
        .map(|(word, text)| json!({"title": word, "value": text}));
    let links = message.links();
    let actions = links
        .iter()
        .map(|(word, url)| json!({"type": "Action.OpenUrl", "title": word, "url": url}));
    let is_over = !message.until.is_empty();
    let title = json!({
        "type": "TextBlock", "text": message.title, "weight": "Bolder", "size": "Medium", "wrap": true,
        "color": if is_over { "Good" } else { "Attention" },
    });
    let facts = json!({"type": "FactSet", "facts": facts.collect::<Vec<_>>()});
    let line = |text: &str| json!({"type": "TextBlock", "text": text, "wrap": true});
    // Not a link in the text: Teams reads Markdown there, and the names come from outside.
    let listed = message.listed.iter().map(|(title, url)| {
        let open = json!({"type": "Action.OpenUrl", "url": url});
        json!({"type": "Container", "items": [line(title)], "selectAction": open})
    });
    let rest = message.rest().map(|rest| line(&rest));
    let body: Vec<_> = [title, facts]
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
