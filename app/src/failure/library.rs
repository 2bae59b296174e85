//! The library of models and downloads.

use emberbrush_library::error::LibraryError;
#[cfg(feature = "download")]
use emberbrush_library::hub::HubError;

use super::{Argument, Explain, Explanation, files::cause};

impl Explain for LibraryError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Name { name, .. } => Explanation::new("error-model-name").with("name", name),
            Self::Taken { name } => Explanation::new("error-model-taken").with("name", name),
            Self::Unknown { name } => Explanation::new("error-model-unknown").with("name", name),
            Self::NotAModel { path, .. } => {
                Explanation::new("error-unsupported").with("path", path.as_path())
            }
            Self::Convert { what, .. } => Explanation::new("error-convert").with("what", what),
            Self::NoSpace { folder, needed, free } => Explanation::new("error-no-space")
                .with("folder", folder.as_path())
                .with("needed", Argument::Bytes(needed.as_u64()))
                .with("free", Argument::Bytes(free.as_u64())),
            Self::Io { path, source } => Explanation::new("error-file")
                .with("path", path.as_path())
                .with("cause", cause(source)),
            Self::Remove { path, .. } => {
                Explanation::new("error-remove").with("path", path.as_path())
            }
            Self::Checkpoint(error) => error.explain(),
            #[cfg(feature = "download")]
            Self::Hub(error) => error.explain(),
            Self::Cancelled => Explanation::new("error-cancelled"),
        }
    }
}

#[cfg(feature = "download")]
impl Explain for HubError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Origin { given } => Explanation::new("error-origin").with("given", given),
            Self::Insecure { url } => Explanation::new("error-insecure").with("url", url),
            Self::Connection { url, .. } => Explanation::new("error-connection").with("url", url),
            Self::Unauthorized { what, .. } => {
                Explanation::new("error-unauthorized").with("what", what)
            }
            Self::Forbidden { what, endpoint } => Explanation::new("error-forbidden")
                .with("what", what)
                .with("page", &format!("{endpoint}/{what}")),
            Self::NotFound { what } => Explanation::new("error-not-found").with("what", what),
            Self::TooManyRequests { what, pause } => Explanation::new("error-too-many-requests")
                .with("what", what)
                .with("seconds", pause.as_secs()),
            Self::Status { what, status } => Explanation::new("error-status")
                .with("what", what)
                .with("status", u32::from(*status)),
            Self::Size { file, .. } | Self::Hash { file, .. } => {
                Explanation::new("error-download-differs").with("file", file)
            }
            Self::Answer { what, .. } => Explanation::new("error-answer").with("what", what),
            Self::Repository { repository, .. } => {
                Explanation::new("error-repository").with("repository", repository)
            }
            Self::Busy { what } => Explanation::new("error-busy").with("what", what),
            Self::Token { .. } => Explanation::new("error-token"),
        }
    }
}
