//! Append-only journal of everything that is no span.
