//! How far a log has been read: followers save their position and resume from it after a restart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How far a follower has read each segment of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Saved")]
pub(crate) struct Position {
    /// Segments with lower numbers are completely read.
    done_below: u64,
    /// Offsets of the others, if they are partly read.
    segments: BTreeMap<u64, Offset>,
}

/// A place between two blocks of a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Offset {
    /// Blocks that begin before this byte are read.
    pub(crate) bytes: u64,
    /// Rows in these blocks; 0 if rows are not counted.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rows: u64,
    /// The arrival clock after the last of these rows; 0 if rows have no arrival time.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) until: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A saved position in either format: the first version was an untagged map of bytes by day of a series.
#[derive(Deserialize)]
struct Saved {
    #[serde(default)]
    done_below: u64,
    #[serde(default)]
    segments: BTreeMap<u64, Offset>,
    #[serde(flatten)]
    days: BTreeMap<String, u64>,
}

impl From<Saved> for Position {
    fn from(saved: Saved) -> Self {
        let mut segments = saved.segments;
        let days = saved.days.into_iter();
        segments.extend(days.filter_map(|(day, bytes)| {
            let offset = Offset {
                bytes,
                ..Offset::default()
            };
            Some((day.parse().ok()?, offset))
        }));
        Self {
            done_below: saved.done_below,
            segments,
        }
    }
}

impl Position {
    pub(crate) const BEGIN: Self = Self {
        done_below: 0,
        segments: BTreeMap::new(),
    };

    /// Returns the offset in a segment, `None` if it is completely read.
    pub(crate) fn offset(&self, segment: u64) -> Option<Offset> {
        let begun = self.segments.get(&segment).copied();
        (segment >= self.done_below).then(|| begun.unwrap_or_default())
    }

    pub(crate) fn reach(&mut self, segment: u64, offset: Offset) {
        if segment >= self.done_below {
            self.segments.insert(segment, offset);
        }
    }

    /// Marks all segments with lower numbers as completely read.
    pub(crate) fn finish_below(&mut self, segment: u64) {
        if segment > self.done_below {
            self.done_below = segment;
            self.segments = self.segments.split_off(&segment);
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(u64, Offset) -> bool) {
        self.segments
            .retain(|segment, offset| keep(*segment, *offset));
    }

    /// Returns the highest segment that is partly or completely read, and the latest arrival time.
    pub(crate) fn latest(&self) -> (u64, u64) {
        let begun = self.segments.last_key_value().map(|(segment, _)| *segment);
        let until = self.segments.values().map(|offset| offset.until).max();
        let segment = begun.max(self.done_below.checked_sub(1));
        (segment.unwrap_or(0), until.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(bytes: u64, rows: u64, until: u64) -> Offset {
        Offset { bytes, rows, until }
    }

    #[test]
    fn a_finished_segment_has_no_offset() {
        let mut position = Position::default();
        position.reach(3, offset(80, 4, 9));
        position.reach(5, offset(8, 1, 7));
        assert_eq!(position.offset(3), Some(offset(80, 4, 9)));
        assert_eq!(position.latest(), (5, 9));
        position.finish_below(4);
        assert_eq!(position.offset(3), None);
        position.reach(3, offset(0, 0, 0));
        assert_eq!(position.offset(3), None);
        assert_eq!(position.offset(4), Some(Offset::default()));
        let saved = serde_json::to_string(&position).unwrap();
        assert_eq!(serde_json::from_str::<Position>(&saved).unwrap(), position);
    }

    #[test]
    fn positions_of_the_first_version_are_read() {
        let spans = r#"{"done_below":2,"segments":{"3":{"blocks":1,"rows":4,"until":9}}}"#;
        let read: Position = serde_json::from_str(spans).unwrap();
        // A span segment is searched for the block behind that arrival time.
        assert_eq!(read.offset(3), Some(offset(0, 4, 9)));
        assert_eq!(read.offset(1), None);
        for series in [r#"{"20780":1234}"#, "{}"] {
            let json: serde_json::Value = serde_json::from_str(series).unwrap();
            let read: Position = serde_json::from_value(json).unwrap();
            let bytes = if series.len() > 2 { 1_234 } else { 0 };
            assert_eq!(read.offset(20_780), Some(offset(bytes, 0, 0)));
        }
    }
}
