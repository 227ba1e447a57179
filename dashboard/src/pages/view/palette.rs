//! One colour per service, the same on every page while the process runs.

use std::collections::HashMap;
use std::sync::Arc;

use fusebox_collector::sync::Mutex;

use crate::pages::hash::fnv1a;

/// Number of colours (`.s0` to `.s11` in the style sheet).
const COLOURS: usize = 12;
/// Most services whose colour is remembered; others get the colour of their name's hash. About 1 MiB.
const SERVICES_MAX: usize = 10_000;

const CLASSES: [&str; COLOURS] = [
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
];

/// The colours that services have been given so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Palette(Arc<Mutex<Given>>);

#[derive(Debug, Default)]
struct Given {
    slots: HashMap<String, usize>,
    /// How many services have each colour.
    used: [usize; COLOURS],
}

impl Palette {
    /// Assigns colours to services without one. Colours are assigned in the order of names, so that the same services
    /// get the same colours whichever page shows them first.
    pub(crate) fn give<'a>(&self, services: impl IntoIterator<Item = &'a str>) {
        let mut given = self.0.lock();
        let mut new: Vec<&str> = services
            .into_iter()
            .filter(|service| !given.slots.contains_key(*service))
            .collect();
        new.sort_unstable();
        new.dedup();
        new.into_iter().for_each(|service| given.add(service));
    }

    pub(crate) fn class(&self, service: &str) -> &'static str {
        let given = self.0.lock();
        let slot = given.slots.get(service).copied();
        CLASSES[slot.unwrap_or_else(|| favourite(service))]
    }
}

impl Given {
    /// Assigns a service the colour of its name's hash, or the next one with the fewest services.
    fn add(&mut self, service: &str) {
        if self.slots.len() >= SERVICES_MAX {
            return;
        }
        let first = favourite(service);
        let by_distance = (0..COLOURS).map(|step| (first + step) % COLOURS);
        let slot = by_distance
            .min_by_key(|slot| self.used[*slot])
            .unwrap_or(first);
        self.used[slot] += 1;
        self.slots.insert(service.to_owned(), slot);
    }
}

fn favourite(service: &str) -> usize {
    (fnv1a(service.as_bytes()) % COLOURS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_keeps_its_colour_and_twelve_services_have_twelve() {
        let palette = Palette::default();
        palette.give(["gateway", "review"]);
        let gateway = palette.class("gateway");
        let names: Vec<String> = (0..10).map(|n| format!("service-{n}")).collect();
        palette.give(names.iter().map(String::as_str));
        palette.give(["review", "gateway"]);
        assert_eq!(palette.class("gateway"), gateway);
        let all = names
            .iter()
            .map(String::as_str)
            .chain(["gateway", "review"]);
        let classes: std::collections::HashSet<_> = all.map(|name| palette.class(name)).collect();
        assert_eq!(classes.len(), COLOURS);
    }

    #[test]
    fn names_from_outside_fill_no_memory() {
        let palette = Palette::default();
        let names: Vec<String> = (0..SERVICES_MAX + 5).map(|n| n.to_string()).collect();
        palette.give(names.iter().map(String::as_str));
        assert_eq!(palette.0.lock().slots.len(), SERVICES_MAX);
        assert!(palette.class("unknown").starts_with('s'));
    }
}
