//! The pages and the one binary.
fn main() {}
