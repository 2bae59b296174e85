//! The adapters in a folder, and the models that they are for.

use std::path::{Path, PathBuf};

use super::{
    AdapterError, AdapterFolders, AdapterSelection, Embedding, LoraFile,
    folders::{files_below, name},
};
use crate::checkpoint::folder::Family;

/// An adapter file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAdapter {
    /// Where it is.
    pub path: PathBuf,
    /// What flags and prompts call it.
    pub name: String,
    /// What it is.
    pub kind: AdapterKind,
    /// What it was trained for, where its shapes tell.
    pub family: Option<Family>,
}

/// What an adapter file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdapterKind {
    /// LoRA or one of its relatives, which changes so many layers.
    LowRank {
        /// Number of layers.
        layers: usize,
    },
    /// Textual inversion.
    Embedding {
        /// How many tokens it takes in a prompt.
        vectors: usize,
        /// What stands for it in prompts.
        names: Vec<String>,
    },
    /// Nothing that can be used, and why.
    Unusable(String),
}

/// Whether an adapter goes with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compatibility {
    /// Trained for the model's family.
    Fits,
    /// Trained for another.
    OtherFamily,
    /// Known when it is merged: its shapes are those of no family.
    Unknown,
}

impl ListedAdapter {
    /// Looks at a file: at names and shapes, and of an embedding at its values.
    pub fn open(path: &Path) -> Self {
        let (kind, family) = match LoraFile::open(path) {
            Ok(lora) => (AdapterKind::LowRank { layers: lora.layers().len() }, lora.family()),
            Err(AdapterError::NoAdapter { .. }) => match embedding(path) {
                Ok(embedding) => {
                    let names = embedding.names().to_vec();
                    let vectors = embedding.most_vectors();
                    (AdapterKind::Embedding { vectors, names }, embedding.family())
                }
                Err(error) => (AdapterKind::Unusable(error.to_string()), None),
            },
            Err(error) => (AdapterKind::Unusable(error.to_string()), None),
        };
        Self { path: path.to_owned(), name: name(path), kind, family }
    }

    /// Whether it goes with models of a family.
    pub fn compatibility(&self, model: Family) -> Compatibility {
        match self.family {
            _ if matches!(self.kind, AdapterKind::Unusable(_)) => Compatibility::OtherFamily,
            None => Compatibility::Unknown,
            Some(family) if family == model => Compatibility::Fits,
            Some(_) => Compatibility::OtherFamily,
        }
    }
}

fn embedding(path: &Path) -> Result<Embedding, AdapterError> {
    let selection =
        AdapterSelection { embedding: vec![path.to_owned()], ..AdapterSelection::default() };
    let found = AdapterFolders::default().find_embeddings(&selection, std::iter::empty())?;
    let file = found.into_iter().next().ok_or_else(|| AdapterError::NotFound {
        file: path.display().to_string(),
        place: "the file is gone".to_owned(),
    })?;
    Embedding::open(file)
}

/// The adapters in a folder and the folders in it, by path. Files that cannot be used are told with
/// the reason.
pub fn list(folder: &Path) -> Vec<ListedAdapter> {
    let mut files = files_below(folder);
    files.sort();
    files.iter().map(|path| ListedAdapter::open(path)).collect()
}
