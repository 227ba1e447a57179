//! Servers that are away, collectors that stop: nothing is lost, nothing waits for ever.

use super::fake::Fake;
use super::*;
use crate::model::UnixNanos;
use crate::store::durable;
use crate::store::influxdb::folder;

#[tokio::test(start_paused = true)]
async fn it_starts_where_it_ended_and_saves_late_never_early() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start("1.6.7", |_| None).await;
    let batches: Vec<_> = (0..20).map(|n| good_lines(n * 10 + 1, 10)).collect();
    let mut run = Run::start(fake.options(), dir.path(), &batches[..12]);
    run.until_settled(1).await;
    let (figures, saved) = run.end().await;
    let reached = saved.unwrap().at;
    assert_eq!(figures.points, reached * 10, "saved is what was answered");
    carry(fake.options(), dir.path(), &batches).await;
    let written: String = fake.writes().concat();
    assert_eq!(written, batches.concat(), "each once, in order");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_waited_for_and_does_not_keep_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run::start(
        InfluxdbOptions::at("http://127.0.0.1:1"),
        dir.path(),
        &[good_lines(1, 1)],
    );
    tokio::time::sleep(Duration::from_secs(7_200)).await;
    let standing = run.standing();
    assert_eq!(standing.reachable, Some(false));
    let problem = standing.last_error.unwrap();
    assert!(problem.contains("no connection"), "{problem}");
    let (figures, saved) = run.end().await;
    assert_eq!((figures.points, saved), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_request_in_flight_may_end_when_the_collector_stops() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start("1.6.7", |_| None).await;
    let batches: Vec<_> = (0..1_000).map(|n| good_lines(n + 1, 1)).collect();
    let mut run = Run::start(fake.options(), dir.path(), &batches);
    run.until_settled(1).await;
    let (figures, saved) = run.end().await;
    assert_eq!(saved.unwrap().at, figures.points);
}

/// *Scenario*: the server accepts requests and never answers. *Guarantees*: the lane ends after the grace
/// period.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_does_not_keep_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start("1.6.7", |sent| {
        (sent.is_write()).then(|| (503, "600", String::new()))
    })
    .await;
    let run = Run::start(fake.options(), dir.path(), &[good_lines(1, 1)]);
    while fake.writes().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begin = tokio::time::Instant::now();
    let (_, saved) = run.end().await;
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert_eq!(saved, None);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_read_for_a_while_is_read_again() {
    struct Stumbling(ListLane, u32);
    impl Lane for Stumbling {
        const NAME: &'static str = "list";
        type Position = At;
        fn next(&mut self, now: UnixNanos) -> Result<Option<Batch>, StoreError> {
            self.1 += 1;
            match self.1 {
                1 => panic!("a bug"),
                2 => Err(StoreError::Damaged {
                    path: "x".to_owned(),
                    what: "y".to_owned(),
                }),
                _ => self.0.next(now),
            }
        }
        fn position(&self) -> At {
            self.0.position()
        }
        fn acknowledged(&mut self, position: At) {
            self.0.acknowledged(position);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start("1.6.7", |_| None).await;
    let lane = ListLane::open(dir.path(), &[good_lines(1, 1)]);
    let mut settled = lane.settled.subscribe();
    let link = link(fake.options(), dir.path());
    let (_stop, stopped) = watch::channel(false);
    let _writer = Writer::start(link, Stumbling(lane, 0), stopped);
    let wait = settled.wait_for(|at| *at == 1);
    tokio::time::timeout(DEADLINE, wait).await.unwrap().unwrap();
    assert_eq!(fake.writes(), [good_lines(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_token_file_that_comes_later_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let fake = Fake::start("v2.9.1", |_| None).await;
    let options = InfluxdbOptions {
        token: None,
        token_file: Some(file.clone()),
        ..fake.options()
    };
    let mut run = Run::start(options, dir.path(), &[good_lines(1, 1)]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let problem = run.standing().last_error.unwrap();
    assert!(problem.contains("secret"), "{problem}");
    std::fs::write(file, "t1").unwrap();
    run.until_settled(1).await;
    assert_eq!(fake.sent("/write")[0].authorization, "Token t1");
}

/// *Scenario*: a name is admitted, and for a while its table cannot be saved.
/// *Guarantees*: the position is not saved before the names it depends on.
#[tokio::test(start_paused = true)]
async fn names_are_saved_before_a_position() {
    let dir = tempfile::tempdir().unwrap();
    let file = folder(dir.path()).join("names.json");
    let fake = Fake::start("1.6.7", |_| None).await;
    let client = Arc::new(Client::new(fake.options()).unwrap());
    let names = Arc::new(
        Names::open(
            dir.path(),
            WEEK,
            UnixNanos::new(crate::model::UnixNanos::now().get()),
        )
        .unwrap(),
    );
    let data_dir = dir.path().to_owned();
    let link = Link::new(client, Arc::clone(&names), data_dir, WEEK);
    let lane = ListLane::open(dir.path(), &[good_lines(1, 1)]);
    let mut settled = lane.settled.subscribe();
    let (_stop, stopped) = watch::channel(false);
    assert_eq!(names.service("shop"), "shop");
    std::fs::create_dir_all(file.join("in the way")).unwrap();
    let _writer = Writer::start(link, lane, stopped);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.writes().len(), 1);
    assert_eq!(saved_position::<ListLane>(dir.path()).unwrap(), None);
    std::fs::remove_dir_all(&file).unwrap();
    let wait = settled.wait_for(|at| *at == 1);
    tokio::time::timeout(DEADLINE, wait).await.unwrap().unwrap();
    let saved = std::fs::read_to_string(file).unwrap();
    assert!(saved.contains("\"shop\""), "{saved}");
}

/// *Scenario*: two lanes start at once. *Guarantees*: the server is set up once, and both write.
#[tokio::test(start_paused = true)]
async fn lanes_make_the_server_ready_once() {
    let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let fake = Fake::start("v2.9.1", |_| None).await;
    let link = link(fake.options(), one.path());
    let (_stop, stopped) = watch::channel(false);
    let lanes = [&one, &two].map(|dir| ListLane::open(dir.path(), &[good_lines(1, 1)]));
    let mut settled = lanes.each_ref().map(|lane| lane.settled.subscribe());
    let _writers = lanes.map(|lane| Writer::start(Arc::clone(&link), lane, stopped.clone()));
    for settled in &mut settled {
        let wait = settled.wait_for(|at| *at == 1);
        tokio::time::timeout(DEADLINE, wait).await.unwrap().unwrap();
    }
    assert_eq!(fake.sent("/api/v2/buckets").len(), 1);
    assert_eq!(fake.writes().len(), 2);
}

#[cfg(feature = "influxdb2")]
mod with_the_crate {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers like a 2.9.1 that may be onboarded, with another token each time.
    async fn empty_server() -> (Fake, Arc<AtomicUsize>) {
        let emptied = Arc::new(AtomicUsize::new(0));
        let round = Arc::clone(&emptied);
        let set_up = AtomicUsize::new(0);
        let fake = Fake::start("v2.9.1", move |sent| {
            let round = round.load(Ordering::SeqCst);
            let open = set_up.load(Ordering::SeqCst) == round;
            let answer = |status, body: String| Some((status, "", body));
            match (sent.method.as_str(), sent.path.as_str()) {
                ("GET", "/api/v2/setup") => answer(200, format!(r#"{{"allowed":{open}}}"#)),
                ("POST", "/api/v2/setup") => {
                    set_up.store(round + 1, Ordering::SeqCst);
                    let auth = format!(
                        r#"{{"auth":{{"token":"t{round}","orgID":"o","status":"active","permissions":[]}}}}"#
                    );
                    answer(201, auth)
                }
                (_, "/ping") => None,
                _ if open || sent.authorization != format!("Token t{round}") => {
                    answer(401, r#"{"message":"unauthorized access"}"#.to_owned())
                }
                _ => None,
            }
        })
        .await;
        (fake, emptied)
    }

    fn onboarding(fake: &Fake) -> InfluxdbOptions {
        InfluxdbOptions {
            token: None,
            onboard: true,
            ..fake.options()
        }
    }

    /// *Scenario*: a server that the collector had set up loses its data.
    /// *Guarantees*: it is set up again, and no unsettled data is lost.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_emptied_is_set_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let (fake, emptied) = empty_server().await;
        carry(onboarding(&fake), dir.path(), &[good_lines(1, 1)]).await;
        emptied.fetch_add(1, Ordering::SeqCst);
        let both = [good_lines(1, 1), good_lines(2, 1)];
        let figures = carry(onboarding(&fake), dir.path(), &both).await;
        assert_eq!(figures.points, 1);
        assert_eq!(
            fake.sent("/write").last().unwrap().authorization,
            "Token t1"
        );
    }

    /// *Scenario*: the collector is stopped while it sets up a server. *Guarantees*: the only token is kept.
    #[tokio::test(start_paused = true)]
    async fn a_stop_in_the_middle_of_a_set_up_keeps_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let (fake, _) = empty_server().await;
        let run = Run::start(onboarding(&fake), dir.path(), &[]);
        while fake.sent("/api/v2/setup").is_empty() {
            tokio::task::yield_now().await;
        }
        run.end().await;
        let token = std::fs::read_to_string(dir.path().join("influxdb/token")).unwrap();
        assert_eq!(token, "t0");
    }
}

/// *Guarantees*: after damage to a saved position the journal is sent again, and the collector starts.
#[test]
fn a_position_that_cannot_be_understood_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = folder(dir.path()).join("list.json");
    durable::write(&path, b"{\"at\":").unwrap();
    assert_eq!(saved_position::<ListLane>(dir.path()).unwrap(), None);
}
