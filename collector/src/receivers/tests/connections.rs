//! What connections get that are no ordinary HTTP.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Receivers;

/// Sends these bytes and reads until the other side closes.
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
async fn http_1_on_the_grpc_port_is_told_where_to_go() {
    let receivers = Receivers::start().await;
    let post =
        b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n\
        content-length: 0\r\nconnection: close\r\n\r\n";
    let answer = exchange(receivers.grpc, post).await;
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
    assert!(answer.contains("4318"));
}

#[tokio::test]
async fn nonsense_on_the_wire_harms_nobody() {
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
