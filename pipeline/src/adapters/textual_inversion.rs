//! Embeddings of textual inversion (Gal et al. 2022): vectors that stand in prompts for a name.

use std::{path::Path, sync::OnceLock};

use emberbrush_text_encoder::Tokenizer;

use super::{AdaptedNetwork, AdapterError, FoundFile, lora_file::finite_numbers};
use crate::{
    checkpoint::{folder::Family, tensor_file::TensorFile},
    metadata::adapters::hash_of_file,
};

/// The most vectors that an embedding may have: as many as a text encoder reads at once.
const MAX_VECTORS: usize = 75;

/// An embedding.
#[derive(Debug)]
pub struct Embedding {
    file: FoundFile,
    names: Vec<String>,
    vectors: Vec<EncoderVectors>,
    hash: OnceLock<Option<String>>,
}

/// The vectors of one text encoder.
#[derive(Debug)]
pub struct EncoderVectors {
    /// The text encoder.
    pub encoder: AdaptedNetwork,
    /// Number of vectors.
    pub count: usize,
    /// Channels of each.
    pub width: usize,
    /// `[count, width]`, row after row.
    pub values: Vec<f32>,
}

impl PartialEq for Embedding {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

impl Embedding {
    /// Reads a file: A1111's (`emb_params`), SDXL's (`clip_l` and `clip_g`), or diffusers' (the
    /// token as key).
    ///
    /// # Errors
    ///
    /// A file that is broken or holds no embedding.
    pub fn open(file: FoundFile) -> Result<Self, AdapterError> {
        let path = file.path.as_path();
        let tensors = TensorFile::open(path)?;
        let mut keys = tensors.keys();
        keys.sort();
        let mut names = vec![file.name()];
        let mut vectors = Vec::new();
        // A1111's pickles hold numbers of their vocabulary beside the vectors.
        keys.retain(|key| !key.starts_with("string_to_token"));
        let is_single = keys.len() == 1;
        for key in &keys {
            let encoder = match key.as_str() {
                "clip_g" | "text_encoders_1" => AdaptedNetwork::TextEncoder2,
                "clip_l" | "text_encoders_0" | "emb_params" => AdaptedNetwork::TextEncoder,
                key if key.starts_with("string_to_param") => AdaptedNetwork::TextEncoder,
                token if is_single => {
                    names.push(token.to_owned());
                    AdaptedNetwork::TextEncoder
                }
                _ => continue,
            };
            vectors.push(read(path, &tensors, key, encoder)?);
        }
        if vectors.is_empty() {
            return Err(not_an_embedding(path, keys.first().map(String::as_str)));
        }
        vectors.sort_by_key(|vectors| vectors.encoder);
        names.dedup();
        Ok(Self { file, names, vectors, hash: OnceLock::new() })
    }

    /// Its file.
    pub fn file(&self) -> &FoundFile {
        &self.file
    }

    /// The hash by which A1111 knows it; `None` where the file cannot be read any more.
    pub fn hash(&self) -> Option<String> {
        self.hash.get_or_init(|| hash_of_file(&self.file.path).ok()).clone()
    }

    /// What stands for it in prompts: the file's name, and diffusers' token.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds its names to the tokenizer of the first text encoder. One that cannot be added stands
    /// for itself, as in a run.
    pub fn add_names(&self, tokenizer: &mut Tokenizer) {
        let Some(vectors) = self.vectors(AdaptedNetwork::TextEncoder) else { return };
        for name in &self.names {
            let _ = tokenizer.add_embedding(name, vectors.count);
        }
    }

    /// The vectors of a text encoder.
    pub fn vectors(&self, encoder: AdaptedNetwork) -> Option<&EncoderVectors> {
        self.vectors.iter().find(|vectors| vectors.encoder == encoder)
    }

    /// How many tokens it takes in a prompt.
    pub fn most_vectors(&self) -> usize {
        self.vectors.iter().map(|vectors| vectors.count).max().unwrap_or(0)
    }

    /// The family that it was trained for, by the widths of its vectors.
    pub fn family(&self) -> Option<Family> {
        match self.vectors.as_slice() {
            [one] if one.encoder == AdaptedNetwork::TextEncoder => match one.width {
                768 => Some(Family::StableDiffusion1),
                1024 => Some(Family::StableDiffusion2),
                _ => None,
            },
            [_, _] => Some(Family::StableDiffusionXl),
            _ => None,
        }
    }

    /// Whether the text encoders of a checkpoint, with the widths of their hidden states, can read
    /// it.
    ///
    /// # Errors
    ///
    /// [`AdapterError::EmbeddingShape`] where they cannot.
    pub fn check(
        &self,
        encoders: &[(AdaptedNetwork, usize)],
        checkpoint: &str,
    ) -> Result<(), AdapterError> {
        let found = self.vectors.iter().map(|vectors| (vectors.encoder, vectors.width));
        if found.clone().eq(encoders.iter().copied()) {
            return Ok(());
        }
        let widths = |widths: &mut dyn Iterator<Item = (AdaptedNetwork, usize)>| {
            widths.map(|(_, width)| width.to_string()).collect::<Vec<_>>().join(" and ")
        };
        Err(AdapterError::EmbeddingShape {
            path: self.file.path.display().to_string(),
            family: self.family(),
            found: widths(&mut found.into_iter()),
            checkpoint: checkpoint.to_owned(),
            expected: widths(&mut encoders.iter().copied()),
        })
    }
}

fn read(
    path: &Path,
    tensors: &TensorFile,
    key: &str,
    encoder: AdaptedNetwork,
) -> Result<EncoderVectors, AdapterError> {
    let shape = tensors.info(key).map(|info| info.shape).unwrap_or_default();
    let (count, width) = match *shape.as_slice() {
        [width] => (1, width),
        [count, width] => (count, width),
        _ => return Err(not_an_embedding(path, Some(key))),
    };
    if !(1..=MAX_VECTORS).contains(&count) || width == 0 {
        return Err(not_an_embedding(path, Some(key)));
    }
    let values = finite_numbers(tensors, key).map_err(AdapterError::Tensor)?;
    Ok(EncoderVectors { encoder, count, width, values })
}

fn not_an_embedding(path: &Path, key: Option<&str>) -> AdapterError {
    AdapterError::NoEmbedding {
        path: path.display().to_string(),
        key: key.unwrap_or_default().to_owned(),
    }
}
