//! What connections get that are no ordinary HTTP.

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{CONNECTIONS_MAX, Receivers, request};
use crate::pipeline::testing::spans_request;

const TOKEN: &str = "s3cret-s3cret-s3cret";
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// Sends bytes and reads until the peer closes.
async fn exchange(addr: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _closed = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_tls_handshake_is_closed_and_counted() {
    let receivers = Receivers::start().await;
    for addr in [receivers.http, receivers.grpc] {
        let client_hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc];
        assert_eq!(exchange(addr, &client_hello).await, "");
    }
    assert_eq!(receivers.bench.counters.connections_refused.all()["tls"], 2);
    assert_eq!(receivers.bench.counters.connections_open.get(), 0);
}

#[tokio::test]
async fn an_offer_to_upgrade_is_answered_in_http_1() {
    let receivers = Receivers::start().await;
    let offer = b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n\
        content-length: 0\r\nconnection: close, upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    let answer = exchange(receivers.http, offer).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn http_1_on_the_grpc_port_is_shown_where_to_go() {
    let receivers = Receivers::start().await;
    let post =
        b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n\
        content-length: 0\r\nconnection: close\r\n\r\n";
    let answer = exchange(receivers.grpc, post).await;
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
    assert!(answer.contains("4318"));
}

#[tokio::test]
async fn nonsense_on_the_wire_harms_no_other_client() {
    let receivers = Receivers::start().await;
    for nonsense in [
        &b"GET / HTTP/9.9\r\n\r\n"[..],
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame at all, rather a sentence",
        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        exchange(receivers.http, nonsense).await;
        exchange(receivers.grpc, nonsense).await;
    }
    let answer = receivers
        .post(
            "/v1/traces",
            &[("content-type", "application/x-protobuf")],
            "",
        )
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let receivers = Receivers::start().await;
    for begun in [&b""[..], b"PR", b"POST /v1/traces HTTP/1.1\r\nhost"] {
        let mut stream = TcpStream::connect(receivers.http).await.unwrap();
        stream.write_all(begun).await.unwrap();
        tokio::time::pause();
        let mut answer = Vec::new();
        let _closed = stream.read_to_end(&mut answer).await;
        tokio::time::resume();
        assert_eq!(answer, b"");
    }
    assert_eq!(
        receivers.bench.counters.connections_refused.all()["silent"],
        3
    );
}

/// *Scenario*: more clients than there are places connect and send nothing.
/// *Guarantees*: they are counted by address, and make room for one that sends.
#[tokio::test]
async fn idle_connections_make_room_for_a_sender() {
    let receivers = Receivers::start_with(1 << 20, Some(TOKEN)).await;
    let mut idle = Vec::new();
    for _ in 0..3 * CONNECTIONS_MAX {
        idle.push(TcpStream::connect(receivers.http).await.unwrap());
    }
    let authorized = [PROTOBUF, ("authorization", "Bearer s3cret-s3cret-s3cret")];
    let answer = receivers.post("/v1/traces", &authorized, spans_request(1, 0));
    assert_eq!(answer.await.status, 200);
    let refused = receivers.bench.counters.connections_refused.all();
    let made_room = refused["unauthenticated_limit"];
    assert!(made_room >= 2 * CONNECTIONS_MAX as u64, "{refused:?}");
    let unauthenticated = receivers.access.unauthenticated(20);
    let [(peer, connections)] = unauthenticated[..] else {
        panic!("{unauthenticated:?}");
    };
    assert_eq!(peer.to_string(), "127.0.0.1");
    assert!((1..=CONNECTIONS_MAX as u64 / 4).contains(&connections));
}

/// *Guarantees*: after a 401 the connection is closed, and the answer says so; with the token it stays open.
#[tokio::test]
async fn a_connection_without_the_token_is_closed_behind_the_answer() {
    let receivers = Receivers::start_with(1 << 20, Some(TOKEN)).await;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n\
        content-length: 0\r\n";
    let answer = exchange(receivers.http, format!("{head}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");

    let authorized = format!("{head}authorization: Bearer {TOKEN}\r\n\r\n");
    let mut stream = TcpStream::connect(receivers.http).await.unwrap();
    for _ in 0..2 {
        stream.write_all(authorized.as_bytes()).await.unwrap();
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_grpc_connection_without_the_token_is_closed_behind_the_answer() {
    let receivers = Receivers::start_with(1 << 20, Some(TOKEN)).await;
    let stream = TcpStream::connect(receivers.grpc).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let uri = format!("http://{}{}", receivers.grpc, super::GRPC_TRACES);
    let call = request(
        &uri,
        &[("content-type", "application/grpc")],
        Full::new(Bytes::new()),
    );
    let answer = super::Answer::read(client.send_request(call).await.unwrap()).await;
    assert_eq!(answer.grpc("grpc-status"), Some("16"));
    // Ends because the other side closes: the client is still held.
    connection.await.unwrap().unwrap();
    drop(client);
}

/// *Scenario*: one client sends with the token and then nothing for two minutes, another only connects.
/// *Guarantees*: only the first connection is kept.
#[tokio::test]
async fn a_sender_may_be_idle_once_it_has_authenticated() {
    let receivers = Receivers::start_with(1 << 20, Some(TOKEN)).await;
    let authorized = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n\
         content-length: 0\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let mut sender = TcpStream::connect(receivers.http).await.unwrap();
    let mut answer = [0; 1024];
    sender.write_all(authorized.as_bytes()).await.unwrap();
    assert!(sender.read(&mut answer).await.unwrap() > 0);
    let mut silent = TcpStream::connect(receivers.http).await.unwrap();
    tokio::time::pause();
    assert_eq!(silent.read(&mut answer).await.unwrap(), 0);
    tokio::time::sleep(std::time::Duration::from_secs(120)).await;
    tokio::time::resume();
    sender.write_all(authorized.as_bytes()).await.unwrap();
    let read = sender.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
}

/// *Scenario*: a balancer probes every 30 s on one connection of a collector without a token.
/// *Guarantees*: the connection is kept.
#[tokio::test]
async fn a_connection_of_probes_is_kept_where_no_token_is_set() {
    let receivers = Receivers::start().await;
    let stream = TcpStream::connect(receivers.grpc).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}/grpc.health.v1.Health/Check", receivers.grpc);
    let mut probe = async || {
        let body = http_body_util::Full::new(super::grpc::framed(0, b""));
        let headers = [("content-type", "application/grpc")];
        let sent = client.send_request(super::request(&uri, &headers, body));
        sent.await.unwrap().status()
    };
    assert_eq!(probe().await, 200);
    tokio::time::pause();
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    tokio::time::resume();
    assert_eq!(probe().await, 200);
}
