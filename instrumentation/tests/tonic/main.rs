//! A breaker around a real tonic client, and traces around its real server: statuses in headers and in trailers.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut};
use fusebox::circuit_breaker::layer::{CircuitBreakerLayer, CircuitBreakerService, HttpStatus};
use fusebox::circuit_breaker::{CircuitBreaker, EffectiveState, Registry, Settings};
use fusebox::http::server::TraceLayer;
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tower::{Layer, Service, service_fn};

/// Encodes messages as plain text.
#[derive(Debug, Clone, Copy)]
struct Texts;

impl Codec for Texts {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Texts {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Texts {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some).map_err(|_| Status::internal("no text"))
    }
}

/// Answers every method with the status that the request names.
#[derive(Debug, Clone, Default)]
struct Stock {
    asked: Arc<AtomicUsize>,
}

impl Service<http::Request<Body>> for Stock {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.asked.fetch_add(1, Relaxed);
        let answer = service_fn(|request: Request<String>| async move {
            match request.into_inner().as_str() {
                "unavailable" => Err(Status::new(Code::Unavailable, "the disk is full")),
                "missing" => Err(Status::new(Code::NotFound, "no such product")),
                product => Ok(Response::new(format!("{product}: 7"))),
            }
        });
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Texts);
            Ok(grpc.unary(answer, request).await)
        })
    }
}

type Client = tonic::client::Grpc<CircuitBreakerService<Channel, HttpStatus>>;

/// Serves the stock behind a layer of this crate, and returns a client with the breaker around its channel.
async fn connected(
    stock: &Stock,
    breaker: &CircuitBreaker,
) -> Result<Client, Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let server = Server::builder().layer(TraceLayer::new());
    let serving = server.serve_with_incoming(stock.clone(), TcpIncoming::from(listener));
    tokio::spawn(serving);
    let channel = Endpoint::from_shared(url)?.connect().await?;
    let layer = CircuitBreakerLayer::new(breaker.clone());
    Ok(tonic::client::Grpc::new(layer.layer(channel)))
}

async fn ask(client: &mut Client, what: &str) -> Result<String, Status> {
    client
        .ready()
        .await
        .map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static("/stock.Stock/Get");
    let answer = client
        .unary(Request::new(what.to_owned()), path, Texts)
        .await?;
    Ok(answer.into_inner())
}

/// Scenario: calls succeed, request a missing item, and find the target unavailable until the breaker opens.
/// Guarantees: a call counts by its status, whether that is in the headers or after the message; a refused call does
/// not reach the server, and its caller gets the reason.
#[tokio::test]
async fn calls_of_tonic_count_by_their_status() {
    let settings = Settings {
        minimum_calls: 20,
        ..Settings::default()
    };
    let builder = CircuitBreaker::builder("stock").registry(&Registry::new());
    let breaker = builder.settings(settings).build();
    let stock = Stock::default();
    let mut client = connected(&stock, &breaker).await.unwrap();
    for _ in 0..8 {
        assert_eq!(ask(&mut client, "tea").await.unwrap(), "tea: 7");
    }
    for _ in 0..5 {
        let missing = ask(&mut client, "missing").await.unwrap_err();
        assert_eq!(missing.code(), Code::NotFound);
    }
    assert_eq!(breaker.state(), EffectiveState::Closed);
    for _ in 0..12 {
        let down = ask(&mut client, "unavailable").await.unwrap_err();
        assert_eq!(down.code(), Code::Unavailable);
    }
    assert_eq!(breaker.state(), EffectiveState::Open);
    let calls = breaker.snapshot().calls;
    assert_eq!((calls.success, calls.ignored, calls.failure), (8, 5, 12));
    let asked = stock.asked.load(Relaxed);
    let refused = ask(&mut client, "tea").await.unwrap_err();
    assert!(refused.message().contains("stock"), "{refused:?}");
    assert_eq!((asked, stock.asked.load(Relaxed)), (25, 25));
    assert_eq!(breaker.snapshot().calls.rejected, 1);
}
