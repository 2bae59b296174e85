//! How settings name an autoencoder that stands in for a checkpoint's own.

use super::ModelHash;
use crate::checkpoint::vae_override::VaeOverride;

/// The name of an autoencoder, and its hash, which is read meanwhile.
#[derive(Debug)]
pub struct VaeHash {
    name: String,
    hash: ModelHash,
}

impl VaeHash {
    /// Begins to read its weights.
    pub fn start(vae: &VaeOverride) -> Self {
        Self { name: vae.name(), hash: ModelHash::of_vae(vae) }
    }

    /// What settings say, once all is read.
    pub fn record(&self) -> VaeRecord {
        VaeRecord { name: self.name.clone(), hash: self.hash.get() }
    }
}

/// What settings say of an autoencoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaeRecord {
    /// The name of its file or folder.
    pub name: String,
    /// The first digits of the hash of its weights.
    pub hash: Option<String>,
}
