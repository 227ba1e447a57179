//! The viewer's preferences, stored in cookies: theme, time zone and language. Every page's frame contains them for the
//! style sheet and the script. Without JavaScript times are UTC in any zone.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE};

use crate::pages::words::Language;

/// The cookie of the theme.
pub(crate) const THEME_COOKIE: &str = "fusebox_theme";
/// The cookie of the time zone.
pub(crate) const ZONE_COOKIE: &str = "fusebox_zone";
/// The cookie of the language.
pub(crate) const LANGUAGE_COOKIE: &str = "fusebox_language";
/// Most bytes of cookies that are parsed, which is also the limit of browsers for one cookie.
const COOKIES_BYTES_MAX: usize = 4 << 10;
/// The longest name of a time zone has 32 characters.
const ZONE_BYTES_MAX: usize = 40;

/// The colours of the pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Those of the system.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    pub(crate) const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// Returns its value in the cookie and in the page.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.word() == word)
    }
}

/// The preferences of a viewer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// The colours.
    pub(crate) theme: Theme,
    /// The name of a time zone (IANA); empty for that of the browser.
    pub(crate) zone: String,
    /// The language: the one chosen, else that of the browser.
    pub(crate) language: Language,
    /// Whether the language was chosen.
    pub(crate) is_language_chosen: bool,
}

tokio::task_local! {
    /// The preferences for the current page: every page has the frame, and none needs to pass them on.
    static PREFERENCES: Preferences;
}

impl Preferences {
    /// Reads the cookies of a request; invalid values count as absent.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let value = |name| cookie(headers, name);
        let theme = value(THEME_COOKIE).and_then(Theme::parse);
        let zone = value(ZONE_COOKIE).filter(|zone| is_zone(zone));
        let chosen = value(LANGUAGE_COOKIE).and_then(Language::parse);
        let accepted = headers.get(ACCEPT_LANGUAGE);
        let accepted = || Language::accepted(accepted?.to_str().ok()?);
        Self {
            language: chosen.or_else(accepted).unwrap_or_default(),
            is_language_chosen: chosen.is_some(),
            theme: theme.unwrap_or_default(),
            zone: zone.unwrap_or_default().to_owned(),
        }
    }

    /// Returns the preferences for the current page.
    pub(crate) fn current() -> Self {
        PREFERENCES.try_with(Self::clone).unwrap_or_default()
    }

    /// Runs a request handler with these preferences.
    pub(crate) async fn scope<T>(self, answer: impl Future<Output = T>) -> T {
        PREFERENCES.scope(self, answer).await
    }
}

/// Returns whether a text may be the name of a time zone; the browser knows whether the zone exists.
pub(crate) fn is_zone(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    text.len() <= ZONE_BYTES_MAX && text.chars().all(is_name)
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = headers.get_all(COOKIE).iter();
    let mut cookies = cookies
        .filter_map(|value| value.to_str().ok())
        .filter(|value| value.len() <= COOKIES_BYTES_MAX)
        .flat_map(|value| value.split(';'));
    cookies.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cookies: &[&'static str]) -> Preferences {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, cookie.parse().expect("a header"));
        }
        Preferences::of(&headers)
    }

    #[test]
    fn preferences_are_read_from_cookies() {
        let read = of(&["other=1; fusebox_theme=dark", "fusebox_zone=Asia/Seoul"]);
        assert_eq!(
            (read.theme, read.zone.as_str()),
            (Theme::Dark, "Asia/Seoul")
        );
        assert_eq!(of(&[]), Preferences::default());
    }

    #[test]
    fn what_is_no_preference_counts_as_none() {
        for cookie in [
            "fusebox_theme=blue; fusebox_zone=<b>",
            "fusebox_zone=\"UTC\"; xfusebox_theme=dark",
            "fusebox_themes=dark; fusebox_zone=Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(of(&[cookie]), Preferences::default(), "{cookie}");
        }
    }
}
