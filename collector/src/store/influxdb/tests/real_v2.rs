//! Against a real InfluxDB 2, where one is named: `FUSEBOX_TEST_INFLUXDB2_URL`, `_TOKEN` and `_ORG`; and, set up from
//! scratch, one that was never set up: `FUSEBOX_TEST_INFLUXDB2_EMPTY_URL`.

use super::real::count;
use super::*;
use crate::store::influxdb::names::learn_names;
use crate::store::influxdb::wire::setup::ensure;

fn options() -> InfluxdbOptions {
    let bucket = format!("fusebox-{}", crate::model::UnixNanos::now().get());
    named_server("INFLUXDB2", bucket)
}

#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_INFLUXDB2_URL"]
async fn good_lines_arrive_whatever_stands_beside_them() {
    let options = options();
    let dir = tempfile::tempdir().unwrap();
    let now = crate::model::UnixNanos::now().get();
    let unparsable = "red,c=abcdef calls=1z 7\nred,c=abcdef calls= 8\n";
    let old = "red,c=abcdef calls=1i 1000\nred,c=abcdef calls=1i 1001\n";
    let batches = [
        fresh_lines(0, 10),
        format!("{}{unparsable}{}", fresh_lines(10, 10), fresh_lines(20, 10)),
        format!("{}red,c=abcdef calls=\"text\" {now}\n", fresh_lines(30, 10)),
        format!("{old}{}", fresh_lines(40, 10)),
    ];
    let figures = carry(options.clone(), dir.path(), &batches).await;
    let refused = [
        ("outside_retention", 2),
        ("type_conflict", 1),
        ("unparsable", 2),
    ];
    assert_eq!(figures.points_refused, refused.into());
    assert_eq!(figures.points, 50);
    assert_eq!(count(&Client::new(options).unwrap(), "red").await, 50);
}

#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_INFLUXDB2_URL"]
async fn buckets_are_made_and_their_retention_changed() {
    let options = options();
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new(options.clone()).unwrap();
    for hours in [168, 24, 336] {
        let retention = Duration::from_secs(hours * 3600);
        ensure(&client, retention, dir.path()).await.unwrap();
        ensure(&client, retention, dir.path()).await.unwrap();
        let kept = &bucket(&client).await["retentionRules"][0]["everySeconds"];
        assert_eq!(*kept, hours * 3600);
    }
    delete(&client).await;
    let link = link(options, dir.path());
    let mut delivery =
        crate::store::influxdb::ship::delivery::Delivery::new(Arc::clone(&link), "list");
    delivery.settle(fresh_lines(0, 10).into(), 10).await;
    assert_eq!(count(&client, "red").await, 10, "made again");
    delete(&client).await;
}

async fn delete(client: &Client) {
    let bucket = bucket(client).await;
    let path = format!("/api/v2/buckets/{}", bucket["id"].as_str().unwrap());
    let deleted = client.call(http::Method::DELETE, &path, &[], None).await;
    assert_eq!(deleted.unwrap().0, 204);
}

async fn bucket(client: &Client) -> Value {
    let query = [("name", client.options().bucket.as_str())];
    let call = client.call(http::Method::GET, "/api/v2/buckets", &query, None);
    let mut body: Value = serde_json::from_str(&call.await.unwrap().1).unwrap();
    body["buckets"][0].take()
}

#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_INFLUXDB2_URL"]
async fn a_missing_organisation_is_made_and_a_wrong_token_named() {
    let options = options();
    let dir = tempfile::tempdir().unwrap();
    let other = InfluxdbOptions {
        org: options.bucket.clone(),
        ..options.clone()
    };
    ensure(&Client::new(other).unwrap(), WEEK, dir.path())
        .await
        .unwrap();
    for (token, problem) in [
        (Some("wrong".into()), "does not know the token"),
        (None, "wants a token"),
    ] {
        let options = InfluxdbOptions {
            token,
            ..options.clone()
        };
        let client = Client::new(options).unwrap();
        let error = ensure(&client, WEEK, dir.path()).await.unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_INFLUXDB2_URL"]
async fn names_that_the_server_knows_are_taken_over() {
    let options = options();
    let dir = tempfile::tempdir().unwrap();
    carry(options.clone(), dir.path(), &[names_of(40)]).await;
    let names = Names::default();
    let client = Client::new(options).unwrap();
    learn_names(&client, &names).await.unwrap();
    assert_learned(&names, 40);
}

/// *Scenario*: the token may only write to the bucket. *Guarantees*: writing works, with a warning.
#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_INFLUXDB2_URL"]
async fn a_token_that_may_only_write_writes() {
    let options = options();
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new(options.clone()).unwrap();
    ensure(&client, WEEK, dir.path()).await.unwrap();
    let bucket = bucket(&client).await;
    let resource = json!({ "type": "buckets", "id": bucket["id"], "orgID": bucket["orgID"] });
    let body = json!({
        "orgID": bucket["orgID"],
        "permissions": [{ "action": "write", "resource": resource }],
    });
    let call = client.call(
        http::Method::POST,
        "/api/v2/authorizations",
        &[],
        Some(body),
    );
    let made: Value = serde_json::from_str(&call.await.unwrap().1).unwrap();
    let writes_only = InfluxdbOptions {
        token: made["token"].as_str().map(Into::into),
        ..options
    };
    let figures = carry(writes_only, dir.path(), &[fresh_lines(0, 10)]).await;
    assert_eq!(figures.points, 10);
    assert_eq!(count(&client, "red").await, 10);
    delete(&client).await;
}

#[cfg(feature = "influxdb2")]
#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_INFLUXDB2_EMPTY_URL"]
async fn a_server_that_was_never_set_up_is_set_up() {
    let url = std::env::var("FUSEBOX_TEST_INFLUXDB2_EMPTY_URL").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = InfluxdbOptions::at(url);
    let client = Client::new(options.clone()).unwrap();
    let error = ensure(&client, WEEK, dir.path()).await.unwrap_err();
    assert!(error.to_string().contains("was never set up"), "{error}");
    let onboard = InfluxdbOptions {
        onboard: true,
        ..options
    };
    let figures = carry(onboard.clone(), dir.path(), &[fresh_lines(0, 10)]).await;
    assert_eq!(figures.points, 10);
    let more = [fresh_lines(0, 10), fresh_lines(10, 10)];
    let figures = carry(onboard, dir.path(), &more).await;
    assert_eq!(figures.points, 10, "the kept token lets it in again");
}
