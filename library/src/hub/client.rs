//! One request and its answer.

use std::{io::Read, path::PathBuf, time::Duration};

use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{Api, ApiBuilder},
};
use ureq::{
    Agent, Body, RequestBuilder,
    http::{HeaderMap, Response, header},
    typestate::WithoutBody,
};
use url::Url;

use super::{HubError, origin::secure, token::Token};

/// How servers know the program.
const NAME: &str = "emberbrush";
const VERSION: &str = env!("CARGO_PKG_VERSION");

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

/// Asks servers. It has no `Debug`: that of `hf-hub` prints the token.
#[derive(Clone)]
pub(super) struct Client {
    /// Knows the hub's addresses, and shows it the token.
    api: Api,
    /// Asks everyone else.
    agent: Agent,
    endpoint: Endpoint,
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
    /// Asks this hub, and everyone whom it names. `cache` is where `hf-hub` would keep files.
    pub(super) fn new(hub: Hub, cache: PathBuf) -> Result<Self, HubError> {
        let Hub { endpoint, token } = hub;
        // The crate's own choice of a folder panics where there is no home.
        let api = ApiBuilder::from_cache(Cache::new(cache))
            .with_endpoint(endpoint.address().to_owned())
            .with_token(token.map(|token| token.text().to_owned()))
            .with_user_agent(NAME, VERSION)
            .build();
        let api = api.map_err(|error| HubError::Connection {
            url: endpoint.address().to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { api, agent: Agent::new_with_defaults(), endpoint })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where the hub tells the files of a repository, with their lengths and hashes.
    pub(super) fn listing_url(&self, repository: &str, revision: &str) -> Result<Url, HubError> {
        let request = self.api.repo(repo(repository, revision)).info_request();
        let address = request.uri_ref().map(ToString::to_string).unwrap_or_default();
        let mut url = secure(&address)?;
        url.set_query(Some("blobs=true"));
        Ok(url)
    }

    /// Where the hub has a file of a repository.
    pub(super) fn file_url(
        &self,
        repository: &str,
        revision: &str,
        path: &str,
    ) -> Result<Url, HubError> {
        let mut url = secure(&self.api.repo(repo(repository, revision)).url(""))?;
        // Names may hold what means something else in an address, such as `#` and `%`.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path.split('/'));
        }
        Ok(url)
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
        let mut request = self.request(url);
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
            if let Some(validator) = validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        request.call().map_err(|error| HubError::Connection {
            url: url.to_string(),
            reason: error.to_string(),
        })
    }

    /// A request for an address; one to the hub carries the token.
    fn request(&self, url: &Url) -> RequestBuilder<WithoutBody> {
        let request = match url.origin() == self.endpoint.0.origin() {
            // The crate gives out requests for listings alone; this one goes to another address.
            true => self.api.model(NAME.to_owned()).info_request().uri(url.as_str()),
            false => self.agent.get(url.as_str()),
        };
        request
            .config()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(format!("{NAME}/{VERSION}"))
            // Hashes and lengths are those of the bytes themselves.
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .build()
    }
}

/// A model's repository at a branch, tag or commit.
fn repo(repository: &str, revision: &str) -> Repo {
    Repo::with_revision(repository.to_owned(), RepoType::Model, revision.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_reach_the_hub_as_they_are() {
        let endpoint = Endpoint::new("https://hub.example/mirror/").unwrap();
        let client = Client::new(Hub { endpoint, token: None }, PathBuf::from("cache")).unwrap();
        let listing = client.listing_url("a/b.1", "refs/pr/1").unwrap();
        assert_eq!(
            listing.as_str(),
            "https://hub.example/mirror/api/models/a/b.1/revision/refs%2Fpr%2F1?blobs=true"
        );
        let file = client.file_url("a/b.1", "abc1", "unet/50% #1?.safetensors").unwrap();
        assert_eq!(
            file.as_str(),
            "https://hub.example/mirror/a/b.1/resolve/abc1/unet/50%25%20%231%3F.safetensors"
        );
    }
}
