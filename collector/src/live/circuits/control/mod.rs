//! The changes of operators.

mod order;
