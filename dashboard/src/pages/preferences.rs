//! The page for choosing theme, time zone and language. They are stored only in cookies of the browser.

use askama::Template;
use axum::extract::{Form, State};
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use fusebox_collector::is_same_origin;
use serde::Deserialize;

use super::Pages;
use super::frame::error::PageError;
use super::frame::page::{Chrome, Page, Section};
use super::frame::params::Params;
use super::frame::preferences::{
    LANGUAGE_COOKIE, Preferences, THEME_COOKIE, Theme, ZONE_COOKIE, is_zone,
};
use super::words::Language;

/// Bytes of the form.
pub(crate) const FORM_BYTES_MAX: usize = 4 << 10;
/// How long a browser keeps the cookies, seconds: a year.
const KEPT_SECONDS: u32 = 365 * 24 * 3600;

/// The page.
#[derive(Debug, Template)]
#[template(path = "frame/preferences.html")]
pub(crate) struct PreferencesPage {
    chrome: Chrome,
    chosen: Preferences,
    saved: bool,
}

/// What was chosen.
#[derive(Debug, Deserialize)]
pub(crate) struct Chosen {
    #[serde(default)]
    theme: String,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    language: String,
}

/// Serves the page.
pub(crate) async fn show(State(_): State<Pages>, params: Params) -> Page<PreferencesPage> {
    Page(PreferencesPage::new(params.get("saved").is_some()))
}

/// Responds with the cookies of the chosen values.
pub(crate) async fn save(
    headers: HeaderMap,
    Form(chosen): Form<Chosen>,
) -> Result<Response, PageError> {
    if !is_same_origin(&headers) {
        return Err(PageError::Forbidden);
    }
    let theme = Theme::parse(&chosen.theme)
        .ok_or_else(|| PageError::Invalid(t!("theme: system, light or dark").to_owned()))?;
    let zone = chosen.zone.trim();
    if !is_zone(zone) {
        return Err(PageError::Invalid(
            t!("zone: the name of a time zone, such as UTC or Asia/Seoul").to_owned(),
        ));
    }
    let language = Language::parse(&chosen.language).map_or("", Language::tag);
    if language != chosen.language {
        return Err(PageError::Invalid(
            t!("language: en, ko, or none for that of the browser").to_owned(),
        ));
    }
    let cookie = |name, value: &str| {
        let kept = if value.is_empty() { 0 } else { KEPT_SECONDS };
        let cookie = format!("{name}={value}; Path=/; Max-Age={kept}; SameSite=Lax; HttpOnly");
        (SET_COOKIE, cookie)
    };
    let cookies = AppendHeaders([
        cookie(THEME_COOKIE, theme.word()),
        cookie(ZONE_COOKIE, zone),
        cookie(LANGUAGE_COOKIE, language),
    ]);
    Ok((cookies, Redirect::to("/preferences?saved=1")).into_response())
}

impl PreferencesPage {
    /// Returns the page; `saved` tells that values were just saved.
    pub(crate) fn new(saved: bool) -> Self {
        Self {
            chrome: Chrome::new(Section::None, t!("Preferences")),
            chosen: Preferences::current(),
            saved,
        }
    }

    /// Returns the languages: tag, name, whether it is selected.
    fn languages(&self) -> [(&'static str, &'static str, bool); 2] {
        Language::ALL.map(|language| {
            let is_chosen = self.chosen.is_language_chosen && language == self.chosen.language;
            (language.tag(), language.name(), is_chosen)
        })
    }

    /// Returns the themes: value, words, whether it is selected.
    fn themes(&self) -> [(&'static str, &'static str, bool); 3] {
        Theme::ALL.map(|theme| {
            let words = match theme {
                Theme::System => t!("as the system"),
                Theme::Light => t!("light"),
                Theme::Dark => t!("dark"),
            };
            (theme.word(), words, theme == self.chosen.theme)
        })
    }
}
