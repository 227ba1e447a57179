//! The changes of operators.

mod order;
mod state;
