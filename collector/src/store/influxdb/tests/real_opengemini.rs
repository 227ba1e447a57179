//! Against a real openGemini, where one is named: `FUSEBOX_TEST_OPENGEMINI_URL`.

use super::real::{count, drop_database, retention};
use super::*;
use crate::store::influxdb::Generation;
use crate::store::influxdb::names::learn_names;
use crate::store::influxdb::ship::delivery::Delivery;
use crate::store::influxdb::wire::setup::ensure;

fn options() -> InfluxdbOptions {
    let database = format!("fusebox {}", crate::model::UnixNanos::now().get());
    named_server("OPENGEMINI", database)
}

/// Waits until points can be read, a second or so after they were accepted.
async fn until_counted(client: &Client, points: i64) {
    for _ in 0..3_000 {
        if count(client, "red").await == points {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(count(client, "red").await, points);
}

/// It silently drops lines that it cannot parse (204), so none of those is counted; we never send such lines.
#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_OPENGEMINI_URL"]
async fn good_lines_arrive_whatever_stands_beside_them() {
    let options = options();
    let dir = tempfile::tempdir().unwrap();
    let now = crate::model::UnixNanos::now().get();
    let old = "red,c=abcdef calls=1i 1000\nred,c=abcdef calls=1i 1001\n";
    let no_field = format!("red,c=abcdef time=1i {now}\n");
    let batches = [
        fresh_lines(0, 10),
        format!(
            "{}red,c=abcdef calls=1z 7\n{}",
            fresh_lines(10, 10),
            fresh_lines(20, 10)
        ),
        format!("{}red,c=abcdef calls=\"text\" {now}\n", fresh_lines(30, 10)),
        format!("{old}{}", fresh_lines(40, 10)),
        format!("{no_field}{}", fresh_lines(50, 10)),
    ];
    let figures = carry(options.clone(), dir.path(), &batches).await;
    let refused = [
        ("outside_retention", 2),
        ("type_conflict", 1),
        ("unparsable", 1),
    ];
    assert_eq!(figures.points_refused, refused.into());
    until_counted(&Client::new(options).unwrap(), 60).await;
}

#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_OPENGEMINI_URL"]
async fn databases_are_made_changed_and_made_again() {
    let options = options();
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new(options.clone()).unwrap();
    assert_eq!(client.generation().await.unwrap(), Generation::OpenGemini);
    assert!(client.server().unwrap().version.starts_with('v'));
    for (hours, shown) in [(168, "168h0m0s"), (24, "24h0m0s"), (336, "336h0m0s")] {
        let kept = Duration::from_secs(hours * 3600);
        ensure(&client, kept, dir.path()).await.unwrap();
        ensure(&client, kept, dir.path()).await.unwrap();
        assert_eq!(retention(&client).await.as_deref(), Some(shown));
    }
    drop_database(&client).await;
    let link = link(options, dir.path());
    let mut delivery = Delivery::new(Arc::clone(&link), "list");
    delivery.settle(fresh_lines(0, 10).into(), 10).await;
    until_counted(&client, 10).await;
    drop_database(&client).await;
}

#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_OPENGEMINI_URL"]
async fn names_that_the_server_knows_are_taken_over() {
    let options = options();
    let dir = tempfile::tempdir().unwrap();
    carry(options.clone(), dir.path(), &[names_of(40)]).await;
    let client = Client::new(options).unwrap();
    until_counted(&client, 40).await;
    let names = Names::default();
    learn_names(&client, &names).await.unwrap();
    assert_learned(&names, 40);
    drop_database(&client).await;
}
