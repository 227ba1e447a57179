//! The pages and the one binary.
