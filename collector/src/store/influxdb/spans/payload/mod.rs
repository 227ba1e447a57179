//! The text of `span.d` and the points of one block of the journal, both ways.
//!
//! `BlockEncoder` is shown a block's rows and gives batches of lines: one `span` point per trace (`d`: the trace id in
//! hex, then JSON that a person can read) and one `span_idx` point per span. `decode` makes spans of such a text. What
//! goes in comes out: order, repeated keys, types of values, ends before starts.
//!
//! The JSON: a list of groups `{"resource":{…},"scope":["name","version"],"spans":[…]}`, each span an object that
//! leaves out what is empty or zero. A group also has `resource_dropped`, `resource_schema`, `entities` and
//! `scope_attrs`, `scope_dropped`, `scope_schema` where its spans' resource or scope has them; what a reader does not
//! find is empty, so that texts written before a member existed are read. `null`, texts, booleans and lists
//! are themselves; a number with `.` or `e` is a double, any other an integer; `{"map":{…}}`, `{"bytes":"base64"}` and `{"double":"NaN"}` are what JSON has not.
//! Objects of attributes keep their order and may repeat a key.

mod batches;
mod block_rows;
mod decode;
mod encoder;
mod groups;
mod index;
mod json;
pub mod measure;
mod shorten;
mod spans;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use decode::decode;
pub(crate) use encoder::BlockEncoder;
pub(crate) use json::{stored_double, stored_text};
