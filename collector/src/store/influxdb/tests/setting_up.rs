//! What is missing on a server is made or named: scripted answers, worded as a 2.9.1 words them.

use super::fake::{Fake, Reply, Sent};
use super::*;
use crate::store::influxdb::folder;
use crate::store::influxdb::wire::setup::ensure;

async fn said(options: InfluxdbOptions) -> String {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new(options).unwrap();
    let ensured = ensure(&client, WEEK, dir.path()).await;
    ensured.map_or_else(|error| error.to_string(), |()| "ready".to_owned())
}

fn without_token(fake: &Fake) -> InfluxdbOptions {
    InfluxdbOptions {
        token: None,
        ..fake.options()
    }
}

async fn v2(script: impl Fn(&Sent) -> Option<Reply> + Send + Sync + 'static) -> Fake {
    Fake::start("v2.9.1", script).await
}

fn json_reply(status: u16, body: &str) -> Option<Reply> {
    Some((status, "", body.to_owned()))
}

#[tokio::test]
async fn a_bucket_with_another_retention_is_changed() {
    let fake = v2(|sent| match (sent.method.as_str(), sent.path.as_str()) {
        ("GET", "/api/v2/buckets") => json_reply(
            200,
            r#"{"buckets":[{"id":"b1","name":"fusebox","retentionRules":[]}]}"#,
        ),
        _ => None,
    })
    .await;
    assert_eq!(said(fake.options()).await, "ready");
    let patched = fake.sent("/api/v2/buckets/b1");
    let body: Value = serde_json::from_str(&patched[0].body).unwrap();
    assert_eq!(patched[0].method, "PATCH");
    assert_eq!(body["retentionRules"][0]["everySeconds"], 604_800);
    assert_eq!(
        body["retentionRules"][0]["shardGroupDurationSeconds"],
        86_400
    );
}

#[tokio::test]
async fn a_retention_that_may_not_be_changed_stops_nothing() {
    let fake = v2(|sent| match (sent.method.as_str(), sent.path.as_str()) {
        ("GET", "/api/v2/buckets") => {
            json_reply(200, r#"{"buckets":[{"id":"b1","name":"fusebox"}]}"#)
        }
        ("PATCH", _) => json_reply(
            401,
            r#"{"message":"write:orgs/1/buckets/b1 is unauthorized"}"#,
        ),
        _ => None,
    })
    .await;
    assert_eq!(said(fake.options()).await, "ready");
}

#[tokio::test]
async fn a_bucket_that_the_token_may_only_write_is_taken_as_it_is() {
    let fake = v2(|sent| {
        (sent.path == "/api/v2/buckets").then(|| (200, "", r#"{"buckets":[]}"#.to_owned()))
    })
    .await;
    assert_eq!(said(fake.options()).await, "ready");
}

#[tokio::test]
async fn a_wrong_token_is_distinguished_from_a_missing_one() {
    let fake = v2(|sent| match sent.path.as_str() {
        "/api/v2/setup" => json_reply(200, r#"{"allowed":false}"#),
        _ if sent.path != "/ping" => json_reply(401, r#"{"message":"unauthorized access"}"#),
        _ => None,
    })
    .await;
    let wrong = said(fake.options()).await;
    assert!(wrong.contains("does not know the token"), "{wrong}");
    let none = said(without_token(&fake)).await;
    assert!(none.contains("wants a token"), "{none}");
}

#[tokio::test]
async fn a_token_file_that_is_not_there_is_named() {
    let fake = v2(|_| None).await;
    let options = InfluxdbOptions {
        token_file: Some("nowhere/token".into()),
        ..without_token(&fake)
    };
    let problem = said(options).await;
    assert!(problem.contains("nowhere/token"), "{problem}");
}

#[tokio::test]
async fn what_is_no_influxdb_is_not_written_to() {
    for (status, problem) in [(502, "no InfluxDB"), (403, "missing or wrong")] {
        let fake = Fake::start("", move |_| json_reply(status, "<html>")).await;
        let shows = said(fake.options()).await;
        assert!(shows.contains(problem), "{shows}");
    }
}

#[tokio::test]
async fn a_database_is_made_and_its_retention_changed() {
    let fake = Fake::start("1.6.7", |sent| {
        let missing = r#"{"results":[{"error":"database not found: fusebox"}]}"#;
        match sent.body.contains("SHOW+RETENTION") {
            true => json_reply(200, missing),
            false => None,
        }
    })
    .await;
    let options = InfluxdbOptions {
        bucket: r#"a"b\"#.to_owned(),
        ..fake.options()
    };
    assert_eq!(said(options).await, "ready");
    let asked = fake.sent("/query");
    let made = &asked.last().unwrap().body;
    let wanted = "CREATE+DATABASE+%22a%5C%22b%5C%5C%22+WITH+DURATION+604800s+SHARD+DURATION+86400s";
    assert!(made.contains(wanted), "{made}");
}

#[tokio::test]
async fn a_user_who_may_only_write_needs_no_look() {
    let fake = Fake::start("1.8.10", |sent| {
        let no = r#"{"error":"error authorizing query: w not authorized to execute statement 'SHOW RETENTION POLICIES ON fusebox', requires READ on fusebox"}"#;
        (sent.path == "/query").then(|| (403, "", no.to_owned()))
    })
    .await;
    assert_eq!(said(fake.options()).await, "ready");
}

#[tokio::test]
async fn a_first_generation_server_with_users_wants_one() {
    let fake = Fake::start("1.8.10", |sent| {
        let no = r#"{"error":"unable to parse authentication credentials"}"#;
        (sent.path == "/query").then(|| (401, "", no.to_owned()))
    })
    .await;
    let none = said(without_token(&fake)).await;
    assert!(none.contains("wants a token"), "{none}");
}

/// The crate would drop a proxy's path prefix, so this is one of the cases in which the bucket must exist.
#[tokio::test]
async fn behind_a_path_prefix_a_bucket_is_found_and_none_is_made() {
    let fake = v2(|sent| match sent.path.as_str() {
        "/influx/api/v2/buckets" if sent.query.contains("name=fusebox") => json_reply(
            200,
            r#"{"buckets":[{"id":"b1","name":"fusebox","retentionRules":[{"everySeconds":604800}]}]}"#,
        ),
        "/influx/api/v2/buckets" => json_reply(404, r#"{"message":"bucket \"x\" not found"}"#),
        _ => None,
    })
    .await;
    let behind = InfluxdbOptions {
        url: format!("{}/influx/", fake.url).parse().unwrap(),
        ..fake.options()
    };
    assert_eq!(said(behind.clone()).await, "ready");
    let other = InfluxdbOptions {
        bucket: "x".to_owned(),
        ..behind
    };
    let problem = said(other).await;
    assert!(problem.contains("influx bucket create"), "{problem}");
}

#[cfg(feature = "influxdb2")]
mod with_the_crate {
    use super::*;

    const NO_BUCKET: &str = r#"{"code":"not found","message":"bucket \"fusebox\" not found"}"#;

    #[tokio::test]
    async fn a_missing_bucket_is_made_with_its_retention() {
        let fake = v2(|sent| match (sent.method.as_str(), sent.path.as_str()) {
            ("GET", "/api/v2/buckets") => json_reply(404, NO_BUCKET),
            ("POST", "/api/v2/buckets") => json_reply(201, "{}"),
            (_, "/api/v2/orgs") => json_reply(200, r#"{"orgs":[{"id":"o1","name":"fusebox"}]}"#),
            _ => None,
        })
        .await;
        assert_eq!(said(fake.options()).await, "ready");
        let made = fake.sent("/api/v2/buckets").pop().unwrap();
        let body: Value = serde_json::from_str(&made.body).unwrap();
        assert_eq!(body["orgID"], "o1");
        assert_eq!(body["retentionRules"][0]["everySeconds"], 604_800);
        assert_eq!(made.authorization, "Token t0");
    }

    #[tokio::test]
    async fn a_bucket_that_may_not_be_made_is_named_with_the_command() {
        let fake = v2(|sent| match (sent.method.as_str(), sent.path.as_str()) {
            ("GET", "/api/v2/buckets") => json_reply(404, NO_BUCKET),
            ("POST", _) => json_reply(
                401,
                r#"{"message":"write:orgs/o1/buckets is unauthorized"}"#,
            ),
            (_, "/api/v2/orgs") => json_reply(200, r#"{"orgs":[{"id":"o1","name":"fusebox"}]}"#),
            _ => None,
        })
        .await;
        let problem = said(fake.options()).await;
        assert!(
            problem.contains("influx bucket create -o fusebox -n fusebox -r 604800s"),
            "{problem}"
        );
        assert!(problem.contains("is unauthorized"), "{problem}");
    }

    #[tokio::test]
    async fn a_missing_organisation_is_named() {
        let missing = r#"{"code":"not found","message":"organization name \"fusebox\" not found"}"#;
        let fake = v2(move |sent| match sent.method.as_str() {
            "GET" if sent.path == "/api/v2/buckets" => json_reply(404, missing),
            "POST" => json_reply(401, r#"{"message":"write:orgs is unauthorized"}"#),
            _ => None,
        })
        .await;
        let problem = said(fake.options()).await;
        assert!(
            problem.contains("influx org create -n fusebox"),
            "{problem}"
        );
    }

    #[tokio::test]
    async fn a_server_without_users_is_set_up_only_when_asked() {
        let onboarded =
            r#"{"auth":{"token":"fresh","orgID":"o1","status":"active","permissions":[]}}"#;
        let fake = v2(
            move |sent| match (sent.method.as_str(), sent.path.as_str()) {
                ("GET", "/api/v2/setup") => json_reply(200, r#"{"allowed":true}"#),
                ("POST", "/api/v2/setup") => json_reply(201, onboarded),
                (_, "/api/v2/buckets") if sent.authorization != "Token fresh" => {
                    json_reply(401, "{}")
                }
                _ => None,
            },
        )
        .await;
        for options in [without_token(&fake), fake.options()] {
            let problem = said(options).await;
            assert!(problem.contains("was never set up"), "{problem}");
        }
        let onboard = InfluxdbOptions {
            onboard: true,
            ..without_token(&fake)
        };
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(onboard.clone()).unwrap();
        ensure(&client, WEEK, dir.path()).await.unwrap();
        assert_eq!(client.token(), Some("fresh".into()));
        let sent = fake.sent("/api/v2/setup").pop().unwrap();
        let body: Value = serde_json::from_str(&sent.body).unwrap();
        assert_eq!(body["retentionPeriodSeconds"], 604_800);
        assert!(body.get("retentionPeriodHrs").is_none(), "hours break it");

        let later = Client::new(onboard).unwrap();
        ensure(&later, WEEK, dir.path()).await.unwrap();
        assert_eq!(later.token(), Some("fresh".into()), "kept in a file");
        let file = folder(dir.path()).join("token");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(file).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }
}
