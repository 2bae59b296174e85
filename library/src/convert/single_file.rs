//! Single files, under the names of A1111, ComfyUI and Civitai.

use std::collections::BTreeMap;

use emberbrush_pipeline::checkpoint::{
    component::ComponentWeights,
    files::CheckpointFiles,
    folder::{Family, family},
};
use emberbrush_text_encoder::keys as text_keys;
use emberbrush_unet::keys::{self as unet_keys, LdmLayout};
use emberbrush_vae::keys as vae_keys;
use serde::Deserialize;

use super::{
    WeightType,
    weights::{Planned, planned},
};
use crate::error::LibraryError;

/// The networks of a checkpoint.
pub(super) const NETWORKS: [&str; 4] = ["text_encoder", "text_encoder_2", "unet", "vae"];

/// The projections of the middle attention of an autoencoder.
const ATTENTION: [&str; 4] = ["to_q", "to_k", "to_v", "to_out.0"];

/// The networks of a checkpoint and what their names depend on.
pub(super) struct Networks {
    family: Family,
    unet: UNetLayers,
    vae: AutoencoderLevels,
    weights: Vec<(&'static str, ComponentWeights)>,
}

#[derive(Deserialize)]
struct UNetLayers {
    layers_per_block: usize,
}

#[derive(Deserialize)]
struct AutoencoderLevels {
    block_out_channels: Vec<usize>,
}

/// Where a tensor goes.
enum Place {
    /// It has another name.
    Name(String),
    /// It is a part of OpenCLIP's tensor.
    OpenClip(String, text_keys::Piece),
}

impl Networks {
    /// Opens the weights of a checkpoint folder.
    pub(super) fn open(files: &CheckpointFiles) -> Result<Self, LibraryError> {
        let weights = NETWORKS
            .into_iter()
            .filter(|name| files.contains(&format!("{name}/config.json")))
            .map(|name| Ok((name, ComponentWeights::open(files, name)?)))
            .collect::<Result<Vec<_>, LibraryError>>()?;
        Ok(Self {
            family: family(files)?,
            unet: files.json("unet/config.json")?,
            vae: files.json("vae/config.json")?,
            weights,
        })
    }

    /// Bytes of all weights.
    pub(super) fn bytes(&self) -> u64 {
        self.weights.iter().map(|(_, weights)| weights.stored_bytes()).sum()
    }

    /// What a single file of the checkpoint holds.
    ///
    /// # Errors
    ///
    /// A tensor that has no place in one.
    pub(super) fn planned(
        &self,
        dtype: Option<WeightType>,
    ) -> Result<Vec<Planned<'_>>, LibraryError> {
        let mut written = Vec::new();
        // Queries, keys and values by the name of the tensor that they become.
        let mut thirds: BTreeMap<String, Vec<(usize, Planned<'_>)>> = BTreeMap::new();
        for (network, weights) in &self.weights {
            let layout = self.layout(weights);
            for mut tensor in planned(weights, dtype) {
                let Some(place) = self.place(network, &tensor.key, &layout) else {
                    if network.starts_with("text") && text_keys::expected_unused(&tensor.key) {
                        continue;
                    }
                    return Err(LibraryError::Convert {
                        what: format!("{network}/{}", tensor.key),
                        reason: "this tensor has no name in single files".to_owned(),
                    });
                };
                match place {
                    Place::OpenClip(name, text_keys::Piece::Third(third)) => {
                        thirds.entry(name).or_default().push((third, tensor));
                        continue;
                    }
                    Place::OpenClip(name, text_keys::Piece::Transposed) => {
                        transpose(&mut tensor);
                        tensor.key = name;
                    }
                    Place::OpenClip(name, text_keys::Piece::Whole) => tensor.key = name,
                    Place::Name(name) => {
                        if *network == "vae" && is_attention_matrix(&tensor) {
                            // There they are convolutions of one pixel.
                            tensor.shape.extend([1, 1]);
                        }
                        tensor.key = name;
                    }
                }
                written.push(tensor);
            }
        }
        for (key, thirds) in thirds {
            written.push(one_below_the_other(key, thirds)?);
        }
        Ok(written)
    }

    fn layout(&self, weights: &ComponentWeights) -> LdmLayout {
        let keys: Vec<&str> = weights.headers().map(|header| header.key).collect();
        let has = |begin: String| keys.iter().any(|key| key.starts_with(&begin));
        let has_transformers = |level| has(format!("up_blocks.{level}.attentions."));
        let levels = (0..).take_while(|level| has(format!("up_blocks.{level}.")));
        LdmLayout {
            layers_per_block: self.unet.layers_per_block,
            transformers_on_the_way_up: levels.map(has_transformers).collect(),
        }
    }

    /// Where the tensor that is published as `key` goes.
    fn place(&self, network: &str, key: &str, layout: &LdmLayout) -> Option<Place> {
        let open_clip = |prefix: &str| {
            let (name, piece) = text_keys::open_clip_name(key)?;
            Some(Place::OpenClip(format!("{prefix}{name}"), piece))
        };
        let transformers = |prefix: &str| Some(Place::Name(format!("{prefix}{key}")));
        match (network, self.family) {
            ("unet", _) => {
                let name = unet_keys::ldm_name(key, layout)?;
                Some(Place::Name(format!("model.diffusion_model.{name}")))
            }
            ("vae", _) => {
                let levels = self.vae.block_out_channels.len();
                let name = vae_keys::ldm_name(&present_name(key), levels)?;
                Some(Place::Name(format!("first_stage_model.{name}")))
            }
            ("text_encoder", Family::StableDiffusion1) => {
                transformers("cond_stage_model.transformer.")
            }
            ("text_encoder", Family::StableDiffusion2) => open_clip("cond_stage_model.model."),
            ("text_encoder", _) => transformers("conditioner.embedders.0.transformer."),
            (_, Family::StableDiffusionXlRefiner) => open_clip("conditioner.embedders.0.model."),
            _ => open_clip("conditioner.embedders.1.model."),
        }
    }
}

/// Today's name of a tensor of an autoencoder, which older files call otherwise.
fn present_name(key: &str) -> String {
    let present = ["encoder", "decoder"].into_iter().flat_map(|half| {
        ATTENTION.into_iter().flat_map(move |layer| {
            ["weight", "bias"].map(|kind| format!("{half}.mid_block.attentions.0.{layer}.{kind}"))
        })
    });
    let mut present = present.filter(|name| vae_keys::older_name(name).as_deref() == Some(key));
    present.next().unwrap_or_else(|| key.to_owned())
}

fn is_attention_matrix(tensor: &Planned<'_>) -> bool {
    tensor.key.contains(".mid_block.attentions.") && tensor.shape.len() == 2
}

/// Makes a matrix of the autoencoder's attention out of a convolution of one pixel.
pub(super) fn flatten_attention(tensor: &mut Planned<'_>) {
    if tensor.key.contains(".mid_block.attentions.") && tensor.shape.ends_with(&[1, 1]) {
        tensor.shape.truncate(2);
    }
}

fn transpose(tensor: &mut Planned<'_>) {
    if let (&[rows, columns], [piece]) = (&tensor.shape[..], &mut tensor.pieces[..]) {
        piece.transposed = Some((rows, columns));
        tensor.shape.reverse();
    }
}

/// One tensor of the queries, keys and values of an attention.
fn one_below_the_other<'a>(
    key: String,
    mut thirds: Vec<(usize, Planned<'a>)>,
) -> Result<Planned<'a>, LibraryError> {
    thirds.sort_by_key(|(third, _)| *third);
    let [(0, first), (1, second), (2, third)] = &thirds[..] else {
        return Err(LibraryError::Convert {
            what: key,
            reason: "one of queries, keys and values is not there".to_owned(),
        });
    };
    let is_alike = |other: &Planned<'_>| {
        (other.dtype, &other.shape) == (first.dtype, &first.shape) && !other.shape.is_empty()
    };
    if !is_alike(second) || !is_alike(third) {
        return Err(LibraryError::Convert {
            what: key,
            reason: "queries, keys and values differ in type or shape; give one --dtype".to_owned(),
        });
    }
    let (mut shape, dtype) = (first.shape.clone(), first.dtype);
    shape[0] *= 3;
    let pieces = thirds.into_iter().flat_map(|(_, tensor)| tensor.pieces).collect();
    Ok(Planned { key, shape, dtype, pieces })
}

/// The small files of a checkpoint in Hugging Face layout that a single file stands for.
pub(super) fn small_files(files: &CheckpointFiles) -> Result<Vec<(String, Vec<u8>)>, LibraryError> {
    let of_networks = NETWORKS.iter().map(|network| format!("{network}/config.json"));
    let of_tokenizers = ["tokenizer", "tokenizer_2"].into_iter().flat_map(|tokenizer| {
        ["merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json"]
            .map(|name| format!("{tokenizer}/{name}"))
    });
    let others = ["model_index.json", "scheduler/scheduler_config.json"].map(str::to_owned);
    let mut found = Vec::new();
    for name in others.into_iter().chain(of_networks).chain(of_tokenizers) {
        if let Some(content) = files.read_optional(&name)? {
            found.push((name, content));
        }
    }
    Ok(found)
}
