//! Against a real InfluxDB 1.6.7.

use super::*;
use crate::model::UnixNanos;
use crate::store::influxdb::names::learn_names;
use crate::store::influxdb::testing::Influxd;
use crate::store::influxdb::wire::query::{Cell, Query};
use crate::store::influxdb::wire::setup::ensure;

/// Runs a test with a fresh server in a temporary folder.
async fn with_influxd<F: Future<Output = ()>>(
    settings: &str,
    test: impl FnOnce(Influxd, tempfile::TempDir) -> F,
) {
    let dir = tempfile::tempdir().unwrap();
    let server = Influxd::start_with(dir.path(), settings);
    test(server, dir).await;
}

pub(super) async fn count(client: &Client, measurement: &str) -> i64 {
    let query = Query::new(format!("SELECT count(*) FROM \"{measurement}\""));
    let series = client.query(&query).await.unwrap();
    let row = series.first().map(|series| series.rows[0].clone());
    row.and_then(|row| row.iter().skip(1).filter_map(Cell::as_int).max())
        .unwrap_or(0)
}

#[tokio::test]
async fn good_lines_arrive_whatever_stands_beside_them() {
    with_influxd("", |server, dir| async move {
        let options = server.options("fuse box");
        let unparsable = "red,c=abcdef calls=1z 7\nred,c=abcdef calls= 8\n";
        let conflict = format!("red,c=abcdef calls=\"text\" {}\n", UnixNanos::now().get());
        let old = "red,c=abcdef calls=1i 1000\n";
        let batches = [
            fresh_lines(0, 10),
            format!("{}{unparsable}{}", fresh_lines(10, 10), fresh_lines(20, 10)),
            format!("{}{conflict}", fresh_lines(30, 10)),
            format!("{old}{}", fresh_lines(40, 10)),
        ];
        let figures = carry(options.clone(), dir.path(), &batches).await;
        let refused = [
            ("outside_retention", 1),
            ("type_conflict", 1),
            ("unparsable", 2),
        ];
        assert_eq!(figures.points_refused, refused.into());
        assert_eq!((figures.points, figures.spans), (50, 4));
        assert_eq!(count(&Client::new(options).unwrap(), "red").await, 50);
    })
    .await;
}

#[tokio::test]
async fn bodies_over_its_limit_are_made_smaller() {
    with_influxd("max-body-size = 100000", |server, dir| async move {
        let options = server.options("fusebox");
        let batches = [fresh_lines(50, 5_000), fresh_lines(5_050, 20_000)];
        let figures = carry(options.clone(), dir.path(), &batches).await;
        assert_eq!(figures.points, 25_000);
        assert!(figures.points_refused.is_empty());
        assert_eq!(count(&Client::new(options).unwrap(), "red").await, 25_000);
    })
    .await;
}

#[tokio::test]
async fn a_restart_in_the_middle_loses_nothing() {
    with_influxd("", |mut server, dir| async move {
        let options = server.options("fusebox");
        let batches: Vec<_> = (0..60).map(|n| fresh_lines(n * 500, 500)).collect();
        let mut run = Run::start(options.clone(), dir.path(), &batches);
        run.until_settled(1).await;
        server.stop();
        let again = move || {
            server.restart();
            server
        };
        let _server = tokio::task::spawn_blocking(again).await.unwrap();
        run.until_settled(60).await;
        let figures = run.end().await.0;
        assert_eq!(figures.points, 30_000);
        assert!(figures.retries > 0, "it was away");
        assert_eq!(count(&Client::new(options).unwrap(), "red").await, 30_000);
    })
    .await;
}

/// *Scenario*: the database is dropped while a lane writes. *Guarantees*: it is created again, with the
/// retention, and unsettled data arrives.
#[tokio::test]
async fn a_database_that_is_dropped_is_made_again() {
    with_influxd("", |server, dir| async move {
        let options = server.options("fusebox");
        let client = Client::new(options.clone()).unwrap();
        let first = [fresh_lines(0, 10)];
        carry(options.clone(), dir.path(), &first).await;
        drop_database(&client).await;
        let both = [first[0].clone(), fresh_lines(10, 10)];
        let mut run = Run::start(options, dir.path(), &both);
        run.until_settled(2).await;
        drop_database(&client).await;
        run.end().await;
        assert_eq!(retention(&client).await, None);
        let link = link(server.options("fusebox"), dir.path());
        let mut delivery =
            crate::store::influxdb::ship::delivery::Delivery::new(Arc::clone(&link), "list");
        delivery.settle(fresh_lines(20, 10).into(), 10).await;
        assert_eq!(count(&client, "red").await, 10);
        assert_eq!(retention(&client).await.as_deref(), Some("168h0m0s"));
    })
    .await;
}

#[tokio::test]
async fn the_retention_follows_the_setting() {
    with_influxd("", |server, dir| async move {
        let client = Client::new(server.options("odd \"name\"")).unwrap();
        for (hours, shown) in [(168, "168h0m0s"), (24, "24h0m0s"), (336, "336h0m0s")] {
            let retention_is = Duration::from_secs(hours * 3600);
            ensure(&client, retention_is, dir.path()).await.unwrap();
            ensure(&client, retention_is, dir.path()).await.unwrap();
            assert_eq!(retention(&client).await.as_deref(), Some(shown));
        }
    })
    .await;
}

#[tokio::test]
async fn users_and_passwords_work_and_a_wrong_one_is_named() {
    with_influxd("auth-enabled = true", |server, dir| async move {
        let with = |token: &str| InfluxdbOptions {
            token: Some(token.into()),
            ..server.options("fusebox")
        };
        let admin = Client::new(server.options("fusebox")).unwrap();
        let create = Query::new("CREATE USER root WITH PASSWORD 'se:cret' WITH ALL PRIVILEGES");
        admin.query(&create).await.unwrap();
        let figures = carry(with("root:se:cret"), dir.path(), &[fresh_lines(0, 5)]).await;
        assert_eq!(figures.points, 5);
        for (options, problem) in [
            (with("root:wrong"), "does not know the token"),
            (server.options("fusebox"), "wants a token"),
        ] {
            let client = Client::new(options).unwrap();
            let error = ensure(&client, WEEK, dir.path()).await.unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
        }
    })
    .await;
}

/// Guarantees: the file is read again at every attempt, also before anything was written.
#[tokio::test]
async fn a_corrected_token_file_is_taken_up_while_setting_up() {
    with_influxd("auth-enabled = true", |server, dir| async move {
        let admin = Client::new(server.options("fusebox")).unwrap();
        let create = Query::new("CREATE USER root WITH PASSWORD 'secret' WITH ALL PRIVILEGES");
        admin.query(&create).await.unwrap();
        let file = dir.path().join("given");
        std::fs::write(&file, "root:wrong").unwrap();
        let options = InfluxdbOptions {
            token_file: Some(file.clone()),
            ..server.options("fusebox")
        };
        let client = Client::new(options).unwrap();
        ensure(&client, WEEK, dir.path()).await.unwrap_err();
        std::fs::write(&file, "root:secret\n").unwrap();
        ensure(&client, WEEK, dir.path()).await.unwrap();
        std::fs::remove_file(&file).unwrap();
        ensure(&client, WEEK, dir.path()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn names_that_the_server_knows_are_taken_over() {
    with_influxd("", |server, dir| async move {
        let options = server.options("fusebox");
        carry(options.clone(), dir.path(), &[names_of(40)]).await;
        let names = Names::default();
        let client = Client::new(options).unwrap();
        learn_names(&client, &names).await.unwrap();
        assert_learned(&names, 40);
    })
    .await;
}

/// *Scenario*: the table of services is full when the collector restarts; the server also knows another
/// collector's services.
/// *Guarantees*: admitted services keep their tags, and those of the other collector do not take their
/// places.
#[tokio::test]
async fn admitted_names_outlive_a_restart_whatever_the_server_knows() {
    use crate::store::influxdb::names::{OTHER, SERVICES_MAX};
    with_influxd("", |server, dir| async move {
        let options = server.options("fusebox");
        let open =
            || Names::open(dir.path(), WEEK, UnixNanos::new(UnixNanos::now().get())).unwrap();
        let own: Vec<_> = (0..SERVICES_MAX).map(|n| format!("shop-{n}")).collect();
        let names = open();
        assert!(own.iter().all(|name| names.service(name) == name));
        names.save(UnixNanos::new(UnixNanos::now().get())).unwrap();
        let others = (0..100).map(|n| format!("another-{n}"));
        let all = own
            .iter()
            .cloned()
            .chain(others)
            .zip(UnixNanos::now().get()..);
        let line = |(name, at)| format!("red,c=a,op=GET,svc={name} calls=1i {at}\n");
        carry(options.clone(), dir.path(), &[all.map(line).collect()]).await;
        let names = open();
        learn_names(&Client::new(options).unwrap(), &names)
            .await
            .unwrap();
        assert!(own.iter().all(|name| names.service(name) == name));
        assert_eq!(names.service("another-7"), OTHER);
    })
    .await;
}

pub(super) async fn retention(client: &Client) -> Option<String> {
    let database = client.options().bucket.replace('"', "\\\"");
    let show = Query::new(format!("SHOW RETENTION POLICIES ON \"{database}\""));
    let series = client.query(&show).await.ok()?;
    Some(series.first()?.rows[0][1].as_text().unwrap().to_owned())
}

pub(super) async fn drop_database(client: &Client) {
    let drop = format!("DROP DATABASE \"{}\"", client.options().bucket);
    client.query(&Query::new(drop)).await.unwrap();
}

/// *Scenario*: the server's limit is far below a batch, so it may hang up while the body is being sent.
/// *Guarantees*: the lines arrive in smaller requests.
#[tokio::test]
async fn a_batch_far_over_its_limit_arrives() {
    with_influxd("max-body-size = 80000", |server, dir| async move {
        let options = server.options("fusebox");
        let text = "x".repeat(800);
        let line = |n: u64| fresh_lines(n, 1).replace("calls", &format!("h=\"{text}\",calls"));
        let batches = [(0..5_000).map(line).collect()];
        let figures = carry(options.clone(), dir.path(), &batches).await;
        assert_eq!(figures.points, 5_000);
        assert_eq!(count(&Client::new(options).unwrap(), "red").await, 5_000);
    })
    .await;
}

/// *Scenario*: the collector crashes again and again while it writes. *Guarantees*: every point is stored
/// once.
#[test]
fn a_crash_loses_nothing_and_writes_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let server = Influxd::start(dir.path());
    let options = server.options("fusebox");
    let batches: Vec<_> = (0..400).map(|n| fresh_lines(n * 50, 50)).collect();
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    for settled in [1, 2, 3] {
        let dies = runtime();
        dies.block_on(async {
            let mut run = Run::start(options.clone(), dir.path(), &batches);
            run.until_settled(settled).await;
            std::mem::forget(run.stop);
        });
        dies.shutdown_background();
    }
    runtime().block_on(async {
        carry(options.clone(), dir.path(), &batches).await;
        let client = Client::new(options).unwrap();
        assert_eq!(count(&client, "red").await, 20_000);
    });
}

#[tokio::test]
async fn a_server_that_starts_later_is_waited_for() {
    with_influxd("", |mut server, dir| async move {
        server.stop();
        let mut run = Run::start(server.options("fusebox"), dir.path(), &[fresh_lines(0, 10)]);
        while run.standing().reachable.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let again = move || {
            server.restart();
            server
        };
        let _server = tokio::task::spawn_blocking(again).await.unwrap();
        run.until_settled(1).await;
        assert_eq!(run.figures().points, 10);
    })
    .await;
}
