//! The live instances of one service, as the last answer of the collector has them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;

use super::Instance;

/// The live instances of a service and their changes; it ends with the registration of the process.
#[derive(Debug, Clone)]
pub struct Instances {
    current: watch::Receiver<Arc<[Instance]>>,
    /// What [`next`](Self::next) has returned, by id.
    returned: BTreeMap<String, Instance>,
    pending: VecDeque<Change>,
}

/// A change of the instances, in the form that balancers use, such as tower's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An instance is new, or has another address or other metadata.
    Insert(Instance),
    /// The instance with this id is gone, or takes no requests.
    Remove(String),
}

impl Instances {
    pub(super) fn new(current: watch::Receiver<Arc<[Instance]>>) -> Self {
        Self {
            current,
            returned: BTreeMap::new(),
            pending: VecDeque::new(),
        }
    }

    /// Returns the instances that take requests. While the collector is unreachable, they are the last known ones.
    pub fn current(&self) -> Arc<[Instance]> {
        self.current.borrow().clone()
    }

    /// Waits for the next change, and returns it; first every instance that is known already. `None` once the process has
    /// left the registry. May be dropped and called again without losing a change.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Some(change);
            }
            let now = self.current.borrow_and_update().clone();
            self.compare(&now);
            if self.pending.is_empty() {
                self.current.changed().await.ok()?;
            }
        }
    }

    fn compare(&mut self, now: &[Instance]) {
        let is_gone = |id: &String| now.iter().all(|instance| instance.id != *id);
        let gone: Vec<_> = self
            .returned
            .keys()
            .filter(|id| is_gone(id))
            .cloned()
            .collect();
        for id in gone {
            self.returned.remove(&id);
            self.pending.push_back(Change::Remove(id));
        }
        for instance in now {
            let returned = self.returned.insert(instance.id.clone(), instance.clone());
            if returned.as_ref() != Some(instance) {
                self.pending.push_back(Change::Insert(instance.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: &str, port: u16) -> Instance {
        Instance {
            service: "review".to_owned(),
            id: id.to_owned(),
            address: format!("http://127.0.0.1:{port}"),
            metadata: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn changes_lead_from_one_list_to_the_next() {
        let (list, current) = watch::channel(Arc::from([instance("a", 1), instance("b", 1)]));
        let mut instances = Instances::new(current);
        let insert = |id, port| Some(Change::Insert(instance(id, port)));
        assert_eq!(instances.next().await, insert("a", 1));
        list.send_replace(Arc::from([instance("b", 2), instance("c", 1)]));
        assert_eq!(instances.next().await, insert("b", 1));
        let remove = Some(Change::Remove("a".to_owned()));
        assert_eq!(instances.next().await, remove);
        assert_eq!(instances.next().await, insert("b", 2));
        assert_eq!(instances.next().await, insert("c", 1));
        drop(list);
        assert_eq!(instances.next().await, None);
        assert_eq!(instances.current().len(), 2);
    }
}
