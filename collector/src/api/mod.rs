//! Our own JSON API and event stream, `/healthz` and `/metrics`.
