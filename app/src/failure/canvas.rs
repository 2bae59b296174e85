//! Documents, fills and the gallery.

use super::{
    Explain, Explanation,
    files::{cause, read},
};
use crate::{
    canvas::{
        ContentError, ember_file::EmberFileError, fill::FillError, journal::JournalError,
        layer::LayerError, mask::MaskFileError,
    },
    window::gallery::index::IndexError,
};

impl Explain for EmberFileError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Io { path, source } => read(path, source),
            Self::Zip { path, .. } => Explanation::new("error-document-damaged").with("path", path),
            Self::Content { path, source } => document(path, source),
            Self::Output(error) => error.explain(),
        }
    }
}

impl Explain for JournalError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Io { path, source } => Explanation::new("error-document-not-kept")
                .with("path", path)
                .with("cause", cause(source)),
            Self::Content { path, source } => document(path, source),
        }
    }
}

fn document(path: &str, content: &ContentError) -> Explanation {
    match content {
        ContentError::Version { .. } => Explanation::new("error-document-newer").with("path", path),
        ContentError::TooLarge { most_megabytes } => Explanation::new("error-document-too-large")
            .with("path", path)
            .with("most", *most_megabytes),
        ContentError::Json(_)
        | ContentError::Format
        | ContentError::Missing { .. }
        | ContentError::Damaged { .. }
        | ContentError::Size { .. }
        | ContentError::Layer { .. }
        | ContentError::Picture(_) => Explanation::new("error-document-damaged").with("path", path),
    }
}

impl Explain for MaskFileError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Picture(error) => error.explain(),
            Self::Output(error) => error.explain(),
        }
    }
}

impl Explain for FillError {
    fn explain(&self) -> Explanation {
        match self {
            Self::NothingPainted => Explanation::new("error-nothing-painted"),
            Self::NoLayer => Explanation::new("error-layer-deleted"),
            Self::Changed => Explanation::new("error-document-changed"),
            Self::Picture(error) => error.explain(),
            Self::Layer(error) => error.explain(),
        }
    }
}

impl Explain for LayerError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Empty => Explanation::new("error-mask-empty"),
            Self::Size { .. } | Self::Outside | Self::Kind { .. } | Self::Choice { .. } => {
                Explanation::new("error-layer-misfit")
            }
        }
    }
}

impl Explain for IndexError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Database(_) => Explanation::new("error-gallery-index"),
            Self::Folder { path, source } => read(path, source),
        }
    }
}
