//! The text of `span.d` and the points of one block of the journal, in both directions.
//!
//! `BlockEncoder` receives a block's rows and returns batches of lines: one `span` point per trace (`d`: the
//! trace id in hex, then readable JSON) and one `span_idx` point per span. `decode` turns such a text back
//! into spans, without loss: order, repeated keys, value types, ends before starts.
//!
//! The JSON is a list of groups `{"resource":{…},"scope":["name","version"],"spans":[…]}`; each span is an
//! object without empty or zero members. A group may also have `resource_dropped`, `resource_schema`,
//! `entities`, `scope_attrs`, `scope_dropped` and `scope_schema`. Missing members are read as empty, so that
//! texts from before a member existed can be read. `null`, texts, booleans and lists are JSON; a number with
//! `.` or `e` is a double, any other an integer; `{"map":{…}}`, `{"bytes":"base64"}` and `{"double":"NaN"}`
//! wrap what JSON lacks. Objects of attributes keep their order and may repeat a key.

mod batches;
mod block_rows;
mod decode;
mod encoder;
mod groups;
mod index;
mod json;
pub mod measure;
mod owned;
mod shorten;
mod spans;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use batches::CHUNK_BYTES_MAX;
pub(crate) use decode::{Attributes, ValueText, decode, decode_groups};
pub(crate) use encoder::BlockEncoder;
pub(crate) use groups::Groups;
pub(crate) use json::{push_pairs, push_text, push_value, stored_double, stored_text};
pub(crate) use owned::{show_resource, show_scope};
