//! The position of the lane of spans, and how it is found again in a journal that may have been repaired since.

use serde::{Deserialize, Serialize};

use crate::log::{Offset, Position};
use crate::store::StoreError;
use crate::store::embedded::JournalSegment;

/// The position of the lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub(crate) struct SpanPosition {
    /// In the journal.
    #[serde(flatten)]
    pub(crate) log: Position,
    /// Before that arrival time everything is covered by filters that ever will be; absent in positions of earlier versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) covered: Option<u64>,
}

impl TryFrom<serde_json::Value> for SpanPosition {
    type Error = serde_json::Error;

    // Flattened, the numbers of segments would be read as texts.
    fn try_from(saved: serde_json::Value) -> Result<Self, Self::Error> {
        Ok(Self {
            covered: saved["covered"].as_u64(),
            log: serde_json::from_value(saved)?,
        })
    }
}

/// Finds the place again by the times of blocks: a repair after a crash may have dropped damaged ones.
pub(super) fn locate(segment: &mut JournalSegment, reached: Offset) -> Result<Offset, StoreError> {
    let mut place = Offset::default();
    while place.until < reached.until {
        let arrival = segment.arrival(place)?;
        let Some(arrival) = arrival.filter(|arrival| arrival.base(place) < reached.until) else {
            break;
        };
        place = arrival.behind(place);
    }
    place.until = place.until.max(reached.until);
    Ok(place)
}
