//! Requests to addresses that a model or a file names.
//!
//! Each name is resolved here, every address that it has is judged, and the connection goes to those addresses and no
//! others: what the name leads to later does not matter. A redirect is a new request, judged like the first.

mod address;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, Response, StatusCode};
use url::{Host, Url};

use crate::{Error, Result};

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// Which servers may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Hosts whose addresses may be private, such as `localhost`, `10.0.0.7` or `wiki.internal:8080`. Others may only be
    /// public.
    pub private: Vec<String>,
    /// The hosts that may be reached, such as `example.org` or `*.example.org`; all where it is empty.
    pub hosts: Vec<String>,
}

/// Where a request ends at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// How long all of it may take, with its redirects.
    pub time: Duration,
    /// Bytes of an answer, unpacked, that are read.
    pub bytes: usize,
    /// Redirects that are followed.
    pub redirects: usize,
}

type Resolve =
    Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Makes requests.
#[derive(Clone)]
pub(super) struct Net {
    pub(super) reach: Reach,
    pub(super) limits: RequestLimits,
    resolve: Resolve,
    offline: bool,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Received {
    /// Where it came from, after redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whether the body was longer, and the rest was not read.
    pub(super) is_cut: bool,
}

/// How a request ends without an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was sent: it is not allowed, or nobody was there.
    NotSent(String),
    /// It was sent, and what became of it is not known.
    Lost(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::NotSent(message) | Failure::Lost(message) => Error::Failed(message),
        }
    }
}

impl Net {
    pub(super) fn new(reach: Reach, limits: RequestLimits) -> Net {
        Net {
            reach,
            limits,
            resolve: Arc::new(|host, port| {
                Box::pin(async move {
                    let found = tokio::net::lookup_host((host, port)).await?;
                    Ok(found.collect())
                })
            }),
            offline: std::env::var_os("PLUMB_OFFLINE").is_some_and(|value| value == "1"),
        }
    }

    /// Makes a request, and those that it is redirected to.
    pub(super) async fn send(&self, request: Sent) -> Result<Received, Failure> {
        let whole = tokio::time::timeout(self.limits.time, self.follow(request)).await;
        whole.unwrap_or_else(|_| {
            let seconds = self.limits.time.as_secs_f32();
            Err(Failure::Lost(format!("it took longer than {seconds} s")))
        })
    }

    async fn follow(&self, mut request: Sent) -> Result<Received, Failure> {
        let mut redirects = 0;
        loop {
            let response = self.once(&request).await?;
            let next = match self.limits.redirects {
                // Who follows none reads the answer as it is.
                0 => None,
                _ => next(&request.url, &response),
            };
            let Some(next) = next else {
                return self.receive(request.url, response).await;
            };
            redirects += 1;
            if redirects > self.limits.redirects {
                let most = self.limits.redirects;
                let said = format!(
                    "{} leads on: more than {most} redirects",
                    shown(&request.url)
                );
                return Err(Failure::Lost(said));
            }
            request.url = next?;
        }
    }

    /// One request, to addresses that have been judged.
    async fn once(&self, request: &Sent) -> Result<Response, Failure> {
        let addresses = self.addresses(&request.url).await?;
        let mut client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECTING)
            .user_agent(concat!("plumb/", env!("CARGO_PKG_VERSION")));
        if let Some(Host::Domain(name)) = request.url.host() {
            client = client.resolve_to_addrs(name, &addresses);
        }
        let client = client
            .build()
            .map_err(|error| Failure::NotSent(error.to_string()))?;
        let mut sending = client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        if let Some(body) = &request.body {
            sending = sending.body(body.clone());
        }
        let about = shown(&request.url);
        sending.send().await.map_err(|error| {
            let is_connect = error.is_connect();
            let said = format!("{about}: {}", reason(&error.without_url()));
            match is_connect {
                true => Failure::NotSent(said),
                false => Failure::Lost(said),
            }
        })
    }

    /// The addresses that a host has, when all of them may be reached.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Failure> {
        let refused = |why: String| Failure::NotSent(format!("{}: {why}", shown(url)));
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("only http and https are spoken".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("an address with a password is not used".to_owned()));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(refused("there is no host in it".to_owned()));
        };
        let name = host.to_string();
        if !self.reach.may_reach(&name) {
            let hosts = self.reach.hosts.join(", ");
            return Err(refused(format!("only {hosts} may be reached")));
        }
        let addresses = match host {
            Host::Ipv4(address) => vec![SocketAddr::new(address.into(), port)],
            Host::Ipv6(address) => vec![SocketAddr::new(address.into(), port)],
            Host::Domain(domain) => (self.resolve)(domain.to_owned(), port)
                .await
                .map_err(|error| refused(format!("there is no such host: {error}")))?,
        };
        if addresses.is_empty() {
            return Err(refused("there is no such host".to_owned()));
        }
        let may_be_private = self.reach.may_be_private(&name, port);
        for address in &addresses {
            let address = address.ip();
            if !may_be_private && !address::is_public(address) {
                return Err(refused(
                    "that is an address of this machine or of a private network, which the agent's file does not allow"
                        .to_owned(),
                ));
            }
            if self.offline && !is_this_machine(address) {
                return Err(refused("PLUMB_OFFLINE=1 forbids other machines".to_owned()));
            }
        }
        Ok(addresses)
    }

    /// Reads an answer, as far as it is not too long. It arrives unpacked, so a small answer that is large
    /// when unpacked ends here as well.
    async fn receive(&self, url: Url, mut response: Response) -> Result<Received, Failure> {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        let mut is_cut = false;
        loop {
            let chunk = response.chunk().await.map_err(|error| {
                Failure::Lost(format!("{}: {}", shown(&url), reason(&error.without_url())))
            })?;
            let Some(chunk) = chunk else { break };
            let room = self.limits.bytes - body.len();
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if chunk.len() > room {
                is_cut = true;
                break;
            }
        }
        Ok(Received {
            url,
            status,
            headers,
            body,
            is_cut,
        })
    }

    #[cfg(test)]
    pub(super) fn resolving(mut self, resolve: Resolve) -> Net {
        self.resolve = resolve;
        self
    }
}

impl Reach {
    fn may_reach(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| fits(pattern, host))
    }

    fn may_be_private(&self, host: &str, port: u16) -> bool {
        let with_port = format!("{host}:{port}");
        let mut allowed = self.private.iter();
        allowed.any(|allowed| {
            allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(&with_port)
        })
    }
}

/// Whether a host is meant: `*.example.org` means all below, and not `example.org` itself.
fn fits(pattern: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    match pattern.strip_prefix('*') {
        Some(end) => {
            end.starts_with('.')
                && host.len() > end.len()
                && host
                    .to_ascii_lowercase()
                    .ends_with(&end.to_ascii_lowercase())
        }
        None => pattern.eq_ignore_ascii_case(host),
    }
}

fn is_this_machine(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Where an answer leads on to.
fn next(from: &Url, response: &Response) -> Option<Result<Url, Failure>> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?;
    let read = location.to_str().ok().and_then(|to| from.join(to).ok());
    Some(read.ok_or_else(|| Failure::Lost(format!("{} leads on to no address", shown(from)))))
}

/// An address without what may be secret in it.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail for http; for others nothing is to hide.
    let _no_password = url.set_password(None);
    let _no_name = url.set_username("");
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// An error with what is behind it.
fn reason(error: &reqwest::Error) -> String {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(behind) = source {
        let behind_said = behind.to_string();
        if !said.contains(&behind_said) {
            said.push_str(": ");
            said.push_str(&behind_said);
        }
        source = behind.source();
    }
    said
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]
pub(super) mod stand_in;
#[cfg(test)]
mod tests;
