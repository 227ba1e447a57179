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
        Fetcher::new(networks.collect())
            .send(&url, None, None)
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
        for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
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

/// *Scenario*: many requests at once to one address whose answers do not end.
/// *Guarantees*: no more connections than allowed are open.
#[tokio::test]
async fn one_address_has_few_connections() {
    let server = serve(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), true).await;
    let url = Url::parse(&format!("http://127.0.0.1:{}/", server.port)).unwrap();
    let fetcher = Fetcher::new(vec!["127.0.0.1".parse().unwrap()]);
    let mut asking = JoinSet::new();
    for _ in 0..3 * PER_HOST_MAX {
        let (fetcher, url) = (fetcher.clone(), url.clone());
        asking.spawn(async move { fetcher.send(&url, None, None).await.is_err() });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.connections(), PER_HOST_MAX);
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
    let fetcher = Fetcher::new(vec!["127.0.0.1".parse().unwrap()]);
    let json = Some("{}".to_owned());
    fetcher.send(&url, Some(&user), json).await.unwrap();
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
