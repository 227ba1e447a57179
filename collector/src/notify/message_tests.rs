//! What is said, and the bodies in which it is said.

use serde_json::json;

use super::super::body;
use super::super::incident::{Incident, Problem};
use super::*;
use crate::model::{CircuitKey, UnixNanos};

const SINCE: UnixNanos = UnixNanos::new(1_760_000_000_000_000_000);

fn notice(service: &str, stage: Stage) -> Notice {
    let key = CircuitKey {
        service: service.to_owned(),
        name: "stock/<7>".to_owned(),
    };
    let problem = Problem {
        since: SINCE,
        reason: "error rate 63 % & more".to_owned(),
        opened_by: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
    };
    let mut incident = Incident::new(Subject::Circuit(key), problem, SINCE);
    incident.ended = (stage == Stage::Ended).then(|| SINCE + std::time::Duration::from_secs(90));
    Notice {
        incident,
        stage,
        is_reminder: false,
    }
}

#[test]
fn a_message_says_what_why_since_when_and_where_to_look() {
    let begun = Message::new(&notice("shop", Stage::Begun), "https://fusebox.example");
    assert_eq!(
        begun.text(),
        "shop → stock/<7> is open\n\nWhy: error rate 63 % & more\nSince: 2025-10-09T08:53:20Z\n\
         Show: https://fusebox.example/circuits/shop/stock%2F%3C7%3E\n\
         The call that opened it: https://fusebox.example/traces/4bf92f3577b34da6a3ce929d0e0e4736\n"
    );
    let ended = Message::new(&notice("shop", Stage::Ended), "");
    assert_eq!(
        (ended.event, ended.title.as_str()),
        ("circuit_closed", "shop → stock/<7> is closed again")
    );
    assert!(ended.text().contains("Lasted: 1.5 min"), "{}", ended.text());
    let mut reminder = notice("shop", Stage::Begun);
    reminder.is_reminder = true;
    assert_eq!(
        Message::new(&reminder, "").title,
        "shop → stock/<7> is still open"
    );
}

/// Scenario: the name of a service tries to forge lines, mails and links.
/// Guarantees: it stays one bounded word in its place.
#[test]
fn a_name_stays_in_its_place() {
    let name = format!("a\r\nBcc: x@y.example\u{202e}{}", "b".repeat(10_000));
    let message = Message::new(&notice(&name, Stage::Begun), "https://f.example");
    assert!(!message.title.contains(['\r', '\n', '\u{202e}']));
    assert!(message.title.chars().count() < 700, "{}", message.title);
    assert!(
        message
            .link
            .starts_with("https://f.example/circuits/a%0D%0ABcc")
    );
}

#[test]
fn slack_gets_its_markup_escaped() {
    let message = Message::new(&notice("a&b", Stage::Begun), "https://f.example");
    let body = body::slack(&message);
    assert_eq!(body["text"], "a&amp;b → stock/&lt;7&gt; is open");
    let lines = body["blocks"][1]["text"]["text"].as_str().unwrap();
    assert!(
        lines.contains("*Why:* error rate 63 % &amp; more\n"),
        "{lines}"
    );
    assert!(
        lines.contains("<https://f.example/circuits/a%26b/stock%2F%3C7%3E|Show>"),
        "{lines}"
    );
}

#[test]
fn teams_gets_a_card() {
    let message = Message::new(&notice("shop", Stage::Ended), "https://f.example");
    let body = body::teams(&message);
    let card = &body["attachments"][0]["content"];
    assert_eq!(card["type"], "AdaptiveCard");
    let runs = &card["body"][0]["inlines"];
    assert_eq!(runs[0]["color"], "Good");
    let runs = &card["body"][1]["items"][0]["inlines"];
    let texts = (&runs[0]["text"], &runs[1]["text"]);
    assert_eq!(texts, (&json!("Why: "), &json!("error rate 63 % & more")));
    assert_eq!(
        card["actions"][0]["url"],
        "https://f.example/circuits/shop/stock%2F%3C7%3E"
    );
}

/// Scenario: a service's name is a link in Markdown.
/// Guarantees: it is only where Teams reads no Markdown: in runs of text, and as a part of a URL.
#[test]
fn a_name_is_no_link_in_teams() {
    let name = "[Confirm](https://evil.example)";
    let one = notice(name, Stage::Begun);
    let several = vec![one.clone(), notice("shop", Stage::Begun)];
    for notices in [vec![one], several] {
        let body = body::teams(&Message::of(&notices, "https://f.example"));
        let mut found = 0;
        let mut values = vec![&body];
        while let Some(value) = values.pop() {
            let is_run = value["type"] == "TextRun";
            let has_name = value["text"]
                .as_str()
                .is_some_and(|text| text.contains(name));
            assert!(is_run || !has_name, "{value}");
            found += usize::from(has_name);
            values.extend(value.as_object().into_iter().flat_map(|it| it.values()));
            values.extend(value.as_array().into_iter().flatten());
        }
        assert_eq!(found, 1, "{body}");
    }
}

/// Scenario: names and reasons of characters that grow when they are escaped.
/// Guarantees: no section of Slack has more characters than it accepts, and what fits is whole.
#[test]
fn sections_of_slack_are_within_its_limit() {
    let mut one = notice(&"&".repeat(256), Stage::Begun);
    one.incident.reason = "&".repeat(10_000);
    let many = vec![one.clone(); 3];
    for notices in [vec![one], many, vec![notice("a&b", Stage::Begun); 2]] {
        let body = body::slack(&Message::of(&notices, "https://f.example"));
        for block in body["blocks"].as_array().unwrap() {
            let text = block["text"]["text"].as_str().unwrap();
            assert!(text.chars().count() <= 3_000, "{}", text.len());
            assert_eq!(block["text"]["verbatim"], true);
            let is_whole = text.split('&').skip(1).all(|rest| rest.starts_with("amp;"));
            assert!(is_whole || text.contains("&lt;"), "{text}");
        }
    }
}

/// Guarantees: an alert keeps its labels from beginning to end, and resolves by itself when no more are
/// posted.
#[test]
fn an_alert_keeps_its_labels() {
    let alert = |stage| {
        let notice = notice("shop", stage);
        let message = Message::new(&notice, "https://f.example");
        body::alerts(&[(&notice, message)], SINCE)[0].clone()
    };
    let (begun, ended) = (alert(Stage::Begun), alert(Stage::Ended));
    assert_eq!(begun["labels"], ended["labels"]);
    assert_eq!(alert(Stage::Flapping)["labels"], ended["labels"]);
    let labels = json!({
        "alertname": "FuseboxCircuitOpen", "severity": "warning", "source": "fusebox",
        "service": "shop", "circuit": "stock/<7>",
    });
    assert_eq!(begun["labels"], labels);
    assert_eq!(begun["endsAt"], "2025-10-09T08:58:20Z");
    assert_eq!(ended["endsAt"], "2025-10-09T08:54:50Z");
    assert_eq!(begun["startsAt"], ended["startsAt"]);
}

#[test]
fn a_webhook_without_a_template_gets_everything() {
    let message = Message::new(&notice("shop", Stage::Begun), "https://f.example");
    let body = body::webhook(&message, None);
    let names: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), super::super::template::NAMES.len());
    assert!(
        super::super::template::NAMES
            .iter()
            .all(|name| names.iter().any(|one| one == name))
    );
    let filled = body::webhook(&message, Some(&json!(["{{event}}"])));
    assert_eq!(filled, json!(["circuit_open"]));
}

/// Scenario: circuits of one service open, one of another one closes, and an instance is still down.
/// Guarantees: one message has how many there are of each kind, a bounded list with links, and what is the same for all.
#[test]
fn several_incidents_are_one_message() {
    let of = |service: &str, count: usize| {
        let one = notice(service, Stage::Begun);
        vec![one; count]
    };
    let same = Message::of(&of("shop", 3), "https://f.example");
    assert_eq!(same.title, "3 circuits open");
    assert_eq!(
        (same.event, same.service.as_str()),
        ("circuit_open", "shop")
    );
    assert_eq!(same.link, "https://f.example/circuits/shop/stock%2F%3C7%3E");
    let mut mixed = of("shop", 29);
    mixed.push(notice("page", Stage::Ended));
    let links = Message::of(&mixed, "https://f.example").link;
    assert_eq!(links, "https://f.example/circuits");
    let mut down = notice("shop", Stage::Begun);
    down.is_reminder = true;
    down.incident.subject = Subject::Instance {
        service: "shop".to_owned(),
        id: "a".to_owned(),
    };
    mixed.push(down);
    let mixed = Message::of(&mixed, "https://f.example");
    let title = "29 circuits open, 1 circuit closed again, 1 instance still down";
    assert_eq!((mixed.event, mixed.title.as_str()), ("several", title));
    assert_eq!((mixed.service.as_str(), mixed.until.as_str()), ("", ""));
    assert_eq!(mixed.link, "https://f.example/notifications");
    assert_eq!((mixed.listed.len(), mixed.unlisted), (20, 11));
    assert!(
        mixed.text().ends_with("- and 11 more\n"),
        "{}",
        mixed.text()
    );
    let card = &body::teams(&mixed)["attachments"][0]["content"];
    let lines = card["body"].as_array().unwrap();
    assert_eq!(lines.len(), 2 + 20 + 1);
    let url = "https://f.example/circuits/shop/stock%2F%3C7%3E";
    assert_eq!(lines[2]["selectAction"]["url"], url);
}

/// Guarantees: with the longest names there are, a message stays within the 28 KB of a card.
#[test]
fn a_message_about_several_is_bounded() {
    let name = "\u{1f600}".repeat(64);
    let all = vec![notice(&name, Stage::Begun); 1_000];
    let message = Message::of(&all, "https://f.example");
    let bytes = body::teams(&message).to_string().len();
    assert!(bytes < 28 << 10, "{bytes}");
    assert_eq!(message.listed.len() + message.unlisted, 1_000);
    assert!(!message.listed.is_empty());
}
