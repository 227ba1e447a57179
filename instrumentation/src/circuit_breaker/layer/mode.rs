//! What a layer of the breaker is around: a service of HTTP, or one of any kind.

/// Marks a layer around a service of HTTP, whose calls end with the body of the response.
#[derive(Debug, Clone, Copy)]
pub enum HttpResponses {}

/// Marks a layer around a service of any kind, whose calls end with its response.
#[derive(Debug, Clone, Copy)]
pub enum AnyResponses {}
