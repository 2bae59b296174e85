//! The names of a UNet's tensors in single files, which keep those of the latent-diffusion
//! repository (`ldm/modules/diffusionmodules/openaimodel.py`), below `model.diffusion_model.`.
//!
//! There a network is one list of blocks on the way down and one on the way up: each residual
//! block with its transformer is an entry, and so is each downsampler, while an upsampler is part
//! of the entry before it.

use crate::config::{PerLevel, UNet2DConditionConfig, UpBlockType};

/// What decides the numbering of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdmLayout {
    /// Residual blocks of each level on the way down; one more on the way up.
    pub layers_per_block: usize,
    /// Whether the residual blocks of a level have transformers, from the lowest resolution to the
    /// highest.
    pub transformers_on_the_way_up: Vec<bool>,
}

impl LdmLayout {
    /// The numbering of a network's blocks; `None` where its levels have different numbers of
    /// them, which single files do not know.
    pub fn of(config: &UNet2DConditionConfig) -> Option<Self> {
        let layers_per_block = match &config.layers_per_block {
            PerLevel::Same(layers) => *layers,
            PerLevel::Each(levels) => {
                let first = *levels.first()?;
                levels.iter().all(|&layers| layers == first).then_some(first)?
            }
        };
        let has_transformers = |block: &UpBlockType| !matches!(block, UpBlockType::UpBlock2D);
        let transformers_on_the_way_up = config.up_block_types.iter().map(has_transformers);
        let transformers_on_the_way_up = transformers_on_the_way_up.collect();
        Some(Self { layers_per_block, transformers_on_the_way_up })
    }
}

/// Layers outside the levels: published name, name in a single file.
const OUTER: [(&str, &str); 8] = [
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("time_embedding.cond_proj", "time_embed.cond_proj"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
    ("conv_in", "input_blocks.0.0"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
];

/// Layers of a residual block: published name, name in a single file.
const RESIDUAL_BLOCK: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// The blocks of the middle: published name, name in a single file.
const MIDDLE: [(&str, &str); 3] = [
    ("mid_block.resnets.0", "middle_block.0"),
    ("mid_block.attentions.0", "middle_block.1"),
    ("mid_block.resnets.1", "middle_block.2"),
];

/// The published name of the tensor that a single file calls `name`; `None` for names that are no
/// UNet's.
pub fn published_name(name: &str, layers_per_block: usize) -> Option<String> {
    if let Some(outer) = renamed(name, OUTER.iter().map(|&(new, old)| (old, new))) {
        return Some(outer);
    }
    for (published, place) in MIDDLE {
        if let Some(rest) = below(name, place) {
            return if published.contains("attentions") {
                Some(format!("{published}.{rest}"))
            } else {
                Some(format!("{published}.{}", published_residual(rest)?))
            };
        }
    }
    let (list, rest) = name.split_once('.')?;
    let (number, rest) = numbered(rest)?;
    let (place, rest) = numbered(rest)?;
    match list {
        "input_blocks" => {
            let entries = layers_per_block + 1;
            let level = number.checked_sub(1)? / entries;
            let layer = (number - 1) % entries;
            let block = format!("down_blocks.{level}");
            match place {
                0 if layer == layers_per_block => {
                    Some(format!("{block}.downsamplers.0.conv.{}", rest.strip_prefix("op.")?))
                }
                0 => Some(format!("{block}.resnets.{layer}.{}", published_residual(rest)?)),
                1 if layer < layers_per_block => Some(format!("{block}.attentions.{layer}.{rest}")),
                _ => None,
            }
        }
        "output_blocks" => {
            let entries = layers_per_block + 1;
            let (level, layer) = (number / entries, number % entries);
            let block = format!("up_blocks.{level}");
            match (place, rest.strip_prefix("conv.")) {
                (0, _) => Some(format!("{block}.resnets.{layer}.{}", published_residual(rest)?)),
                (1 | 2, Some(parameter)) => Some(format!("{block}.upsamplers.0.conv.{parameter}")),
                (1, None) => Some(format!("{block}.attentions.{layer}.{rest}")),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The name in a single file of the tensor that is published as `name`; `None` for names that are
/// no UNet's.
pub fn ldm_name(name: &str, layout: &LdmLayout) -> Option<String> {
    if let Some(outer) = renamed(name, OUTER.iter().copied()) {
        return Some(outer);
    }
    for (published, place) in MIDDLE {
        if let Some(rest) = below(name, published) {
            return if published.contains("attentions") {
                Some(format!("{place}.{rest}"))
            } else {
                Some(format!("{place}.{}", ldm_residual(rest)?))
            };
        }
    }
    let (list, rest) = name.split_once('.')?;
    let (level, rest) = numbered(rest)?;
    let (kind, rest) = rest.split_once('.')?;
    let (layer, rest) = numbered(rest)?;
    let entries = layout.layers_per_block + 1;
    match (list, kind) {
        ("down_blocks", "resnets") => {
            Some(format!("input_blocks.{}.0.{}", level * entries + layer + 1, ldm_residual(rest)?))
        }
        ("down_blocks", "attentions") => {
            Some(format!("input_blocks.{}.1.{rest}", level * entries + layer + 1))
        }
        ("down_blocks", "downsamplers") => Some(format!(
            "input_blocks.{}.0.op.{}",
            (level + 1) * entries,
            rest.strip_prefix("conv.")?
        )),
        ("up_blocks", "resnets") => {
            Some(format!("output_blocks.{}.0.{}", level * entries + layer, ldm_residual(rest)?))
        }
        ("up_blocks", "attentions") => {
            Some(format!("output_blocks.{}.1.{rest}", level * entries + layer))
        }
        ("up_blocks", "upsamplers") => {
            let place = 1 + usize::from(*layout.transformers_on_the_way_up.get(level)?);
            let number = level * entries + layout.layers_per_block;
            Some(format!("output_blocks.{number}.{place}.{rest}"))
        }
        _ => None,
    }
}

fn published_residual(rest: &str) -> Option<String> {
    renamed(rest, RESIDUAL_BLOCK.iter().map(|&(new, old)| (old, new)))
}

fn ldm_residual(rest: &str) -> Option<String> {
    renamed(rest, RESIDUAL_BLOCK.iter().copied())
}

/// `name` with the first part that a pair begins with replaced by the other of the pair.
fn renamed<'a>(name: &str, mut pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    pairs.find_map(|(from, to)| Some(format!("{to}.{}", below(name, from)?)))
}

/// What of `name` is below the place `parent`.
fn below<'a>(name: &'a str, parent: &str) -> Option<&'a str> {
    name.strip_prefix(parent)?.strip_prefix('.')
}

/// A number and what follows its point.
fn numbered(rest: &str) -> Option<(usize, &str)> {
    let (number, rest) = rest.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn layout() -> LdmLayout {
        LdmLayout { layers_per_block: 2, transformers_on_the_way_up: vec![false, true, true, true] }
    }

    /// Names of Stable Diffusion 1.
    #[test]
    fn each_name_has_one_in_the_other_layout() {
        for (published, ldm) in [
            ("time_embedding.linear_2.bias", "time_embed.2.bias"),
            ("add_embedding.linear_1.weight", "label_emb.0.0.weight"),
            ("conv_in.weight", "input_blocks.0.0.weight"),
            ("down_blocks.0.resnets.0.norm1.weight", "input_blocks.1.0.in_layers.0.weight"),
            (
                "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k.weight",
                "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight",
            ),
            ("down_blocks.0.downsamplers.0.conv.bias", "input_blocks.3.0.op.bias"),
            (
                "down_blocks.3.resnets.1.time_emb_proj.weight",
                "input_blocks.11.0.emb_layers.1.weight",
            ),
            ("mid_block.resnets.1.conv2.weight", "middle_block.2.out_layers.3.weight"),
            ("mid_block.attentions.0.proj_in.weight", "middle_block.1.proj_in.weight"),
            ("up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.1.conv.weight"),
            ("up_blocks.1.upsamplers.0.conv.weight", "output_blocks.5.2.conv.weight"),
            (
                "up_blocks.3.resnets.2.conv_shortcut.weight",
                "output_blocks.11.0.skip_connection.weight",
            ),
            ("up_blocks.3.attentions.2.norm.bias", "output_blocks.11.1.norm.bias"),
            ("conv_norm_out.weight", "out.0.weight"),
            ("conv_out.bias", "out.2.bias"),
        ] {
            assert_eq!(ldm_name(published, &layout()).as_deref(), Some(ldm));
            assert_eq!(published_name(ldm, 2).as_deref(), Some(published));
        }
    }

    #[test]
    fn other_names_have_none() {
        for name in ["", "input_blocks", "input_blocks.0.1.x", "input_blocks.3.1.op.bias", "a.b.c"]
        {
            assert_eq!(published_name(name, 2), None, "{name}");
            assert_eq!(ldm_name(name, &layout()), None, "{name}");
        }
    }
}
