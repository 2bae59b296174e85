//! What a hub tells of a repository.

use std::path::{Component, Path};

use serde::Deserialize;

use super::HubError;

/// The files of a repository at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<ListedFile>,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedFile {
    /// Its path, with `/`.
    pub(super) path: String,
    pub(super) size: Option<u64>,
    /// SHA-256 in hexadecimal digits; hubs tell it of large files only.
    pub(super) sha256: Option<String>,
}

/// The answer to `/api/models/OWNER/NAME/revision/REVISION?blobs=true`.
#[derive(Deserialize)]
struct ModelInfo {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    /// The SHA-256; the tree of a repository calls it `oid`.
    #[serde(alias = "oid")]
    sha256: String,
    size: Option<u64>,
}

impl Listing {
    /// Reads the hub's answer.
    pub(super) fn parse(repository: &str, answer: &[u8]) -> Result<Self, HubError> {
        let refuse = |reason: String| HubError::Answer { what: repository.to_owned(), reason };
        let info: ModelInfo =
            serde_json::from_slice(answer).map_err(|error| refuse(error.to_string()))?;
        if info.sha.is_empty() || !info.sha.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(refuse(format!("its commit is {:?}", info.sha)));
        }
        let mut files = Vec::new();
        for Sibling { rfilename: path, size, lfs } in info.siblings {
            if !is_plain(&path) {
                return Err(refuse(format!("it names a file {path:?}")));
            }
            let (sha256, large_size) =
                lfs.map_or((None, None), |lfs| (Some(lfs.sha256.to_lowercase()), lfs.size));
            files.push(ListedFile { path, size: large_size.or(size), sha256 });
        }
        Ok(Self { commit: info.sha, files })
    }

    pub(super) fn file(&self, path: &str) -> Option<&ListedFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Whether a path stays below the folder that it is joined to, on every system.
fn is_plain(path: &str) -> bool {
    let is_normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    !path.is_empty()
        && !path.contains(['\\', ':', '\0'])
        && Path::new(path).components().all(is_normal)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_hashes_are_those_of_the_large_file() {
        let answer = br#"{"sha": "abc1", "gated": false, "siblings": [
            {"rfilename": "model_index.json", "size": 5, "blobId": "1"},
            {"rfilename": "unet/a.safetensors", "size": 7, "lfs":
                {"sha256": "AB", "size": 700, "pointerSize": 7}}]}"#;
        let listing = Listing::parse("a/b", answer).unwrap();
        assert_eq!(listing.commit, "abc1");
        let large = listing.file("unet/a.safetensors").unwrap();
        assert_eq!((large.size, large.sha256.as_deref()), (Some(700), Some("ab")));
        let small = listing.file("model_index.json").unwrap();
        assert_eq!((small.size, &small.sha256), (Some(5), &None));
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["../x", "/etc/x", "a/../../x", r"a\\..\\x", "c:x", ""] {
            let answer = format!(r#"{{"sha": "abc", "siblings": [{{"rfilename": "{path}"}}]}}"#);
            assert!(Listing::parse("a/b", answer.as_bytes()).is_err(), "{path}");
        }
        assert!(Listing::parse("a/b", br#"{"sha": "../x", "siblings": []}"#).is_err());
        assert!(Listing::parse("a/b", b"<html>").is_err());
    }
}
