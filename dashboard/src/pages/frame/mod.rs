//! The common parts of every page: the frame around it, its headers and files, parameters, errors, preferences, and the
//! jump box.

mod asked;
pub(crate) mod assets;
pub(crate) mod error;
pub(crate) mod headers;
pub(crate) mod jump;
pub(crate) mod missing;
pub(crate) mod operator;
pub(crate) mod page;
pub(crate) mod params;
pub(crate) mod preferences;
pub(crate) mod sent;
