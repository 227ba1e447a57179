//! The static files of the pages: built into the binary, named by their content, cached forever.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::pages::hash::fnv1a;
use crate::pages::words::{self, Language};

/// A file built into the binary.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    hash: u64,
}

const fn asset(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
    let hash = fnv1a(bytes);
    Asset {
        name,
        content_type,
        bytes,
        hash,
    }
}

const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

static ASSETS: [Asset; 11] = [
    asset(
        "fusebox.css",
        "text/css; charset=utf-8",
        include_bytes!("../../../assets/fusebox.css"),
    ),
    asset("page.js", JS, include_bytes!("../../../assets/page.js")),
    asset("wall.js", JS, include_bytes!("../../../assets/wall.js")),
    asset("chart.js", JS, include_bytes!("../../../assets/chart.js")),
    asset("copy.js", JS, include_bytes!("../../../assets/copy.js")),
    asset("map.js", JS, include_bytes!("../../../assets/map.js")),
    asset("trace.js", JS, include_bytes!("../../../assets/trace.js")),
    asset("traces.js", JS, include_bytes!("../../../assets/traces.js")),
    asset("upload.js", JS, include_bytes!("../../../assets/upload.js")),
    asset("icon.svg", SVG, include_bytes!("../../../assets/icon.svg")),
    // The icon for pages that know of an open circuit.
    asset(
        "icon-open.svg",
        SVG,
        include_bytes!("../../../assets/icon-open.svg"),
    ),
];

/// The Korean texts of the scripts; the English ones are in the scripts.
static KOREAN: LazyLock<Asset> = LazyLock::new(|| {
    let words = words::of_scripts(Language::Korean);
    asset("words-ko.js", JS, words.leak().as_bytes())
});

/// Returns the URL of the scripts' texts in a language; `None` for the language of the scripts themselves.
pub(crate) fn words(language: Language) -> Option<String> {
    match language {
        Language::English => None,
        Language::Korean => Some(format!("/assets/{:016x}/{}", KOREAN.hash, KOREAN.name)),
    }
}

/// Returns the URL of a file; an unknown name gets a URL without a file.
pub(crate) fn url(name: &str) -> String {
    let hash = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .map_or(0, |asset| asset.hash);
    format!("/assets/{hash:016x}/{name}")
}

/// Returns the file at a URL, if there is one. It never changes, because other content has another URL.
pub(crate) fn find(hash: &str, name: &str) -> Option<Response> {
    let asset = ASSETS
        .iter()
        .chain([&*KOREAN])
        .find(|asset| asset.name == name && format!("{:016x}", asset.hash) == hash)?;
    let headers = [
        (CONTENT_TYPE, asset.content_type),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Some((headers, asset.bytes).into_response())
}
