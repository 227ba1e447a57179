//! Zipkin's API: how spans look, how questions are read, and the routes against real pieces.

mod cases;
mod links;
mod questions;
mod routes;
mod searches;
mod spans;
