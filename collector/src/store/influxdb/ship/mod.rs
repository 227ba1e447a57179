//! Ships the journal to the server: a lane makes batches, a writer delivers them and saves the position.

pub(crate) mod delivery;
pub(crate) mod lane;
pub(crate) mod link;
mod outcome;
mod parts;
pub(crate) mod writer;
