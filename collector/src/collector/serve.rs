//! The three listeners: bound together, served together.

use std::sync::Arc;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::CollectorError;
use crate::api::prefix;
use crate::config::CollectorConfig;
use crate::receivers::{
    HttpReceiver, Intake, ListenAddr, Listener, OtlpGrpc, ServeOptions, routes,
};

#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) web: Listener,
    pub(super) otlp_grpc: Listener,
    pub(super) otlp_http: Listener,
}

impl Listeners {
    pub(super) async fn bind(config: &CollectorConfig) -> Result<Self, CollectorError> {
        Ok(Self {
            web: listen("web", config.web_addr).await?,
            otlp_grpc: listen("OTLP gRPC", config.otlp_grpc_addr).await?,
            otlp_http: listen("OTLP HTTP", config.otlp_http_addr).await?,
        })
    }

    /// Starts one server per listener; `web` is extended by the routes of messages, and guarded by tokens.
    pub(super) fn serve(
        self,
        options: &ServeOptions,
        intake: Intake,
        web: Router,
        path_prefix: Option<&str>,
    ) -> JoinSet<()> {
        let mut servers = JoinSet::new();
        // Messages are authorised by the intake, which answers, discards and counts what it rejects. Merged
        // in this order, so that the fallback is the guarded one.
        let web = routes(intake.clone()).merge(intake.auth.guard(web));
        let grpc = OtlpGrpc::new(intake.clone());
        servers.spawn(
            self.otlp_grpc
                .serve(options.clone(), move |request| grpc.clone().serve(request)),
        );
        let http = HttpReceiver::new(intake);
        servers.spawn(
            self.otlp_http
                .serve(options.clone(), move |request| http.clone().serve(request)),
        );
        let path_prefix: Option<Arc<str>> = path_prefix.map(Arc::from);
        servers.spawn(
            self.web
                .serve(options.clone(), move |mut request: Request<Incoming>| {
                    prefix::strip(&mut request, path_prefix.as_deref());
                    web.clone().oneshot(request)
                }),
        );
        servers
    }
}

async fn listen(listener: &'static str, addr: ListenAddr) -> Result<Listener, CollectorError> {
    Listener::bind(listener, addr)
        .await
        .map_err(|source| CollectorError::Bind {
            listener,
            addr,
            source,
        })
}
