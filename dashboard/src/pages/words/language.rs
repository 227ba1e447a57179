//! The languages of the pages, and their selection: the language chosen in this browser, else the first that the
//! browser accepts, else English.

/// A language of the pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Language {
    /// English.
    #[default]
    English,
    /// Korean.
    Korean,
}

tokio::task_local! {
    /// The language of the current page: code that needs a word reads it, so it need not be passed on.
    static LANGUAGE: Language;
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::English, Self::Korean];

    /// Returns its tag (BCP 47).
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    /// Returns its name in the language itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Korean => "한국어",
        }
    }

    /// Parses a tag; only its first part counts (`en` of `en-GB`).
    pub(crate) fn parse(tag: &str) -> Option<Self> {
        let first = tag.split(['-', '_']).next().unwrap_or_default();
        let mut all = Self::ALL.into_iter();
        all.find(|language| language.tag().eq_ignore_ascii_case(first.trim()))
    }

    /// Returns the preferred supported language of an `Accept-Language` header (RFC 9110, 12.5.4).
    pub(crate) fn accepted(header: &str) -> Option<Self> {
        let mut best: Option<(Self, f32)> = None;
        for part in header.split(',').take(ACCEPTED_MAX) {
            let (tag, weight) = part.split_once(';').unwrap_or((part, ""));
            let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
            let weight: f32 = weight.trim().parse().unwrap_or(0.0);
            let wants_more = best.is_none_or(|(_, most)| weight > most);
            if let Some(language) = Self::parse(tag).filter(|_| weight > 0.0 && wants_more) {
                best = Some((language, weight));
            }
        }
        best.map(|(language, _)| language)
    }

    /// Returns the language of the current page.
    pub(crate) fn current() -> Self {
        LANGUAGE.try_with(|language| *language).unwrap_or_default()
    }

    /// Draws something in this language.
    pub(crate) fn within<T>(self, draw: impl FnOnce() -> T) -> T {
        LANGUAGE.sync_scope(self, draw)
    }

    /// Runs a request handler in this language.
    pub(crate) async fn scope<T>(self, answer: impl Future<Output = T>) -> T {
        LANGUAGE.scope(self, answer).await
    }

    /// Runs work on another thread in the language of the current page.
    pub(crate) fn carried<T>(draw: impl FnOnce() -> T) -> impl FnOnce() -> T {
        let language = Self::current();
        move || language.within(draw)
    }
}

/// Most languages of a header that are parsed; browsers send a handful.
const ACCEPTED_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_wanted_most_is_taken() {
        for (header, language) in [
            ("ko", Some(Language::Korean)),
            ("KO-kr,en;q=0.9", Some(Language::Korean)),
            ("en-GB, ko;q=0.8", Some(Language::English)),
            ("fr, ko;q=0.5, en;q=0.7", Some(Language::English)),
            ("ko;q=0, en", Some(Language::English)),
            ("ko;q=x", None),
            ("kok, de", None),
            ("", None),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
    }

    #[tokio::test]
    async fn another_thread_draws_in_the_language_of_the_page() {
        let drawn = Language::Korean.scope(async {
            let draw = Language::carried(Language::current);
            tokio::task::spawn_blocking(draw).await.expect("it ends")
        });
        assert_eq!(drawn.await, Language::Korean);
        assert_eq!(Language::current(), Language::English);
    }
}
