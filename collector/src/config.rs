//! What a collector needs to know to start, validated once; flags and environment variables are read by the binary.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a collector.
#[derive(Debug, Clone)]
pub struct CollectorConfig {
    /// Where pages, query dialects and `/metrics` are served. Default `127.0.0.1:9411`.
    pub web_addr: SocketAddr,
    /// OTLP over gRPC. Default `127.0.0.1:4317`.
    pub otlp_grpc_addr: SocketAddr,
    /// OTLP over HTTP. Default `127.0.0.1:4318`.
    pub otlp_http_addr: SocketAddr,
    /// Where segments and series are kept.
    pub data_dir: PathBuf,
    /// Data older than this is deleted, whole segments at a time. Default one week.
    pub retention: Duration,
    /// Oldest segments are deleted beyond this, bytes. Default 20 GiB.
    pub disk_budget_bytes: u64,
    /// Ingest shards. Default: one per core.
    pub shards: usize,
    /// Request bytes that may wait for a shard. Default 64 MiB.
    pub queue_bytes: usize,
    /// Largest request body, before and after decompression. Default 64 MiB (OTLP 1.11, recommended).
    pub body_bytes_max: usize,
    /// Bearer token that senders and readers must show; `None` on loopback.
    pub token: Option<String>,
}

impl CollectorConfig {
    /// Returns the defaults with data kept in that directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            web_addr: SocketAddr::from(([127, 0, 0, 1], 9411)),
            otlp_grpc_addr: SocketAddr::from(([127, 0, 0, 1], 4317)),
            otlp_http_addr: SocketAddr::from(([127, 0, 0, 1], 4318)),
            data_dir: data_dir.into(),
            retention: Duration::from_secs(7 * 24 * 3600),
            disk_budget_bytes: 20 << 30,
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            queue_bytes: 64 << 20,
            body_bytes_max: 64 << 20,
            token: None,
        }
    }

    /// Returns settings for a test: every port chosen by the system, two shards.
    pub fn for_test(data_dir: impl Into<PathBuf>) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            web_addr: any,
            otlp_grpc_addr: any,
            otlp_http_addr: any,
            shards: 2,
            ..Self::new(data_dir)
        }
    }
}
