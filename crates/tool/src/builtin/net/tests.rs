#![expect(clippy::unwrap_used, reason = "tests may fail loudly")]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::stand_in::{StandIn, gzip, ok, reply};
use super::*;

fn net(private: &[&str]) -> Net {
    let reach = Reach {
        private: private.iter().map(|host| (*host).to_owned()).collect(),
        hosts: Vec::new(),
    };
    let limits = RequestLimits {
        time: Duration::from_secs(20),
        bytes: 1_000,
        redirects: 3,
    };
    Net::new(reach, limits)
}

async fn get(net: &Net, url: &str) -> Result<Received, Failure> {
    let request = Sent {
        method: Method::GET,
        url: Url::parse(url).unwrap(),
        headers: HeaderMap::new(),
        body: None,
    };
    net.send(request).await
}

async fn refused(net: &Net, url: &str) -> String {
    match get(net, url).await {
        Err(Failure::NotSent(why)) => why,
        other => format!("{other:?}"),
    }
}

const PRIVATE: &str = "that is an address of this machine or of a private network";

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_written() {
    let server = StandIn::start(|_| ok("text/plain", "the secret")).await;
    let port = server.port;
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00:ec2::254]",
    ] {
        let said = refused(&net(&[]), &format!("http://{host}:{port}/")).await;
        // What is not resolved here is not reached either.
        assert!(
            said.contains(PRIVATE) || said.contains("no such host"),
            "{host}: {said}"
        );
    }
    // One that is allowed says nothing of another port, nor of another name of it.
    let other = net(&["127.0.0.1:1", "localhost:2"]);
    assert!(refused(&other, &server.url).await.contains(PRIVATE));
    assert!(server.requests().is_empty());
    let received = get(&net(&[&server.host()]), &server.url).await.unwrap();
    assert_eq!(received.body, b"the secret");
    assert!(get(&net(&["127.0.0.1"]), &server.url).await.is_ok());
}

#[tokio::test]
async fn only_http_without_passwords_and_only_named_hosts() {
    let net_of = |hosts: &[&str]| {
        let mut net = net(&["127.0.0.1"]);
        net.reach.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        net
    };
    for (url, why) in [
        ("file:///etc/passwd", "only http and https are spoken"),
        ("ftp://example.org/", "only http and https are spoken"),
        (
            "http://me:hush@example.org/?key=hush",
            "an address with a password is not used",
        ),
        (
            "http://127.0.0.1:1/",
            "only example.org, *.example.net may be reached",
        ),
    ] {
        let said = refused(&net_of(&["example.org", "*.example.net"]), url).await;
        assert!(said.contains(why) && !said.contains("hush"), "{said}");
    }
    for (pattern, host, fit) in [
        ("example.org", "EXAMPLE.org.", true),
        ("example.org", "a.example.org", false),
        ("*.example.org", "a.b.Example.org", true),
        ("*.example.org", "example.org", false),
        ("*.example.org", "badexample.org", false),
        ("*", "example.org", false),
    ] {
        assert_eq!(fits(pattern, host), fit, "{pattern} {host}");
    }
}

#[tokio::test]
async fn each_redirect_is_judged_anew() {
    let secret = StandIn::start(|_| ok("text/plain", "the secret")).await;
    let inside = secret.url.clone();
    let server = StandIn::start(move |request| {
        let to = match request.split(' ').nth(1) {
            Some("/away") => format!("{inside}/"),
            Some("/file") => "file:///etc/passwd".to_owned(),
            Some("/round") => "/round".to_owned(),
            Some("/once") => "there?a=b".to_owned(),
            Some("/bad") => "http://".to_owned(),
            _ => return ok("text/plain", "there"),
        };
        reply("302 Found", &[("location", &to)], b"")
    })
    .await;
    let net = net(&[&server.host()]);
    let at = |path: &str| format!("{}{path}", server.url);
    assert!(refused(&net, &at("/away")).await.contains(PRIVATE));
    assert!(
        refused(&net, &at("/file"))
            .await
            .contains("only http and https")
    );
    assert!(secret.requests().is_empty());
    let once = get(&net, &at("/once")).await.unwrap();
    assert_eq!(
        (once.url.path(), once.body.as_slice()),
        ("/there", &b"there"[..])
    );
    for (path, why) in [
        ("/round", "more than 3 redirects"),
        ("/bad", "leads on to no address"),
    ] {
        let said = format!("{:?}", get(&net, &at(path)).await);
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_and_the_connection_goes_there() {
    let server = StandIn::start(|_| ok("text/plain", "pinned")).await;
    let port = server.port;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    // The second time the name would lead elsewhere, as an attacker's does.
    let resolve: Resolve = Arc::new(move |host, _| {
        let times = counted.fetch_add(1, Ordering::SeqCst);
        let to = if times == 0 { port } else { 1 };
        Box::pin(async move {
            assert_eq!(host, "site.test");
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], to))])
        })
    });
    let net = net(&["site.test"]).resolving(resolve);
    let received = get(&net, &format!("http://site.test:{port}/"))
        .await
        .unwrap();
    assert_eq!(received.body, b"pinned");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(
        server
            .requests()
            .join("")
            .contains(&format!("host: site.test:{port}"))
    );
}

#[tokio::test]
async fn a_name_with_one_private_address_among_others_is_refused() {
    let resolve: Resolve = Arc::new(|_, port| {
        let both = [[8, 8, 8, 8], [10, 0, 0, 1]].map(|address| SocketAddr::from((address, port)));
        Box::pin(async move { Ok(both.to_vec()) })
    });
    let net = net(&[]).resolving(resolve);
    assert!(refused(&net, "http://site.test/").await.contains(PRIVATE));
    let nowhere: Resolve = Arc::new(|_, _| Box::pin(async { Ok(Vec::new()) }));
    let said = refused(&net.resolving(nowhere), "http://site.test/").await;
    assert_eq!(said, "http://site.test/: there is no such host");
}

#[tokio::test]
async fn silence_length_and_packing_have_their_limits() {
    let bomb = gzip(&vec![b'a'; 50_000_000]);
    assert!(bomb.len() < 60_000);
    let server = StandIn::start(move |request| match request.split(' ').nth(1) {
        Some("/silent") => Vec::new(),
        Some("/long") => ok("text/plain", vec![b'a'; 5_000]),
        Some("/bomb") => {
            let headers = [("content-type", "text/plain"), ("content-encoding", "gzip")];
            reply("200 OK", &headers, &bomb)
        }
        Some("/broken") => reply("200 OK", &[("content-encoding", "gzip")], b"no gzip"),
        Some("/short") => b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf".to_vec(),
        _ => b"what is this?".to_vec(),
    })
    .await;
    let mut net = net(&[&server.host()]);
    let at = |path: &str| format!("{}{path}", server.url);
    for path in ["/long", "/bomb"] {
        let received = get(&net, &at(path)).await.unwrap();
        assert_eq!(
            (received.body.len(), received.is_cut),
            (1_000, true),
            "{path}"
        );
    }
    for path in ["/broken", "/short", "/nonsense"] {
        let failed = get(&net, &at(path)).await.unwrap_err();
        assert!(matches!(failed, Failure::Lost(_)), "{path}: {failed:?}");
    }
    let nobody = StandIn::start(|_| Vec::new()).await;
    let (gone, port) = (nobody.url.clone(), nobody.port);
    drop(nobody);
    // Its socket is closed when its task is next looked at; until then a caller is let in and then cut off.
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_ok()
    {
        tokio::task::yield_now().await;
    }
    net.reach.private.push("127.0.0.1".to_owned());
    let said = refused(&net, &gone).await;
    assert!(said.contains("tcp connect error"), "{said}");
    net.limits.time = Duration::from_millis(100);
    let silent = get(&net, &at("/silent")).await.unwrap_err();
    assert_eq!(
        silent,
        Failure::Lost("it took longer than 0.1 s".to_owned())
    );
}
