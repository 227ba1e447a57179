//! SIGTERM under load: senders, searches that read everything, an event stream, and an answer that no client reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use integration_tests::{Binary, DEADLINE, eventually};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::bounds::send_large_trace;
use crate::crash::{Work, assert_whole, send_traces};

/// Acknowledged requests before the signal.
const ANSWERS: u64 = 20;
/// The exit status of a process that SIGTERM ended, which a second signal asks for.
const ENDED_AT_ONCE: i32 = 143;
/// Between two signals: one may arrive before the process listens for a second.
const SIGNALS_APART: Duration = Duration::from_millis(50);

/// Everything that a collector does when it is asked to stop.
struct Load {
    work: Arc<Work>,
    senders: JoinSet<Vec<String>>,
    searches: JoinSet<()>,
    /// Answers whose bodies are not read.
    unread: Vec<reqwest::Response>,
}

impl Load {
    /// Starts it, and waits until senders have been answered.
    async fn start(binary: &Binary) -> Self {
        let large = send_large_trace(binary).await;
        let mut unread = Vec::new();
        for path in ["/api/stream".to_owned(), format!("/api/traces/{large}")] {
            let answer = reqwest::get(format!("{}{path}", binary.web)).await;
            unread.push(answer.expect("an answer"));
        }
        let work = Arc::new(Work::default());
        let (mut senders, mut searches) = (JoinSet::new(), JoinSet::new());
        for _ in 0..2 {
            senders.spawn(send_traces(binary.otlp_http.clone(), Arc::clone(&work)));
            searches.spawn(search(binary.web.clone()));
        }
        eventually("enough answers", || async {
            (work.answers.load(Ordering::Relaxed) >= ANSWERS).then_some(())
        })
        .await;
        Self {
            work,
            senders,
            searches,
            unread,
        }
    }

    /// Ends it; returns the ids of the traces that were acknowledged.
    async fn end(self) -> Vec<String> {
        self.work.is_over.store(true, Ordering::Relaxed);
        self.searches.join_all().await;
        drop(self.unread);
        self.senders
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Searches everything for what no span has, again and again until the collector is gone.
async fn search(web: String) {
    let url = format!("{web}/api/traces?attribute=key1%3D~(a|b)%2Bc");
    while let Ok(answer) = reqwest::get(&url).await {
        assert_ne!(answer.status(), 400, "the search is understood");
        if answer.bytes().await.is_err() {
            break;
        }
    }
}

/// Starts the collector again and checks that what was acknowledged is there.
async fn assert_nothing_lost(data: &TempDir, acknowledged: &[String]) {
    assert!(acknowledged.len() as u64 >= ANSWERS);
    let binary = Binary::serve(data.path()).await;
    assert_whole(&binary, acknowledged).await;
    binary.terminate().await;
}

/// *Guarantees*: SIGTERM ends the collector cleanly, whoever does not read and whatever is being searched; what it
/// acknowledged until then is there afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_the_collector_under_load() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve(data.path()).await;
    let load = Load::start(&binary).await;
    binary.ask_to_stop();
    let status = binary.ended().await;
    assert!(status.success(), "a clean exit: {status}");
    assert_nothing_lost(&data, &load.end().await).await;
}

/// *Guarantees*: a second SIGTERM ends the collector at once, before the answer that no client reads is given up; what it
/// acknowledged until then is there afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_ends_the_collector_at_once() {
    let data = TempDir::new().expect("a temporary directory");
    let mut binary = Binary::serve(data.path()).await;
    let load = Load::start(&binary).await;
    let ending = async {
        while !binary.has_ended() {
            binary.ask_to_stop();
            tokio::time::sleep(SIGNALS_APART).await;
        }
    };
    let ending = tokio::time::timeout(DEADLINE, ending).await;
    ending.expect("it ends");
    let status = binary.ended().await;
    assert_eq!(status.code(), Some(ENDED_AT_ONCE), "{status}");
    assert_nothing_lost(&data, &load.end().await).await;
}
