//! What one segment knows of a trace, its numbers turned into words, ready to be merged with other segments' pieces.

use super::super::block::decode_mark;
use super::super::summary::{Circuit, Origin};
use super::traces::Piece;
use crate::model::CircuitMark;

/// The root or the earliest span of a trace, in words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamedOrigin {
    /// Its service.
    pub(crate) service: String,
    /// Its operation.
    pub(crate) operation: String,
    /// Whether its status is error.
    pub(crate) failed: bool,
}

/// What a segment knows of a trace, in words.
#[derive(Debug, Clone)]
pub(crate) struct NamedPiece {
    /// The numbers.
    pub(crate) piece: Piece,
    /// The earliest span without parent.
    pub(crate) root: Option<NamedOrigin>,
    /// The earliest span.
    pub(crate) first: NamedOrigin,
    /// Names of `piece.services`, in the same order.
    pub(crate) services: Vec<String>,
    /// Breakers.
    pub(crate) circuits: Vec<CircuitMark>,
    /// The blocks that hold its spans.
    pub(crate) blocks: Vec<u32>,
}

impl NamedPiece {
    /// Puts words to numbers: names of spans and of services, and marks.
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
