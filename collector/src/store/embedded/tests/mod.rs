//! Tests of the store as a whole.

mod assembling;
mod crash;
mod faults;
mod grouping;
mod recounting;
mod retention;
mod round_trip;
mod sampling;
pub(crate) mod searching;
pub(crate) mod support;
