//! Formatting of values for pages: words and figures, times, states, links, colours, and SVG. Pure functions.

pub(crate) mod action;
pub(crate) mod chart;
pub(crate) mod href;
pub(crate) mod message;
pub(crate) mod moment;
pub(crate) mod palette;
pub(crate) mod policies;
pub(crate) mod range;
pub(crate) mod state;
pub(crate) mod text;
