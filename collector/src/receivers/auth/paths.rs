//! The roles that a request on the web listener needs, by its method and path.

use http::Method;

use super::tokens::{Role, Roles};

/// The one path of the web listener that needs no token: health probes send none, and get only the status.
pub(super) const OPEN_PATH: &str = "/healthz";

/// Paths that the role `operate` alone may see: the collector's state, and the assets of its pages.
const OPERATORS_PATHS: [&str; 5] = [OPEN_PATH, "/metrics", "/about", "/demo", "/assets/"];

/// Requests that are sent by POST and only read: gRPC calls, and files to show in Jaeger's form.
const READING_CALLS: [&str; 2] = ["/tempopb.StreamingQuerier/", "/jaeger/api/transform"];

/// Path below which services register by Eureka's API and find each other.
const EUREKA_PATH: &str = "/eureka/";

/// Path at which clients of Spring Boot Admin register; they end their registration one level below.
const ADMIN_PATH: &str = "/instances";

/// The path of changes allowed to every viewer: they only set cookies of the viewer's own browser.
pub(super) const VIEWERS_PATH: &str = "/preferences";

/// Returns the roles of which one is needed for a request.
pub(super) fn needed(method: &Method, path: &str) -> Roles {
    let is_operators = is_below(path, &OPERATORS_PATHS);
    match is_read(method, path) {
        // As over the connection of the library's telemetry.
        true if path.starts_with(EUREKA_PATH) => Roles::of(&[Role::Read, Role::Send]),
        true if is_operators => Roles::of(&[Role::Read, Role::Operate]),
        true => Roles::of(&[Role::Read]),
        false if registers(method, path) => Roles::of(&[Role::Send]),
        false if path == VIEWERS_PATH => Roles::of(&[Role::Read, Role::Operate]),
        false => Roles::of(&[Role::Operate]),
    }
}

/// Returns whether a change is one that services make about themselves, as they send everything else. A status that is
/// set from outside is not: it takes an instance away from its clients, which is for operators.
pub(super) fn registers(method: &Method, path: &str) -> bool {
    if let Some(id) = path.strip_prefix(ADMIN_PATH) {
        return match id.strip_prefix('/') {
            None => id.is_empty() && *method == Method::POST,
            Some(id) => *method == Method::DELETE && !id.contains('/'),
        };
    }
    let Some(path) = path.strip_prefix(EUREKA_PATH) else {
        return false;
    };
    let mut parts = path.strip_prefix("v2/").unwrap_or(path).split('/');
    // `apps/{app}/{id}/status`
    let ends = (parts.next(), parts.nth(2), parts.next());
    ends != (Some("apps"), Some("status"), None)
}

fn is_below(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

pub(super) fn is_read(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) || is_below(path, &READING_CALLS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_may_not_change_anything() {
        let meets = |role, method, path| Roles::of(&[role]).meet(needed(&method, path));
        assert!(meets(Role::Read, Method::GET, "/api/traces"));
        assert!(meets(Role::Read, Method::HEAD, "/metrics"));
        assert!(!meets(Role::Read, Method::POST, "/demo/faults"));
        assert!(meets(Role::Read, Method::POST, "/preferences"));
        let call = "/tempopb.StreamingQuerier/Search";
        assert!(meets(Role::Read, Method::POST, call) && !meets(Role::Send, Method::POST, call));
        assert!(!meets(Role::Send, Method::POST, "/preferences"));
        assert!(meets(Role::Send, Method::POST, "/eureka/apps/SHOP"));
        assert!(!meets(Role::Read, Method::DELETE, "/eureka/apps/SHOP/a"));
        assert!(!meets(Role::Operate, Method::PUT, "/eureka/apps/SHOP/a"));
        assert!(meets(Role::Read, Method::GET, "/eureka/apps"));
        assert!(meets(Role::Send, Method::POST, "/instances"));
        assert!(meets(Role::Send, Method::DELETE, "/instances/0123456789ab"));
        for (method, path) in [
            (Method::POST, "/instances/shop/a/status"),
            (Method::POST, "/instances/shop"),
            (Method::DELETE, "/instances/shop/a"),
            (Method::PUT, "/instances"),
        ] {
            assert!(!meets(Role::Send, method.clone(), path), "{path}");
            assert!(meets(Role::Operate, method, path), "{path}");
        }
        assert!(!meets(Role::Operate, Method::POST, "/instances"));
        assert!(!meets(Role::Read, Method::POST, "/instances"));
        assert!(meets(Role::Send, Method::GET, "/eureka/apps"));
        assert!(meets(Role::Send, Method::PUT, "/eureka/apps/SHOP/status"));
        for path in ["/eureka/apps/SHOP/a/status", "/eureka/v2/apps/v2/a/status"] {
            assert!(meets(Role::Operate, Method::PUT, path), "{path}");
            assert!(!meets(Role::Send, Method::DELETE, path), "{path}");
        }
        assert!(meets(Role::Operate, Method::POST, "/demo/faults"));
        assert!(meets(Role::Operate, Method::GET, "/metrics"));
        assert!(!meets(Role::Operate, Method::GET, "/api/traces"));
        assert!(!meets(Role::Send, Method::GET, "/healthz"));
    }
}
