//! Tells what a server refuses for its content from what it refuses because of its own state.
//!
//! A server in trouble and a rule against something in a request (of a proxy, or a bug) answer the same: an error, again
//! and again. A probe tells them apart: a point of ours in the same measurement, at the same time and of the same
//! length, with nothing of the content. Who takes it right after refusing the request has the room, the right and the
//! shard that the request needs. One refused probe, and everything that was suspected is forgotten.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::store::influxdb::schema::PROBE;

/// A request that was refused so often and for so long is halved, which loses nothing.
const BEFORE_HALVING: Patience = Patience {
    refusals: 5,
    lasting: Duration::from_secs(120),
};
/// A line that was refused alone so often and for so long, each time before a probe was taken, is set aside.
const BEFORE_SETTING_ASIDE: Patience = Patience {
    refusals: 6,
    lasting: Duration::from_secs(180),
};
/// The same for a line that is refused in the words of the rule that the last one was set aside for: a lane must not
/// spend minutes on each of many.
const FOR_A_KNOWN_RULE: Patience = Patience {
    refusals: 3,
    lasting: Duration::from_secs(2),
};

/// How often, and for how long, something must be refused.
#[derive(Debug, Clone, Copy)]
struct Patience {
    refusals: u32,
    lasting: Duration,
}

/// An answer that may be meant for what is in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status and what was said.
    pub(super) said: String,
    /// Whether it is a status that rules give (403, say), not one of a server in trouble.
    pub(super) by_rule: bool,
}

/// How often something was refused, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    count: u32,
    since: Option<Instant>,
}

impl Refusals {
    fn add(&mut self) {
        self.count += 1;
        self.since.get_or_insert_with(Instant::now);
    }

    fn exhaust(&self, patience: Patience) -> bool {
        let lasted = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        self.count >= patience.refusals && lasted >= patience.lasting
    }
}

/// What a lane suspects of the parcel that it delivers.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// Refusals of requests since something was taken.
    refusals: Refusals,
    /// Whether it is certain that something in the parcel is refused, and is looked for.
    is_certain: bool,
    /// The words of the rule that the last line was set aside for.
    rule: Option<String>,
}

impl Suspicion {
    /// Begins a parcel.
    pub(super) fn begin(&mut self) {
        self.refusals = Refusals::default();
        self.is_certain = false;
    }

    /// Notes that something was taken.
    pub(super) fn taken(&mut self) {
        self.refusals = Refusals::default();
    }

    /// Notes a refusal; returns whether it is time to send a probe.
    pub(super) fn arises(&mut self, refusal: &Refusal) -> bool {
        self.refusals.add();
        self.is_certain || self.knows(refusal) || self.refusals.exhaust(BEFORE_HALVING)
    }

    /// Notes that the server took the probe.
    pub(super) fn is_confirmed(&mut self) {
        self.is_certain = true;
    }

    /// Notes that the server refused the probe: nothing is known any more.
    pub(super) fn is_dispelled(&mut self) {
        *self = Self::default();
    }

    /// Notes that a line was refused alone while the probe was taken; returns whether it is to be set aside.
    pub(super) fn convicts(&mut self, line: &mut Refusals, refusal: &Refusal) -> bool {
        line.add();
        let is_known = self.knows(refusal);
        let convicted =
            line.exhaust(BEFORE_SETTING_ASIDE) || is_known && line.exhaust(FOR_A_KNOWN_RULE);
        if convicted {
            self.rule = Some(refusal.said.clone()).filter(|_| refusal.by_rule);
        }
        convicted
    }

    fn knows(&self, refusal: &Refusal) -> bool {
        self.rule.as_ref() == Some(&refusal.said)
    }
}

/// What a probe has in common with the line besides measurement, time and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// Nothing: neither its tags nor its fields can be what is refused.
    Bare,
    /// Its tags: the probe goes where the line goes, to the same node of a cluster.
    SameSeries,
}

/// Returns the probe for a line; the same one for the same line, so that it is one point however often it is sent.
pub(crate) fn probe_of(line: &[u8], likeness: Likeness) -> Option<Bytes> {
    let text = line.trim_ascii_end();
    let ends = |ends: &[u8]| unescaped(text, ends);
    let head = match likeness {
        Likeness::Bare => ends(b", ")?,
        Likeness::SameSeries => ends(b" ")?,
    };
    let time = &text[text.iter().rposition(|byte| *byte == b' ')?..];
    let field = format!(" {PROBE}=\"");
    let around = head + field.len() + 1 + time.len();
    let filling = vec![b'x'; text.len().saturating_sub(around).max(1)];
    let probe = [
        &text[..head],
        field.as_bytes(),
        &filling,
        b"\"",
        time,
        b"\n",
    ];
    Some(Bytes::from(probe.concat()))
}

/// Returns where one of these stands first without a backslash before it.
fn unescaped(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    text.iter().position(|byte| {
        let found = !is_escaped && wanted.contains(byte);
        is_escaped = !is_escaped && *byte == b'\\';
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_has_the_measurement_time_and_length_of_a_line_and_nothing_else_of_it() {
        let line = b"span,c=a\\ b,sh=0a0 d=\"select \\\" x\n 7 \",th=1i 1795397646700000001\n";
        let probe = probe_of(line, Likeness::Bare).unwrap();
        let wanted = "span probe=\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" 1795397646700000001\n";
        assert_eq!(probe, wanted);
        assert_eq!(probe.len(), line.len());
        let probe = |line: &[u8]| probe_of(line, Likeness::Bare);
        assert_eq!(probe(b"m f=1i 5").unwrap(), "m probe=\"x\" 5\n");
        assert_eq!(probe(b"nothing"), None);
        let same = probe_of(line, Likeness::SameSeries).unwrap();
        let wanted = "span,c=a\\ b,sh=0a0 probe=\"xxxxxxxxxxxxxxxxx\" 1795397646700000001\n";
        assert_eq!(same.len(), line.len());
        assert_eq!(same, wanted);
    }
}
