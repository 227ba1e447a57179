//! The whole stack over real sockets, real processes and a real browser.
