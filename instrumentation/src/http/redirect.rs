//! Redirects of the traced client: builds the next request (RFC 9110, section 15.4) without the headers that must not
//! be sent to another origin.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

/// Headers that only the first origin may receive; reqwest's list.
const CREDENTIALS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
    header::WWW_AUTHENTICATE,
];

/// The parts of a sent request that a redirect needs.
pub(super) struct Hop {
    method: Method,
    url: reqwest::Url,
    headers: HeaderMap,
    timeout: Option<Duration>,
    /// The whole request, unless its body can be sent only once.
    again: Option<reqwest::Request>,
}

impl Hop {
    pub(super) fn of(request: &reqwest::Request) -> Self {
        Self {
            method: request.method().clone(),
            url: request.url().clone(),
            headers: request.headers().clone(),
            timeout: request.timeout().copied(),
            again: request.try_clone(),
        }
    }

    /// Returns the request to which the response redirects. Returns `None` if there is no redirect, if it does not lead
    /// to an http URL, or if it would need a body that is no longer available.
    pub(super) fn follow(self, response: &reqwest::Response) -> Option<reqwest::Request> {
        let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
        let url = self.url.join(location).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        match response.status() {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if self.method == Method::POST => {
                Some(self.without_body(Method::GET, url))
            }
            StatusCode::SEE_OTHER if self.method != Method::HEAD => {
                Some(self.without_body(Method::GET, url))
            }
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => {
                let mut again = self.again?;
                *again.url_mut() = url;
                Some(again)
            }
            _ => None,
        }
    }

    fn without_body(self, method: Method, url: reqwest::Url) -> reqwest::Request {
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = self.headers;
        *request.timeout_mut() = self.timeout;
        let of_body = [
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::TRANSFER_ENCODING,
        ];
        for name in of_body {
            request.headers_mut().remove(name);
        }
        request
    }
}

pub(super) fn remove_credentials(headers: &mut HeaderMap) {
    for name in CREDENTIALS {
        headers.remove(name);
    }
    headers.remove("cookie2");
    headers.remove(header::HOST);
}
