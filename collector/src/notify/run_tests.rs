//! How often a target is tried, and when it is given up.

use http::StatusCode;

use super::*;
use crate::model::{CircuitKey, HOUR};
use crate::notify::incident::Problem;
use crate::notify::send::MailAnswer;
use crate::notify::state::Finding;
use crate::notify::{MuteOrder, Subject, settings};

fn refused(status: StatusCode, retry_after: Option<Duration>) -> SendError {
    let text = String::new();
    SendError::Status {
        status,
        text,
        retry_after,
    }
}

#[test]
fn a_target_that_asks_for_no_pause_gets_one() {
    let error = |asked| refused(StatusCode::SERVICE_UNAVAILABLE, asked);
    assert_eq!(pause(1, &error(Some(Duration::ZERO))), PAUSE_MIN);
    let asked = PAUSE_MAX * 2;
    assert_eq!(pause(1, &error(Some(asked))), asked);
    let doubled = [1, 2, 3, 30].map(|failures| pause(failures, &error(None)).as_secs());
    assert_eq!(doubled, [1, 2, 4, PAUSE_MAX.as_secs()]);
}

/// A state with these open circuits, and its target.
fn open(circuits: &[&str]) -> (Notifier, Arc<Target>) {
    let file = r#"{"targets":[{"name":"a","slack":{"url":"https://a.example/"}}]}"#;
    let settings = settings::tests::read(file).unwrap();
    let target = Arc::clone(&settings.targets[0]);
    let (notifier, now) = (Notifier::default(), UnixNanos::now());
    notifier.replace(settings);
    let finding = |name: &&str| Finding {
        subject: Subject::Circuit(CircuitKey {
            service: "shop".to_owned(),
            name: (*name).to_owned(),
        }),
        problem: Some(Problem {
            since: now - HOUR,
            reason: String::new(),
            opened_by: None,
        }),
    };
    let findings = circuits.iter().map(finding).collect();
    notifier.state().observe(findings, now);
    (notifier, target)
}

fn names(notices: &[Notice]) -> Vec<&str> {
    let names = notices.iter().map(|one| one.incident.subject.circuit());
    names.flatten().collect()
}

/// Scenario: a target is unreachable for long, then rejects a message.
/// Guarantees: the message is given up after ten rejections, regardless of the earlier failures.
#[test]
fn what_is_refused_ten_times_is_given_up() {
    let (notifier, target) = open(&["stock"]);
    let due = notifier.next(&target, 1);
    let report = |sent| notifier.report(&target, &due, &Err(sent));
    for _ in 0..20 {
        assert!(!report(SendError::TimedOut));
    }
    for _ in 0..9 {
        assert!(!report(refused(StatusCode::BAD_REQUEST, None)));
    }
    assert!(!report(refused(StatusCode::BAD_GATEWAY, None)));
    assert!(report(refused(StatusCode::NOT_FOUND, None)));
    assert!(!report(refused(StatusCode::NOT_FOUND, None)));
}

/// Sends until nothing is due, as a target takes all but what is about one circuit; returns what it took.
fn taken(notifier: &Notifier, target: &Target, error: &SendError) -> Vec<String> {
    let (mut most, mut sent) = (usize::MAX, Vec::new());
    for attempt in 0.. {
        assert!(attempt < 6, "{sent:?}");
        let due = notifier.next(target, most);
        if due.is_empty() {
            break;
        }
        let is_spam = names(&due).contains(&"spam");
        let answer = if is_spam { Err(error.clone()) } else { Ok(()) };
        notifier.report(target, &due, &answer);
        most = most_after(&answer, due.len(), most);
        sent.extend(answer.is_ok().then(|| names(&due).join(" ")));
    }
    sent
}

/// Scenario: a target rejects every message about one of several circuits, or fails with it.
/// Guarantees: it is found in a few steps; the others are sent at once, and it is tried again after them.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_taken_does_not_hold_up_others() {
    let postponed = SendError::Mail {
        text: "450 mailbox busy".to_owned(),
        answer: MailAnswer::Postponed,
    };
    for error in [
        refused(StatusCode::BAD_REQUEST, None),
        refused(StatusCode::INTERNAL_SERVER_ERROR, None),
        postponed,
    ] {
        let (notifier, target) = open(&["spam", "cart", "page", "pay"]);
        assert_eq!(taken(&notifier, &target, &error), ["cart", "page pay"]);
        tokio::time::advance(PAUSE_MIN).await;
        let again = notifier.next(&target, 4);
        assert_eq!(names(&again), ["spam"]);
        notifier.report(&target, &again, &Err(error.clone()));
        assert!(notifier.next(&target, 4).is_empty());
        tokio::time::advance(PAUSE_MIN * 2).await;
        assert_eq!(names(&notifier.next(&target, 4)), ["spam"]);
    }
}

/// Guarantees: a target that cannot be reached, or that asks for a pause, is waited for with what is due first.
#[tokio::test(start_paused = true)]
async fn a_target_in_trouble_is_waited_for() {
    let (notifier, target) = open(&["stock", "cart"]);
    for error in [
        SendError::TimedOut,
        refused(StatusCode::TOO_MANY_REQUESTS, None),
        refused(StatusCode::SERVICE_UNAVAILABLE, Some(PAUSE_MAX)),
    ] {
        let due = notifier.next(&target, 1);
        assert_eq!(names(&due), ["stock"], "{error}");
        notifier.report(&target, &due, &Err(error));
    }
}

/// Scenario: a target rejects everything for a while, as with a wrong token.
/// Guarantees: once it accepts one message, the others go together.
#[tokio::test(start_paused = true)]
async fn a_target_that_accepts_again_gets_everything_at_once() {
    let (notifier, target) = open(&["stock", "cart", "page"]);
    for _ in 0..3 {
        let due = notifier.next(&target, 1);
        let no = Err(refused(StatusCode::FORBIDDEN, None));
        notifier.report(&target, &due, &no);
    }
    assert!(notifier.next(&target, 1).is_empty());
    tokio::time::advance(PAUSE_MIN).await;
    let again = notifier.next(&target, 1);
    assert_eq!(names(&again), ["stock"]);
    assert!(notifier.report(&target, &again, &Ok(())));
    assert_eq!(names(&notifier.next(&target, 9)), ["cart", "page"]);
}

/// Scenario: the file of the state cannot be written when an operator ends a mute.
/// Guarantees: the answer is an error, and the mute stays in force.
#[tokio::test]
async fn a_mute_whose_end_is_not_written_stays_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let notifier = Notifier::open(&data);
    let order = MuteOrder {
        service: "shop".to_owned(),
        for_s: 600,
        by: "Ada".to_owned(),
        reason: "we deploy".to_owned(),
        ..MuteOrder::default()
    };
    let mute = notifier.mute(order).await.unwrap().unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::write(&data, "no directory").unwrap();
    assert!(notifier.unmute(mute.id, None).await.is_err());
    assert_eq!(notifier.overview().mutes, [mute]);
}
