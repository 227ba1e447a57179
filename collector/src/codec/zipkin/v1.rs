//! Zipkin's model v1 converted to v2 by the rules of openzipkin's documentation: `cs`, `cr`, `sr` and `ss`
//! (`ms`, `mr`, `ws`, `wr` for messages) give kind and times, `ca`, `sa` and `ma` the peer, and one v1 span
//! may contain both halves of a call.

use super::span::{Endpoint, Kind, Span as Half};

/// Annotations, and binary annotations, of one span: as many as an OTLP span may have events and attributes,
/// with room for those with a special meaning.
const ANNOTATIONS_MAX: usize = 256;

/// Services per v1 span, which normally are caller and callee. Data of further ones is added to the first.
const HALVES_MAX: usize = 4;

/// Bytes of a name, which each half repeats.
const NAME_BYTES_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Span {
    pub(super) trace_id: [u8; 16],
    pub(super) id: [u8; 8],
    pub(super) parent_id: [u8; 8],
    pub(super) name: String,
    pub(super) timestamp_us: u64,
    pub(super) duration_us: u64,
    pub(super) debug: bool,
    annotations: Vec<Annotation>,
    binary_annotations: Vec<BinaryAnnotation>,
}

#[derive(Debug, Default)]
pub(super) struct Annotation {
    pub(super) at_us: u64,
    pub(super) value: String,
    pub(super) endpoint: Option<Endpoint>,
}

/// A tag, or an address of the peer.
#[derive(Debug, Default)]
pub(super) struct BinaryAnnotation {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) endpoint: Option<Endpoint>,
}

#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Bool(bool),
    Whole(i64),
    Double(f64),
    Bytes(Vec<u8>),
}

impl Default for Value {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Span {
    /// Adds an annotation; returns how many were left out: 1 beyond the limit, else 0.
    pub(super) fn add_annotation(&mut self, annotation: Annotation) -> u64 {
        push_bounded(&mut self.annotations, annotation)
    }

    /// Adds a binary annotation; returns how many were left out: 1 beyond the limit, else 0.
    pub(super) fn add_binary_annotation(&mut self, annotation: BinaryAnnotation) -> u64 {
        push_bounded(&mut self.binary_annotations, annotation)
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        let mut halves = Halves::new(&self);
        let times = halves.annotations(&self);
        halves.rpc(&self, times);
        halves.messages(&self, times);
        halves.binary_annotations(&self, times);
        for half in &halves.0 {
            half.write(out);
        }
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) -> u64 {
    if list.len() >= ANNOTATIONS_MAX {
        return 1;
    }
    list.push(item);
    0
}

/// A time of a call, and the half that reported it.
type Moment = Option<(u64, usize)>;

/// The annotations with the times of a call or message.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    cs: Moment,
    cr: Moment,
    sr: Moment,
    ss: Moment,
    ms: Moment,
    mr: Moment,
    ws: Moment,
    wr: Moment,
}

impl Times {
    /// Returns the slot of an annotation with a special meaning, and the kind that it implies.
    fn of(&mut self, value: &str) -> Option<(&mut Moment, Option<Kind>)> {
        Some(match value {
            "cs" => (&mut self.cs, Some(Kind::Client)),
            "cr" => (&mut self.cr, Some(Kind::Client)),
            "sr" => (&mut self.sr, Some(Kind::Server)),
            "ss" => (&mut self.ss, Some(Kind::Server)),
            "ms" => (&mut self.ms, Some(Kind::Producer)),
            "mr" => (&mut self.mr, Some(Kind::Consumer)),
            "ws" => (&mut self.ws, None),
            "wr" => (&mut self.wr, None),
            _ => return None,
        })
    }
}

/// The v2 spans of a v1 span: one per service in it. The first always exists.
struct Halves(Vec<Half>);

impl Halves {
    fn new(source: &Span) -> Self {
        Self(vec![half_of(source)])
    }

    /// Returns the half of an endpoint; without an endpoint, or beyond the limit, the first half.
    fn of(&mut self, source: &Span, endpoint: Option<&Endpoint>) -> usize {
        let Some(endpoint) = endpoint else { return 0 };
        if self.0[0].local == Endpoint::default() {
            self.0[0].local = endpoint.clone();
            return 0;
        }
        let same = |half: &Half| half.local.service_name == endpoint.service_name;
        match self.0.iter().position(same) {
            Some(found) => found,
            None => self.add(source, endpoint.clone()),
        }
    }

    fn add(&mut self, source: &Span, endpoint: Endpoint) -> usize {
        if self.0.len() >= HALVES_MAX {
            return 0;
        }
        let mut half = half_of(source);
        half.local = endpoint;
        self.0.push(half);
        self.0.len() - 1
    }

    /// Reads the annotations: kinds and times from those with a special meaning, which need an endpoint; the
    /// others are events.
    fn annotations(&mut self, source: &Span) -> Times {
        let mut times = Times::default();
        for annotation in &source.annotations {
            let half = self.of(source, annotation.endpoint.as_ref());
            let endpoint = annotation.endpoint.as_ref();
            match endpoint.and_then(|_| times.of(&annotation.value)) {
                Some((moment, kind)) => {
                    *moment = Some((annotation.at_us, half));
                    if kind.is_some() {
                        self.0[half].kind = kind;
                    }
                }
                None => self.0[half].annotation(annotation.at_us, &annotation.value),
            }
        }
        // A converter from v2 may give the start only in the span's own times.
        times.cs = times.cs.or_else(|| start_of(times.cr, source));
        times.sr = times.sr.or_else(|| start_of(times.ss, source));
        times
    }

    fn rpc(&mut self, source: &Span, times: Times) {
        match times {
            Times {
                cs: Some(cs),
                sr: Some(sr),
                cr,
                ss,
                ..
            } => {
                self.time(source, cs, cr);
                let server = self.other_half(source, cs.1, sr.1, [Kind::Client, Kind::Server]);
                // The server's part is shorter than the span, whose own times are the client's.
                self.set(server, sr.0, ss.map_or(0, |ss| ss.0.saturating_sub(sr.0)));
            }
            Times {
                cs: Some(cs),
                cr: Some(cr),
                ..
            } => self.time(source, cs, Some(cr)),
            Times {
                sr: Some(sr),
                ss: Some(ss),
                ..
            } => self.time(source, sr, Some(ss)),
            _ => self.incomplete(source, times),
        }
    }

    /// Returns the callee's half; if both halves are of one service, it is created here.
    fn other_half(
        &mut self,
        source: &Span,
        caller: usize,
        callee: usize,
        kinds: [Kind; 2],
    ) -> usize {
        self.0[caller].kind = Some(kinds[0]);
        let callee = match caller == callee {
            true => self.add(source, self.0[caller].local.clone()),
            false => callee,
        };
        if callee != caller {
            self.0[callee].kind = Some(kinds[1]);
        }
        callee
    }

    /// Sets the known times of a call with a missing end; a lone end stays an event.
    fn incomplete(&mut self, source: &Span, times: Times) {
        for (start, end, value) in [(times.cs, times.cr, "cr"), (times.sr, times.ss, "ss")] {
            if let Some((at_us, half)) = start {
                self.0[half].timestamp_us = at_us;
            }
            if let Some((at_us, half)) = end {
                self.0[half].annotation(at_us, value);
            }
        }
        if source.timestamp_us > 0 {
            self.set(0, source.timestamp_us, source.duration_us);
        }
    }

    fn messages(&mut self, source: &Span, times: Times) {
        match (times.ms, times.mr) {
            (Some(ms), Some(mr)) => {
                let sent = times.ws.map_or(0, |ws| ws.0.saturating_sub(ms.0));
                self.set(ms.1, ms.0, sent);
                let kinds = [Kind::Producer, Kind::Consumer];
                let consumer = self.other_half(source, ms.1, mr.1, kinds);
                let begin = times.wr.unwrap_or(mr);
                self.set(consumer, begin.0, mr.0.saturating_sub(begin.0));
            }
            (Some(ms), None) => self.time(source, ms, times.ws),
            (None, Some(mr)) => match times.wr {
                Some(wr) => self.time(source, wr, Some(mr)),
                None => self.time(source, mr, None),
            },
            (None, None) => {
                for (moment, value) in [(times.ws, "ws"), (times.wr, "wr")] {
                    if let Some((at_us, half)) = moment {
                        self.0[half].annotation(at_us, value);
                    }
                }
            }
        }
    }

    /// Sets a half's times: those of the span, or else those of its annotations.
    fn time(&mut self, source: &Span, begin: (u64, usize), end: Moment) {
        if source.timestamp_us > 0 && source.duration_us > 0 {
            self.set(begin.1, source.timestamp_us, source.duration_us);
        } else {
            let duration = end.map_or(0, |end| end.0.saturating_sub(begin.0));
            self.set(begin.1, begin.0, duration);
        }
    }

    fn set(&mut self, half: usize, timestamp_us: u64, duration_us: u64) {
        self.0[half].timestamp_us = timestamp_us;
        self.0[half].duration_us = duration_us;
    }

    /// Reads the binary annotations: tags, and addresses of the peer.
    fn binary_annotations(&mut self, source: &Span, times: Times) {
        let [mut ca, mut sa, mut ma] = [None; 3];
        for annotation in &source.binary_annotations {
            let endpoint = annotation.endpoint.as_ref();
            match annotation.key.as_str() {
                "ca" => ca = endpoint,
                "sa" => sa = endpoint,
                "ma" => ma = endpoint,
                key => {
                    let half = self.of(source, endpoint);
                    // `lc` without a value only names the span's service.
                    let is_marker = key == "lc"
                        && matches!(&annotation.value, Value::Text(text) if text.is_empty());
                    if !is_marker {
                        tag(&mut self.0[half], key, &annotation.value);
                    }
                }
            }
        }
        self.addresses(source, times, ca, sa);
        for (moment, address) in [(times.ms, ma), (times.mr, ma)] {
            if let (Some((_, half)), Some(address)) = (moment, address) {
                self.0[half].remote = address.clone();
            }
        }
    }

    fn addresses(
        &mut self,
        source: &Span,
        times: Times,
        ca: Option<&Endpoint>,
        sa: Option<&Endpoint>,
    ) {
        let client = times.cs.or(times.cr).map(|moment| moment.1);
        let server = times.sr.or(times.ss).map(|moment| moment.1);
        match (client, server, ca, sa) {
            (None, None, Some(ca), Some(sa)) => {
                let half = self.of(source, Some(ca));
                self.0[half].remote = sa.clone();
            }
            (None, None, None, Some(sa)) => self.0[0].remote = sa.clone(),
            // Without any times, a caller's address means that the span is the callee's.
            (None, None, Some(ca), None) => {
                self.0[0].kind = Some(Kind::Server);
                self.0[0].remote = ca.clone();
            }
            _ => {
                let server = server.filter(|server| ca != Some(&self.0[*server].local));
                for (half, address) in [(server, ca), (client, sa)] {
                    if let (Some(half), Some(address)) = (half, address) {
                        self.0[half].remote = address.clone();
                    }
                }
            }
        }
    }
}

fn half_of(source: &Span) -> Half {
    let mut half = Half::default();
    half.trace_id = source.trace_id;
    half.id = source.id;
    half.parent_id = source.parent_id;
    half.debug = source.debug;
    half.name(crate::model::cut(&source.name, NAME_BYTES_MAX));
    half
}

/// Returns the start of a call from its end, if the span's own times end there.
fn start_of(end: Moment, source: &Span) -> Moment {
    let (at_us, half) = end?;
    let is_known = source.timestamp_us > 0 && source.duration_us > 0;
    let ends_there = source.timestamp_us.saturating_add(source.duration_us) == at_us;
    (is_known && ends_there).then_some((source.timestamp_us, half))
}

fn tag(half: &mut Half, key: &str, value: &Value) {
    match value {
        Value::Text(text) => half.tag(key, text),
        Value::Bool(truth) => half.tag(key, if *truth { "true" } else { "false" }),
        Value::Whole(number) => half.number(key, *number),
        Value::Double(number) => half.double(key, *number),
        Value::Bytes(bytes) => half.bytes(key, bytes),
    }
}
