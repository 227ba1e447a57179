//! One colour per service within a page, the same on every page where it can be.

use std::collections::HashMap;

use crate::pages::hash::fnv1a;

/// Colours there are (`.s0` to `.s11` in the style sheet).
const COLOURS: usize = 12;

/// Returns classes by service.
#[derive(Debug, Default)]
pub(crate) struct Palette(HashMap<String, &'static str>);

const CLASSES: [&str; COLOURS] = [
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
];

impl Palette {
    /// Gives each service its favourite colour, or the next free one; past twelve, colours repeat.
    pub(crate) fn of<'a>(services: impl IntoIterator<Item = &'a str>) -> Self {
        let mut palette = Self::default();
        let mut taken = [false; COLOURS];
        for service in services {
            if palette.0.contains_key(service) {
                continue;
            }
            let favourite = (fnv1a(service.as_bytes()) % COLOURS as u64) as usize;
            let free = (0..COLOURS).map(|step| (favourite + step) % COLOURS);
            let slot = free.clone().find(|slot| !taken[*slot]).unwrap_or(favourite);
            taken[slot] = true;
            palette.0.insert(service.to_owned(), CLASSES[slot]);
        }
        palette
    }

    /// Returns the class of a service.
    pub(crate) fn class(&self, service: &str) -> &'static str {
        self.0.get(service).copied().unwrap_or("s0")
    }
}
