//! One request and its answer.

use std::{io::Read, time::Duration};

use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, header},
};
use url::Url;

use super::{HubError, origin::secure, token::Token};

/// The hub where `HF_ENDPOINT` names none.
const HUB: &str = "https://huggingface.co";

/// The most hops from an address to the place where the bytes are.
const MAX_REDIRECTS: usize = 10;

/// How long a server may take to accept a connection, and to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A server that sends nothing for so long is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The hub that repositories are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// The hub of `HF_ENDPOINT`, or Hugging Face's.
    ///
    /// # Errors
    ///
    /// Where the address is not a secure one.
    pub fn of_person() -> Result<Self, HubError> {
        let named = std::env::var("HF_ENDPOINT").ok().filter(|named| !named.is_empty());
        Self::new(named.as_deref().unwrap_or(HUB))
    }

    /// A hub at an address.
    ///
    /// # Errors
    ///
    /// Where the address is not a secure one.
    pub fn new(address: &str) -> Result<Self, HubError> {
        secure(address.trim_end_matches('/')).map(Self)
    }

    /// The address without a slash at its end.
    pub(super) fn address(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

/// A hub, and who asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    /// The address.
    pub endpoint: Endpoint,
    /// By which the hub knows who asks.
    pub token: Option<Token>,
}

impl Hub {
    /// The hub and token of the person who runs the program.
    ///
    /// # Errors
    ///
    /// Where `HF_ENDPOINT` is not a secure address.
    pub fn of_person() -> Result<Self, HubError> {
        Ok(Self { endpoint: Endpoint::of_person()?, token: Token::of_person() })
    }
}

/// Asks servers.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: Agent,
    hub: Hub,
}

/// What a server answers to one request.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The headers of the answer itself.
    pub(super) headers: HeaderMap,
    /// SHA-256 and length that a redirect on the way announced.
    pub(super) announced: Announced,
    body: Body,
}

/// What a hub tells of a large file before it sends somewhere else for its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) sha256: Option<String>,
    pub(super) size: Option<u64>,
}

impl Announced {
    fn read(&mut self, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let tag = text("x-linked-etag").map(|tag| tag.trim_matches('"'));
        let is_hash =
            |tag: &&str| tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(hash) = tag.filter(is_hash) {
            self.sha256 = Some(hash.to_lowercase());
        }
        if let Some(size) = text("x-linked-size").and_then(|size| size.parse().ok()) {
            self.size = Some(size);
        }
    }
}

impl Answer {
    /// A header as text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The bytes, as the server sends them.
    pub(super) fn into_reader(self) -> impl Read + Send {
        self.body.into_reader()
    }
}

impl Client {
    pub(super) fn new(hub: Hub) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("emberbrush/", env!("CARGO_PKG_VERSION")))
            // Hashes and lengths are those of the bytes themselves.
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .build();
        Self { agent: config.new_agent(), hub }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.hub.endpoint
    }

    /// Asks for the bytes of an address from `start` on, and follows redirects. The token is
    /// shown to the hub alone.
    pub(super) fn get(
        &self,
        url: &Url,
        start: u64,
        validator: Option<&str>,
    ) -> Result<Answer, HubError> {
        let mut url = url.clone();
        let mut announced = Announced::default();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.get_once(&url, start, validator)?;
            announced.read(response.headers());
            let status = response.status();
            let location =
                response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            match location {
                Some(location) if status.is_redirection() => {
                    let next = url.join(location).map_err(|error| HubError::Answer {
                        what: url.to_string(),
                        reason: format!("it sends on to {location}: {error}"),
                    })?;
                    url = secure(next.as_str())?;
                }
                _ => {
                    let (parts, body) = response.into_parts();
                    return Ok(Answer {
                        status: status.as_u16(),
                        headers: parts.headers,
                        announced,
                        body,
                    });
                }
            }
        }
        Err(HubError::Answer {
            what: url.to_string(),
            reason: format!("it sends on more than {MAX_REDIRECTS} times"),
        })
    }

    fn get_once(
        &self,
        url: &Url,
        start: u64,
        validator: Option<&str>,
    ) -> Result<Response<Body>, HubError> {
        let mut request = self.agent.get(url.as_str());
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
            if let Some(validator) = validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        if let Some(token) = &self.hub.token
            && url.origin() == self.hub.endpoint.0.origin()
        {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        request.call().map_err(|error| HubError::Connection {
            url: url.to_string(),
            reason: error.to_string(),
        })
    }
}
