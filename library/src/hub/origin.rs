//! Where a model is to come from.

use std::{fmt, str::FromStr};

use url::Url;

use super::HubError;

/// The branch that is taken where none is named.
const DEFAULT_REVISION: &str = "main";

/// Where a model is to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A repository of the hub.
    Repository {
        /// Owner and name.
        repository: String,
        /// A branch, tag or commit.
        revision: String,
    },
    /// One file at an address.
    Url(Url),
}

impl Origin {
    /// What a name is made from: that of the repository without its owner, or of the file.
    pub(super) fn last_part(&self) -> String {
        match self {
            Self::Repository { repository, .. } => {
                repository.rsplit('/').next().unwrap_or(repository).to_owned()
            }
            Self::Url(url) => {
                let last = url.path_segments().and_then(|mut parts| parts.next_back());
                last.unwrap_or_default().to_owned()
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { repository, revision } if revision == DEFAULT_REVISION => {
                formatter.write_str(repository)
            }
            Self::Repository { repository, revision } => {
                write!(formatter, "{repository}@{revision}")
            }
            Self::Url(url) => write!(formatter, "{url}"),
        }
    }
}

impl FromStr for Origin {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let refuse = || HubError::Origin { given: text.to_owned() };
        if text.contains("://") {
            return Ok(Self::Url(secure(text)?));
        }
        let (repository, revision) = text.split_once('@').unwrap_or((text, DEFAULT_REVISION));
        let is_part = |part: &str| {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(is_allowed)
        };
        let is_repository =
            repository.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name));
        // Branches may hold slashes: `refs/pr/1`.
        if !is_repository || !revision.split('/').all(is_part) {
            return Err(refuse());
        }
        Ok(Self::Repository { repository: repository.to_owned(), revision: revision.to_owned() })
    }
}

/// An address that nobody on the way can change: over TLS, or on this machine.
pub(super) fn secure(text: &str) -> Result<Url, HubError> {
    let url = Url::parse(text).map_err(|_| HubError::Origin { given: text.to_owned() })?;
    let is_of_this_machine = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_of_this_machine => Ok(url),
        _ => Err(HubError::Insecure { url: text.to_owned() }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn repositories_revisions_and_addresses_are_told_apart() {
        let of = |text: &str| text.parse::<Origin>();
        let repository = |repository: &str, revision: &str| Origin::Repository {
            repository: repository.to_owned(),
            revision: revision.to_owned(),
        };
        assert_eq!(of("a-b/c.1").unwrap(), repository("a-b/c.1", "main"));
        assert_eq!(of("a/b@refs/pr/1").unwrap(), repository("a/b", "refs/pr/1"));
        let url = of("https://example.org/x/y.safetensors?a=1").unwrap();
        assert_eq!(url.last_part(), "y.safetensors");
        assert!(of("http://127.0.0.1:1/x").is_ok());
        for wrong in ["", "a", "a/", "/b", "a/b/c", "a/../b", "../a", "a b/c", "a/b@", "a/b@../c"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        for insecure in ["http://example.org/x", "ftp://example.org/x", "file:///etc/passwd"] {
            assert!(matches!(of(insecure), Err(HubError::Insecure { .. })), "{insecure}");
        }
    }
}
