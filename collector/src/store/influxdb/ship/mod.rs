//! The way from the journal to the server: a lane gives requests, a writer delivers them and saves how far it is.

pub(crate) mod delivery;
pub(crate) mod lane;
pub(crate) mod link;
mod outcome;
mod piece;
pub(crate) mod refusal;
pub(crate) mod writer;
