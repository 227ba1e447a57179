//! Whether a message has arrived.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::notify::incident::{Incident, Problem, Stage};
use crate::notify::settings;
use crate::notify::subject::Subject;

/// Scenario: a target answers with success, and never sends the rest of its answer.
/// Guarantees: the message counts as delivered and is not repeated.
#[tokio::test]
async fn a_message_has_arrived_once_the_target_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 16 << 10];
        let _head = connection.read(&mut request).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n";
        connection.write_all(head).await.unwrap();
        std::future::pending::<()>().await;
    });
    let file = format!(r#"{{"targets":[{{"name":"a","webhook":{{"url":"http://{at}/"}}}}]}}"#);
    let settings = settings::tests::read(&file).unwrap();
    let now = UnixNanos::now();
    let problem = Problem {
        since: now,
        reason: String::new(),
        opened_by: None,
    };
    let notice = Notice {
        incident: Incident::new(Subject::Collector, problem, now),
        stage: Stage::Begun,
        is_reminder: false,
    };
    let sender = Sender::new(None).unwrap();
    assert_eq!(
        sender.send(&settings.targets[0], &[notice], "").await,
        Ok(())
    );
    answering.abort();
}
