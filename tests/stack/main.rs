//! The whole stack over real sockets, real processes and a real browser.

mod crash;
mod demo;
mod hostile;
mod load;
mod pages;
mod restart;
mod sdk;
