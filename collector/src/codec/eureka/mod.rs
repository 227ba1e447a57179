//! Eureka's registrations, in JSON and XML.

mod xml;

pub(crate) use xml::{put_xml, read_xml};
