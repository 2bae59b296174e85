//! Where in a single file the networks are, and under which names.

use std::collections::BTreeMap;

use emberbrush_text_encoder::keys::{self as text_keys, Piece};
use emberbrush_unet::keys as unet_keys;
use emberbrush_vae::keys as vae_keys;

use super::unet_shape;
use crate::checkpoint::{folder::Family, tensor_file::TensorFile};

/// Where single files hold the autoencoder.
pub(super) const VAE: &str = "first_stage_model.";

/// Under which names a text encoder's tensors are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextNames {
    /// The published ones.
    Transformers,
    /// OpenCLIP's.
    OpenClip,
}

/// A text encoder in a single file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextEncoder {
    prefix: &'static str,
    pub(super) names: TextNames,
    /// Whether the oldest files are meant, whose names begin one level lower.
    lacks_root: bool,
}

/// Where a first text encoder may be.
const FIRST: [(&str, TextNames); 4] = [
    ("cond_stage_model.transformer.", TextNames::Transformers),
    ("cond_stage_model.model.", TextNames::OpenClip),
    ("conditioner.embedders.0.transformer.", TextNames::Transformers),
    ("conditioner.embedders.0.model.", TextNames::OpenClip),
];

/// Where a second one may be.
const SECOND: [(&str, TextNames); 2] = [
    ("conditioner.embedders.1.model.", TextNames::OpenClip),
    ("conditioner.embedders.1.transformer.", TextNames::Transformers),
];

/// The level that published names of a text encoder begin with.
const TEXT_ROOT: &str = "text_model.";

/// A tensor as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::checkpoint) struct StoredTensor {
    /// Its name in the file.
    pub(in crate::checkpoint) name: String,
    /// Which part of it is meant.
    pub(in crate::checkpoint) piece: Piece,
}

impl StoredTensor {
    fn whole(name: &str) -> Self {
        Self { name: name.to_owned(), piece: Piece::Whole }
    }
}

/// The tensors of one network by their published names.
pub(in crate::checkpoint) type Tensors = BTreeMap<String, StoredTensor>;

impl TextEncoder {
    fn find(names: &[String], places: &[(&'static str, TextNames)]) -> Option<Self> {
        let (prefix, style) =
            places.iter().find(|(prefix, _)| names.iter().any(|name| name.starts_with(prefix)))?;
        let lacks_root = *style == TextNames::Transformers
            && names.iter().any(|name| {
                name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("embeddings."))
            });
        Some(Self { prefix, names: *style, lacks_root })
    }

    /// The name of the tensor in the file that holds the one published as `name`.
    pub(super) fn stored_name(&self, name: &str) -> Option<String> {
        let name = match self.names {
            TextNames::Transformers if self.lacks_root => {
                name.strip_prefix(TEXT_ROOT).unwrap_or(name).to_owned()
            }
            TextNames::Transformers => name.to_owned(),
            TextNames::OpenClip => text_keys::open_clip_name(name)?.0,
        };
        Some(format!("{}{name}", self.prefix))
    }

    /// The published tensors that the file's tensor `name` holds.
    fn published(&self, name: &str) -> Vec<(String, Piece)> {
        let Some(rest) = name.strip_prefix(self.prefix) else { return Vec::new() };
        match self.names {
            TextNames::Transformers if self.lacks_root => {
                vec![(format!("{TEXT_ROOT}{rest}"), Piece::Whole)]
            }
            TextNames::Transformers => vec![(rest.to_owned(), Piece::Whole)],
            TextNames::OpenClip => text_keys::published_from_open_clip(rest),
        }
    }
}

/// Where the networks of a single file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrangement {
    first: Option<TextEncoder>,
    second: Option<TextEncoder>,
    layers_per_block: usize,
    vae_levels: usize,
}

impl Arrangement {
    pub(super) fn find(file: &TensorFile, names: &[String]) -> Self {
        let has_level =
            |level: &usize| file.contains(&format!("{VAE}decoder.up.{level}.block.0.norm1.weight"));
        Self {
            first: TextEncoder::find(names, &FIRST),
            second: TextEncoder::find(names, &SECOND),
            layers_per_block: unet_shape::layers_per_block(file).unwrap_or(2),
            vae_levels: (0..16).take_while(has_level).count(),
        }
    }

    /// The text encoders by the folders in which checkpoints of `family` are published.
    pub(super) fn text_encoders(
        &self,
        family: Family,
    ) -> impl Iterator<Item = (&'static str, &TextEncoder)> {
        let first = match family {
            Family::StableDiffusionXlRefiner => "text_encoder_2",
            _ => "text_encoder",
        };
        let second = self.second.as_ref().filter(|_| family == Family::StableDiffusionXl);
        let second = second.map(|encoder| ("text_encoder_2", encoder));
        self.first.as_ref().map(|encoder| (first, encoder)).into_iter().chain(second)
    }

    /// Divides the tensors among the folders of a checkpoint in Hugging Face layout. What belongs
    /// to no network is given back beside them.
    pub(super) fn divide(
        &self,
        names: &[String],
        family: Family,
    ) -> (BTreeMap<&'static str, Tensors>, Vec<String>) {
        let mut components: BTreeMap<&'static str, Tensors> = BTreeMap::new();
        let mut left = Vec::new();
        for name in names {
            let mut published: Vec<(&'static str, String, Piece)> = Vec::new();
            if let Some(rest) = name.strip_prefix(unet_shape::PREFIX) {
                let key = unet_keys::published_name(rest, self.layers_per_block);
                published.extend(key.map(|key| ("unet", key, Piece::Whole)));
            } else if let Some(rest) = name.strip_prefix(VAE) {
                let key = vae_keys::published_name(rest, self.vae_levels);
                published.extend(key.map(|key| ("vae", key, Piece::Whole)));
            } else {
                for (component, encoder) in self.text_encoders(family) {
                    let held = encoder.published(name).into_iter();
                    published.extend(held.map(|(key, piece)| (component, key, piece)));
                }
            }
            if published.is_empty() {
                left.push(name.clone());
            }
            for (component, key, piece) in published {
                let stored = StoredTensor { piece, ..StoredTensor::whole(name) };
                components.entry(component).or_default().insert(key, stored);
            }
        }
        (components, left)
    }
}

/// Whether single files carry a tensor of this name although no network needs it: what training
/// leaves behind, schedules, and marks that say what the model predicts.
pub(super) fn is_expected_unused(name: &str) -> bool {
    const BEGINNINGS: [&str; 13] = [
        "model_ema.",
        "first_stage_model.loss.",
        "first_stage_model.model_ema.",
        "cond_stage_model.logit_scale",
        "alphas_cumprod",
        "sqrt_",
        "log_one_minus_",
        "posterior_",
        "lvlb_weights",
        "logvar",
        "denoiser.",
        "edm_",
        "optimizer",
    ];
    const NAMES: [&str; 5] = ["betas", "global_step", "v_pred", "ztsnr", "scale_factor"];
    NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}
