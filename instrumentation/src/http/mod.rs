//! Tower layers for HTTP servers and clients.
