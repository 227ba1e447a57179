//! A segment's summary of a trace with numbers resolved to names, ready to be merged with those of other
//! segments.

use super::super::block::decode_mark;
use super::super::summary::{Circuit, Origin};
use super::traces::Piece;
use crate::model::CircuitMark;

/// The root or the earliest span of a trace, with resolved names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamedOrigin {
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) failed: bool,
}

/// A segment's summary of a trace, with resolved names.
#[derive(Debug, Clone)]
pub(crate) struct NamedPiece {
    pub(crate) piece: Piece,
    /// The earliest span without a parent.
    pub(crate) root: Option<NamedOrigin>,
    /// The earliest span.
    pub(crate) first: NamedOrigin,
    /// Names of `piece.services`, in the same order.
    pub(crate) services: Vec<String>,
    pub(crate) circuits: Vec<CircuitMark>,
    pub(crate) blocks: Vec<u32>,
}

impl NamedPiece {
    /// Resolves the numbers of span names, services and marks.
    pub(crate) fn new<'a>(
        piece: &Piece,
        blocks: Vec<u32>,
        name: impl Fn(u32) -> &'a str,
        service: impl Fn(u32) -> &'a str,
        mark: impl Fn(u32) -> &'a [u8],
    ) -> Self {
        let words = |origin: &Origin| NamedOrigin {
            service: service(origin.service).to_owned(),
            operation: name(origin.name).to_owned(),
            failed: origin.failed,
        };
        let circuit = |circuit: &Circuit| {
            let [name, words @ ..] = decode_mark(mark(circuit.mark));
            CircuitMark::new(service(circuit.service), name, words)
        };
        Self {
            root: piece.root.as_ref().map(words),
            first: words(&piece.first),
            services: piece
                .services
                .iter()
                .map(|entry| service(entry.service).to_owned())
                .collect(),
            circuits: piece.circuits.iter().map(circuit).collect(),
            piece: piece.clone(),
            blocks,
        }
    }
}
