//! The actuators of registered instances. Requests go only to addresses that are registered and allowed.

#![cfg_attr(not(test), expect(dead_code, reason = "the checks that send them follow"))]

mod fetch;
mod read;
