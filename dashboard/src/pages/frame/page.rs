//! The common frame of every page, and its rendering as a response.

use askama::Template;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use fusebox_collector::query::Missing;

use super::missing::MissingLine;
use super::preferences::Preferences;
use super::{asked, assets, headers};
use crate::pages::view::text;
use crate::pages::words::Language;

/// A page ready to be sent.
#[derive(Debug)]
pub(crate) struct Page<T: Template>(pub(crate) T);

/// Renders a template without the line breaks and indentation that exist only for the template's source.
///
/// A line break between two tags is layout; a visible blank must be on the same line in the template. Text from outside
/// is never changed: its `<` and `>` are escaped, so it cannot be between two tags.
pub(crate) fn draw(template: &impl Template) -> askama::Result<String> {
    let html = template.render()?;
    let mut compact = String::with_capacity(html.len());
    let mut rest = html.as_str();
    while let Some(at) = rest.find('\n') {
        let before = rest[..at].trim_ascii_end();
        let after = rest[at..].trim_ascii_start();
        if before.ends_with('>') && after.starts_with('<') {
            compact.push_str(before);
            rest = after;
        } else {
            compact.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
        }
    }
    compact.push_str(rest);
    Ok(compact)
}

impl<T: Template> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        match draw(&self.0) {
            Ok(html) => Html(html).into_response(),
            Err(error) => render_failed(&error),
        }
    }
}

/// Answers when even a template cannot be rendered.
pub(crate) fn render_failed(error: &askama::Error) -> Response {
    tracing::error!(%error, "could not render a page");
    let words = t!("could not render this page; see the collector's log");
    (StatusCode::INTERNAL_SERVER_ERROR, words).into_response()
}

/// The entries of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// The wall and each circuit.
    Circuits,
    /// The search and each trace.
    Traces,
    /// The log records.
    Logs,
    /// The list of services and each service.
    Services,
    /// The processes of the services.
    Instances,
    /// The map.
    Map,
    /// Who changed which circuit.
    Changes,
    /// The page about this process.
    About,
    /// An additional entry, by its path.
    Added(&'static str),
    /// No entry: an error page.
    None,
}

impl Section {
    /// The sections that always exist.
    const USUAL: [Self; 8] = [
        Self::Circuits,
        Self::Traces,
        Self::Logs,
        Self::Services,
        Self::Instances,
        Self::Map,
        Self::Changes,
        Self::About,
    ];

    fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::Circuits => ("/", t!("Circuits")),
            Self::Traces => ("/traces", t!("Traces")),
            Self::Logs => ("/logs", t!("Logs")),
            Self::Services => ("/services", t!("Services")),
            Self::Instances => ("/instances", t!("Instances")),
            Self::Map => ("/map", t!("Map")),
            Self::Changes => ("/changes", t!("Changes")),
            Self::About => ("/about", t!("About")),
            Self::Added(path) => (path, ""),
            Self::None => ("", ""),
        }
    }
}

/// The frame: title, navigation, jump box and pill.
#[derive(Debug, Clone)]
pub(crate) struct Chrome {
    /// Text of the title.
    pub(crate) title: String,
    /// Which entry of the navigation is current.
    pub(crate) section: Section,
    /// Scripts of the page, in addition to the one of every page.
    pub(crate) scripts: &'static [&'static str],
    /// The pill at the right of the bar.
    pub(crate) pill: Pill,
    /// What is missing from the page.
    pub(crate) missing: Option<MissingLine>,
}

/// The indicator at the right of the bar.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Pill {
    /// No indicator: the page is static.
    #[default]
    None,
    /// The page is live; the link goes to the same page at the current time.
    Live(String),
    /// The page shows the past; the link goes back to now.
    Paused(String),
}

impl Chrome {
    pub(crate) fn new(section: Section, title: &str) -> Self {
        Self {
            title: text::name(title).into_owned(),
            section,
            scripts: &[],
            pill: Pill::None,
            missing: None,
        }
    }

    /// Notes what is missing from the page, if anything is.
    pub(crate) fn lacking(mut self, missing: Option<&Missing>, now: u64) -> Self {
        self.missing = missing.map(|missing| MissingLine::new(missing, now));
        self
    }

    pub(crate) fn scripts(mut self, names: &'static [&'static str]) -> Self {
        self.scripts = names;
        self
    }

    pub(crate) fn pill(mut self, pill: Pill) -> Self {
        self.pill = pill;
        self
    }

    /// Returns the link from a live page to the same page at this moment.
    pub(crate) fn pause_href(&self) -> Option<&str> {
        match &self.pill {
            Pill::Live(href) => Some(href),
            Pill::Paused(_) | Pill::None => None,
        }
    }

    /// Returns the link from a page of the past to now.
    pub(crate) fn now_href(&self) -> Option<&str> {
        match &self.pill {
            Pill::Paused(href) => Some(href),
            Pill::Live(_) | Pill::None => None,
        }
    }

    pub(crate) fn theme(&self) -> &'static str {
        Preferences::current().theme.word()
    }

    /// Returns the viewer's time zone; empty for that of the browser.
    pub(crate) fn zone(&self) -> String {
        Preferences::current().zone
    }

    pub(crate) fn language(&self) -> &'static str {
        Language::current().tag()
    }

    /// Returns the file with the words of scripts, where they are not those of the scripts themselves.
    pub(crate) fn words(&self) -> Option<String> {
        assets::words(Language::current())
    }

    pub(crate) fn asset(&self, name: &str) -> String {
        assets::url(name)
    }

    /// Returns the entries of the navigation: path, word, whether it is current.
    pub(crate) fn nav(&self) -> Vec<(&'static str, &'static str, bool)> {
        let (current, _) = self.section.entry();
        let added = MORE_NAV.try_with(|more| *more).unwrap_or_default();
        let usual = Section::USUAL.into_iter().map(Section::entry);
        usual
            .chain(added.iter().map(|(path, word)| (*path, word())))
            .map(|(path, word)| (path, word, path == current))
            .collect()
    }
}

/// An entry of the navigation: path, and its word in the language of the page.
pub type NavEntry = (&'static str, fn() -> &'static str);

tokio::task_local! {
    /// Additional entries of the navigation for the current request: every page has the frame, and only the page behind
    /// the entry needs to know of it.
    static MORE_NAV: &'static [NavEntry];
}

/// Puts routes into the frame of all pages: headers, the viewer's preferences, and additional entries at the end of the
/// navigation.
pub(crate) fn framed<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    more: &'static [NavEntry],
) -> Router<S> {
    let scope = move |request: Request, next: Next| {
        let preferences = Preferences::of(request.headers());
        let language = preferences.language;
        let accepted = request.headers().clone();
        let answer = async move {
            let answer = next.run(request).await;
            headers::add(asked::as_asked(&accepted, answer))
        };
        MORE_NAV.scope(more, language.scope(preferences.scope(answer)))
    };
    routes.layer(from_fn(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Template)]
    #[template(
        source = "<dl>\n  <dt>\n    <b>a</b> <i>b</i>\n  </dt>\n  <dd><pre>{{ text }}</pre>\n    words\n    <a>c</a></dd>\n</dl>\n",
        ext = "html"
    )]
    struct Sample {
        text: &'static str,
    }

    /// *Guarantees*: whitespace that is only the template's layout is removed, and nothing visible is.
    #[test]
    fn line_breaks_between_tags_are_dropped_and_text_is_kept() {
        let text = "at <a>\n\n  <b>\n\tat c\n";
        let html = draw(&Sample { text }).unwrap();
        assert_eq!(
            html,
            "<dl><dt><b>a</b> <i>b</i></dt><dd><pre>at &#60;a&#62;\n\n  &#60;b&#62;\n\tat c\n</pre>\n    words\n    \
             <a>c</a></dd></dl>\n"
        );
    }
}
