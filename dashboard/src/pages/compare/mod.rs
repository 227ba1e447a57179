//! The comparison of two traces: which calls only one of them has, which took longer, and where on the critical path the
//! difference lies.

mod diff;
mod page;
mod row;

pub(crate) use page::{ComparePage, CompareView};
