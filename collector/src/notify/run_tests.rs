//! How often a target is tried, and when it is given up.

use http::StatusCode;

use super::*;
use crate::notify::settings;

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

/// Scenario: a target is unreachable for long, then rejects a message.
/// Guarantees: the message is given up after ten rejections, regardless of the earlier failures.
#[test]
fn what_is_refused_ten_times_is_given_up() {
    let file = r#"{"targets":[{"name":"a","slack":{"url":"https://a.example/"}}]}"#;
    let settings = settings::tests::read(file).unwrap();
    let target = Arc::clone(&settings.targets[0]);
    let notifier = Notifier::default();
    let report = |sent| notifier.report(&target, &[], &Err(sent));
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
