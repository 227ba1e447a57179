//! Eureka's registrations, in JSON and XML: from bytes to a [`Registration`], and from instances to values that are
//! written in either format. Pure; `api::eureka` has the routes.

mod read;
mod write;
mod xml;

pub(crate) use read::{EurekaError, read_registration};
pub(crate) use write::{hash_code, instance, written_app};
pub(crate) use xml::{put_xml, read_xml};

/// The formats of Eureka's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EurekaFormat {
    Json,
    Xml,
}
