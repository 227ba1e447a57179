//! Requests to addresses that a registration names: only to allowed ones, and bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;

/// A server that counts its connections and answers each with these bytes, then with a byte every second.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

async fn serve(answer: Vec<u8>, drips: bool) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let (count, seen) = (Arc::clone(&connections), Arc::clone(&requests));
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let (answer, seen) = (answer.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let mut request = vec![0; 4_096];
                let read = tcp.read(&mut request).await.unwrap_or_default();
                seen.lock()
                    .push(String::from_utf8_lossy(&request[..read]).into_owned());
                let _ = tcp.write_all(&answer).await;
                while drips && tcp.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
        }
    });
    Server {
        port,
        connections,
        requests,
    }
}

impl Server {
    async fn get(&self, networks: &[&str], host: &str) -> Result<Answer, FetchError> {
        let networks = networks.iter().map(|text| text.parse().unwrap());
        let url = Url::parse(&format!("http://{host}:{}/actuator/health", self.port)).unwrap();
        Fetcher::new(networks.collect(), Vec::new())
            .send(Kind::Health, &url, None, None)
            .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

const UP: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"status\":\"UP\"}";

/// *Scenario*: addresses outside of the allowed networks, spelled in every way, and a name that resolves to one.
/// *Guarantees*: nothing is connected to; an allowed address, also by a name, is.
#[tokio::test]
async fn only_allowed_addresses_are_connected_to() {
    let server = serve(UP.to_vec(), false).await;
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    for networks in [&[][..], &["10.0.0.0/8"], &["127.0.0.2"], &["::/0"]] {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
        ] {
            let refused = server.get(networks, host).await.unwrap_err();
            let is_refused =
                matches!(&refused, FetchError::NotAllowed(ip) if ip.to_canonical() == loopback);
            assert!(is_refused, "{networks:?} {host}: {refused}");
        }
        // Of its addresses, some may be in an allowed network, where nothing listens.
        let by_name = server.get(networks, "localhost").await;
        assert!(by_name.is_err(), "{networks:?}");
    }
    assert_eq!(server.connections(), 0);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let answer = server.get(&["127.0.0.0/8"], host).await.unwrap();
        assert_eq!(
            (answer.status, &answer.body[..]),
            (StatusCode::OK, &b"{\"status\":\"UP\"}"[..])
        );
    }
    assert_eq!(server.connections(), 3);
}

/// *Scenario*: addresses that the system or a gateway takes for a private one: the unspecified address, and IPv4 addresses in
/// IPv6 ones (compatible, NAT64, 6to4).
/// *Guarantees*: each is what it is spelled as, and not allowed with the private network.
#[tokio::test]
async fn other_forms_of_private_addresses_are_not_allowed_with_them() {
    let server = serve(UP.to_vec(), false).await;
    for host in [
        "0.0.0.0",
        "0",
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::ffff:0:127.0.0.1]",
    ] {
        let refused = server.get(&["127.0.0.0/8", "10.0.0.0/8"], host).await;
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, FetchError::NotAllowed(_)),
            "{host}: {refused}"
        );
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn only_named_ports_are_connected_to() {
    let server = serve(UP.to_vec(), false).await;
    let url = Url::parse(&format!("http://127.0.0.1:{}/", server.port)).unwrap();
    let send = async |ports: Vec<u16>| {
        let fetcher = Fetcher::new(vec!["127.0.0.1".parse().unwrap()], ports);
        fetcher.send(Kind::Health, &url, None, None).await
    };
    let refused = send(vec![80, 443]).await.unwrap_err();
    assert_eq!(refused, FetchError::PortNotAllowed(server.port));
    assert_eq!(server.connections(), 0);
    assert!(send(vec![80, server.port]).await.is_ok());
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = serve(UP.to_vec(), false).await;
    let to = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{}/\r\ncontent-length: 0\r\n\r\n",
        target.port
    );
    let server = serve(to.into_bytes(), false).await;
    let refused = server.get(&["127.0.0.1"], "127.0.0.1").await.unwrap_err();
    assert_eq!(refused, FetchError::Redirect(StatusCode::FOUND));
    assert_eq!((server.connections(), target.connections()), (1, 0));
}

/// *Scenario*: answers that announce or send too much, that never end, and that are no HTTP.
/// *Guarantees*: each is an error, within the time.
#[tokio::test]
async fn huge_slow_and_broken_answers_are_cut() {
    let began = Instant::now();
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let huge = serve(
        [head.clone(), vec![b'x'; ANSWER_BYTES_MAX + 1]].concat(),
        false,
    )
    .await;
    let slow = serve(head, true).await;
    let silent = serve(Vec::new(), true).await;
    let headers = serve(vec![b'h'; 2 * BUFFER_BYTES_MAX], false).await;
    let allowed = ["127.0.0.1"];
    let (huge, slow, silent, headers) = tokio::join!(
        huge.get(&allowed, "127.0.0.1"),
        slow.get(&allowed, "127.0.0.1"),
        silent.get(&allowed, "127.0.0.1"),
        headers.get(&allowed, "127.0.0.1"),
    );
    assert_eq!(huge.unwrap_err(), FetchError::TooLarge);
    assert_eq!(slow.unwrap_err(), FetchError::TimedOut);
    assert!(silent.unwrap_err().is_offline());
    assert!(headers.unwrap_err().is_offline());
    assert!(began.elapsed() < 2 * TIME_MAX, "{:?}", began.elapsed());
}

/// *Scenario*: an answer in chunks that never ends, one whose headers never end, and one that is compressed although that was not
/// asked for, and would be 1 GiB.
/// *Guarantees*: the first two are errors within the time and the bytes; nothing is inflated.
#[tokio::test]
async fn endless_and_compressed_answers_are_bounded() {
    let chunk = [&b"ffff\r\n"[..], &vec![b'x'; 0xffff], b"\r\n"].concat();
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = serve([&head[..], &chunk.repeat(20)].concat(), true).await;
    let headers = b"x-a: b\r\n".repeat(20_000);
    let headers = serve([&b"HTTP/1.1 200 OK\r\n"[..], &headers].concat(), true).await;
    let bomb = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        bomb.len()
    );
    let bombed = serve([head.as_bytes(), &bomb].concat(), false).await;
    let allowed = ["127.0.0.1"];
    let (chunked, headers, compressed) = tokio::join!(
        chunked.get(&allowed, "127.0.0.1"),
        headers.get(&allowed, "127.0.0.1"),
        bombed.get(&allowed, "127.0.0.1"),
    );
    assert_eq!(chunked.unwrap_err(), FetchError::TooLarge);
    assert!(headers.unwrap_err().is_offline());
    assert_eq!(compressed.unwrap().body[..], bomb);
    assert!(!bombed.requests.lock()[0].contains("accept-encoding"));
}

/// *Scenario*: all places for slow instances are taken by connections that answer nothing.
/// *Guarantees*: an instance that answered promptly before is asked meanwhile; answers keep their places until they are dropped.
#[tokio::test]
async fn slow_instances_do_not_take_the_places_of_others() {
    let fetcher = Fetcher::new(vec!["127.0.0.1".parse().unwrap()], Vec::new());
    let mut asking = JoinSet::new();
    let mut servers = Vec::new();
    for _ in 0..REQUESTS_MAX[1] {
        let hung = serve(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), true).await;
        let url = Url::parse(&format!("http://127.0.0.1:{}/", hung.port)).unwrap();
        let fetcher = fetcher.clone();
        asking.spawn(async move { fetcher.send(Kind::Health, &url, None, None).await.is_err() });
        servers.push(hung);
    }
    let free = |lane: Lane| fetcher.inner.requests[lane as usize].available_permits();
    while free(Lane::Slow) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let prompt = serve(UP.to_vec(), false).await;
    let url = Url::parse(&format!("http://127.0.0.1:{}/", prompt.port)).unwrap();
    let addr = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), prompt.port);
    // As it answered before.
    fetcher.note(Asked::Address(addr, Kind::Health), true);
    let answer = fetcher.send(Kind::Health, &url, None, None).await.unwrap();
    assert_eq!(
        (free(Lane::Slow), free(Lane::Prompt)),
        (0, REQUESTS_MAX[0] - 1)
    );
    drop(answer);
    assert_eq!(free(Lane::Prompt), REQUESTS_MAX[0]);
}

/// *Scenario*: many requests at once to one address whose answers do not end.
/// *Guarantees*: no more connections than allowed are open.
#[tokio::test]
async fn one_address_has_few_connections() {
    let server = serve(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), true).await;
    let url = Url::parse(&format!("http://127.0.0.1:{}/", server.port)).unwrap();
    let fetcher = Fetcher::new(vec!["127.0.0.1".parse().unwrap()], Vec::new());
    let mut asking = JoinSet::new();
    for _ in 0..3 * PER_ADDRESS_MAX {
        let (fetcher, url) = (fetcher.clone(), url.clone());
        asking.spawn(async move { fetcher.send(Kind::Health, &url, None, None).await.is_err() });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.connections(), PER_ADDRESS_MAX);
    asking.abort_all();
}

/// Guarantees: the user is sent as it was registered, and only shown as one.
#[tokio::test]
async fn a_user_is_sent_and_not_shown() {
    let server = serve(UP.to_vec(), false).await;
    let url = Url::parse(&format!(
        "http://127.0.0.1:{}/actuator/loggers/a",
        server.port
    ))
    .unwrap();
    let user = Credentials {
        name: "ada".to_owned(),
        password: "pw".into(),
    };
    let fetcher = Fetcher::new(vec!["127.0.0.1".parse().unwrap()], Vec::new());
    let json = Some("{}".to_owned());
    fetcher
        .send(Kind::Health, &url, Some(&user), json)
        .await
        .unwrap();
    let request = server.requests.lock()[0].clone();
    assert!(
        request.starts_with("POST /actuator/loggers/a HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("authorization: Basic YWRhOnB3\r\n"),
        "{request}"
    );
    assert!(!format!("{user:?}").contains("pw\""));
}
