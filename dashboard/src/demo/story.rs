//! The story that repeats when no faults are switched by hand: which service fails when, and how.

use crate::shop::fault::FaultKind;

/// The services that faults are injected into; the others only experience the consequences.
pub(super) const FAULTY: [&str; 5] = ["inventory", "price", "review", "recommendation", "legacy"];

/// A chapter of the story: a service has a fault from one second to another.
struct Chapter {
    from_seconds: u64,
    to_seconds: u64,
    service: &'static str,
    kind: FaultKind,
}

/// The length of the story.
const STORY_SECONDS: u64 = 120;

/// The story. Its first fault comes early: half a minute after the start a breaker is open.
const STORY: [Chapter; 5] = [
    Chapter {
        from_seconds: 8,
        to_seconds: 26,
        service: "inventory",
        kind: FaultKind::Failing,
    },
    Chapter {
        from_seconds: 40,
        to_seconds: 55,
        service: "review",
        kind: FaultKind::Slow,
    },
    Chapter {
        from_seconds: 66,
        to_seconds: 78,
        service: "recommendation",
        kind: FaultKind::Killed,
    },
    Chapter {
        from_seconds: 88,
        to_seconds: 98,
        service: "price",
        kind: FaultKind::Failing,
    },
    Chapter {
        from_seconds: 92,
        to_seconds: 104,
        service: "review",
        kind: FaultKind::Failing,
    },
];

/// Returns the second of the story after this many seconds.
pub(super) fn second_of_story(elapsed_seconds: u64) -> u64 {
    elapsed_seconds % STORY_SECONDS
}

pub(super) fn fault_at(service: &str, second: u64) -> FaultKind {
    STORY
        .iter()
        .find(|chapter| {
            chapter.service == service
                && (chapter.from_seconds..chapter.to_seconds).contains(&second)
        })
        .map_or(FaultKind::None, |chapter| chapter.kind)
}

/// Returns the next event of the story after this second: the service, its fault (or none), and the number of seconds
/// until then.
pub(super) fn next_chapter(second: u64) -> (&'static str, FaultKind, u64) {
    let turns = STORY.iter().flat_map(|chapter| {
        let ends = (chapter.service, FaultKind::None, chapter.to_seconds);
        [(chapter.service, chapter.kind, chapter.from_seconds), ends]
    });
    let wait = |at: u64| (at + STORY_SECONDS - second % STORY_SECONDS - 1) % STORY_SECONDS + 1;
    turns
        .map(|(service, kind, at)| (service, kind, wait(at)))
        .min_by_key(|turn| turn.2)
        .unwrap_or((FAULTY[0], FaultKind::None, STORY_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_turn_of_the_story_is_known_at_every_second() {
        assert_eq!(next_chapter(0), ("inventory", FaultKind::Failing, 8));
        assert_eq!(next_chapter(8), ("inventory", FaultKind::None, 18));
        assert_eq!(next_chapter(110), ("inventory", FaultKind::Failing, 18));
    }

    #[test]
    fn the_first_fault_is_early_and_no_service_has_two_at_once() {
        assert!(STORY.iter().any(|chapter| chapter.from_seconds < 15));
        for (index, chapter) in STORY.iter().enumerate() {
            assert!(
                chapter.from_seconds < chapter.to_seconds && chapter.to_seconds < STORY_SECONDS
            );
            assert!(FAULTY.contains(&chapter.service));
            for other in &STORY[index + 1..] {
                let apart = chapter.to_seconds <= other.from_seconds
                    || other.to_seconds <= chapter.from_seconds;
                assert!(chapter.service != other.service || apart);
            }
        }
    }
}
