//! Tests of the store as a whole.

mod assembling;
mod crash;
mod retention;
mod round_trip;
mod searching;
mod support;
