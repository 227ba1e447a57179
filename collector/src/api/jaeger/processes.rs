//! Numbers the senders of a trace: `p1`, `p2`, ... in the order in which their spans come.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::Resource;

/// The senders met so far.
#[derive(Debug, Default)]
pub(super) struct Processes<'t> {
    met: Vec<&'t Resource>,
    /// Spans of one sender mostly share one resource in memory.
    by_address: HashMap<*const Resource, usize>,
    /// Prints of resources, so that the same one is known again without comparing it to each.
    by_print: HashMap<String, usize>,
}

impl<'t> Processes<'t> {
    /// Returns the key of a sender.
    pub(super) fn key(&mut self, resource: &'t Arc<Resource>) -> String {
        let address = Arc::as_ptr(resource);
        let index = match self.by_address.get(&address) {
            Some(index) => *index,
            None => {
                let index = self.index_of_print(resource);
                self.by_address.insert(address, index);
                index
            }
        };
        key(index)
    }

    /// Returns every sender with its key.
    pub(super) fn into_keyed(self) -> impl Iterator<Item = (String, &'t Resource)> {
        let met = self.met.into_iter().enumerate();
        met.map(|(index, resource)| (key(index), resource))
    }

    fn index_of_print(&mut self, resource: &'t Resource) -> usize {
        let next = self.met.len();
        let index = *self.by_print.entry(format!("{resource:?}")).or_insert(next);
        if index == next {
            self.met.push(resource);
        }
        index
    }
}

fn key(index: usize) -> String {
    format!("p{}", index + 1)
}
