//! What the file of targets may say.

use super::*;
use crate::model::CircuitKey;

pub(in crate::notify) fn read(text: &str) -> Result<Settings, String> {
    parse(Path::new("notify.json"), text).map_err(|error| error.to_string())
}

fn circuit(service: &str, name: &str) -> Subject {
    Subject::Circuit(CircuitKey {
        service: service.to_owned(),
        name: name.to_owned(),
    })
}

/// Guarantees: the example in the documentation is valid.
#[test]
fn the_documented_example_is_valid() {
    let guide = include_str!("../../NOTIFY.md");
    let example = guide.split("```json\n").nth(1).unwrap();
    let settings = read(example.split("```").next().unwrap()).unwrap();
    let kinds = settings
        .targets
        .iter()
        .map(|target| target.channel.as_str());
    let kinds: Vec<_> = kinds.collect();
    assert_eq!(kinds, ["slack", "teams", "mail", "alertmanager", "webhook"]);
    let printed = format!("{settings:?}");
    for secret in ["T000/B000", "correct horse", "webhook-secret"] {
        assert!(example.contains(secret), "{secret}");
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn a_target_is_chosen_by_service_circuit_and_topic() {
    let file = r#"{"targets":[{"name":"a","slack":{"url":"https://a.example/x"},"services":["shop-*","cart"],
        "circuits":["*stock"],"topics":["circuit","instance"]}]}"#;
    let settings = read(file).unwrap();
    let wants = |subject: &Subject| settings.targets[0].wants(subject);
    assert!(wants(&circuit("shop-7", "stock")));
    assert!(wants(&circuit("cart", "old.stock")));
    assert!(!wants(&circuit("shop", "stock")));
    assert!(!wants(&circuit("cart", "stock-2")));
    let instance = Subject::Instance {
        service: "cart".to_owned(),
        id: "a".to_owned(),
    };
    assert!(wants(&instance));
    assert!(!wants(&Subject::Influxdb));
}

#[test]
fn what_cannot_be_done_is_named_without_secrets() {
    let one = |target: &str| format!(r#"{{"targets":[{{"name":"a",{target}}}]}}"#);
    let mail = r#""from":"a@b.example","to":["c@d.example"]"#;
    let cases = [
        ("{".to_owned(), "line 1, column 1: this is no JSON"),
        (
            r#"{"targets":[],"x":"geheim"}"#.to_owned(),
            "a key is unknown",
        ),
        (one(r#""topics":["circuit"]"#), "exactly one of"),
        (
            one(r#""slack":{"url":"https://a/geheim"},"teams":{"url":"https://a/geheim"}"#),
            "exactly one of",
        ),
        (one(r#""slack":{"url":"ftp://a/geheim"}"#), "http://"),
        (
            one(r#""slack":{"url":"https://u:geheim@a/"}"#),
            "use a header",
        ),
        (
            one(r#""webhook":{"url":"https://a/","headers":{"a":"geheim\n"}}"#),
            "is no header",
        ),
        (
            one(r#""webhook":{"url":"https://a/","template":{"a":"{{reson}}"}}"#),
            "{{reson}}",
        ),
        (
            one(r#""slack":{"url":"https://a/","template":{}}"#),
            "only a webhook",
        ),
        (
            one(r#""slack":{"url":"https://a/"},"remind":"1s""#),
            "remind",
        ),
        (
            one(&format!(r#""mail":{{"server":"a",{mail}}}"#)),
            "HOST:PORT",
        ),
        (
            one(&format!(
                r#""mail":{{"server":"a:25","tls":"none","user":"u","password":"geheim",{mail}}}"#
            )),
            "this machine alone",
        ),
        (
            one(r#""mail":{"server":"a:25","from":"no address","to":["c@d.example"]}"#),
            "is no address",
        ),
    ];
    for (text, expected) in cases {
        let problem = read(&text).unwrap_err();
        assert!(problem.contains(expected), "{text}: {problem}");
        assert!(!problem.contains("geheim"), "{problem}");
    }
    let twice = r#"{"targets":[{"name":"a","slack":{"url":"https://a/"}},{"name":"a","slack":{"url":"https://a/"}}]}"#;
    assert!(read(twice).unwrap_err().contains("target 2"));
}

#[test]
fn the_file_is_read_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.json");
    let mut source = Source::new(path.clone());
    assert!(source.changed().is_err());
    std::fs::write(&path, r#"{"targets":[]}"#).unwrap();
    assert!(source.changed().unwrap().is_some());
    assert!(source.changed().unwrap().is_none());
    std::fs::write(&path, "{").unwrap();
    assert!(source.changed().is_err());
}
