//! The name of a breaker or a policy. Cloning must be cheap for refused calls, so it does not write a shared reference
//! count as an `Arc<str>` would.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use crate::sync::StaticMutex;

/// Limit of names interned for the life of the process. Further names are reference-counted: slower, but not leaked.
const MAX_INTERNED: usize = 65_536;

/// Longest name of a registered breaker or policy; it is sent with every sample, every second.
pub const MAX_NAME_BYTES: usize = 256;

static INTERNED: StaticMutex<BTreeSet<&'static str>> = StaticMutex::new(BTreeSet::new());

/// The name of a breaker or a policy, or the group of a breaker; dereferences to `str`.
#[derive(Clone)]
pub struct Name(Repr);

#[derive(Clone)]
enum Repr {
    Interned(&'static str),
    Counted(Arc<str>),
}

impl Name {
    /// Interns `text` for the life of the process while there is room.
    pub(crate) fn intern(text: &str) -> Self {
        let mut interned = INTERNED.lock();
        if let Some(known) = interned.get(text) {
            return Self(Repr::Interned(known));
        }
        if interned.len() >= MAX_INTERNED || text.len() > MAX_NAME_BYTES {
            return Self::counted(text);
        }
        let kept: &'static str = Box::leak(Box::from(text));
        interned.insert(kept);
        Self(Repr::Interned(kept))
    }

    /// Stores `text` in a reference-counted name, for as long as it is used.
    pub(crate) fn counted(text: &str) -> Self {
        Self(Repr::Counted(Arc::from(text)))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Interned(text) => text,
            Repr::Counted(text) => text,
        }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// Replaces the end of a text that is too long by a hash of the whole.
pub(crate) fn shortened(text: String) -> String {
    if text.len() <= MAX_NAME_BYTES {
        return text;
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    let number = format!("~{:016x}", hasher.finish());
    let mut end = MAX_NAME_BYTES - number.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{number}", &text[..end])
}
