//! The names of tensors in low-rank adapters, as the programs that write them spell them.
//!
//! A key is a prefix that tells the network, the name of a layer, and the part of the adapter:
//! `lora_unet_mid_block_attentions_0_proj_in` + `.lora_down.weight` (kohya's sd-scripts, with `_`
//! for every `.`), `unet.mid_block.attentions.0.proj_in` + `.lora_A.weight` (diffusers and PEFT),
//! `lora_unet_middle_block_1_proj_in` + `.hada_w1_a` (LyCORIS with names of single files). Names
//! are compared with every `.` as `_`, so that one table serves all of them.

use std::collections::HashMap;

use emberbrush_layers::weights::WeightSource;
use emberbrush_unet::keys::{LdmLayout, ldm_name};

use crate::checkpoint::{CheckpointError, component::ComponentWeights, files::CheckpointFiles};

/// The network that a layer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdaptedNetwork {
    /// The UNet.
    UNet,
    /// The text encoder, the first where there are two.
    TextEncoder,
    /// SDXL's second text encoder.
    TextEncoder2,
}

impl AdaptedNetwork {
    /// Every network that adapters change.
    pub const ALL: [Self; 3] = [Self::UNet, Self::TextEncoder, Self::TextEncoder2];

    /// The network in a folder of a checkpoint.
    pub fn of_component(component: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.component() == component)
    }

    /// Its folder in a checkpoint in Hugging Face layout.
    pub fn component(self) -> &'static str {
        match self {
            Self::UNet => "unet",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
        }
    }
}

/// What a tensor is in the adapter of a layer. The names are LyCORIS'; LoRA's `A` is `down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Down,
    Up,
    Mid,
    Alpha,
    /// The norms of the merged weight (Liu et al. 2024, DoRA).
    Magnitude,
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    HadaT1,
    HadaT2,
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
    /// The whole difference.
    Diff,
}

/// Ends of keys. Of two that fit, the first is meant.
const PARTS: [(&str, Part); 31] = [
    (".lora_down.weight", Part::Down),
    (".lora_up.weight", Part::Up),
    (".lora_mid.weight", Part::Mid),
    (".lora_A.weight", Part::Down),
    (".lora_B.weight", Part::Up),
    (".lora_A.default.weight", Part::Down),
    (".lora_B.default.weight", Part::Up),
    (".lora.down.weight", Part::Down),
    (".lora.up.weight", Part::Up),
    (".lora_linear_layer.down.weight", Part::Down),
    (".lora_linear_layer.up.weight", Part::Up),
    ("_lora.down.weight", Part::Down),
    ("_lora.up.weight", Part::Up),
    (".alpha", Part::Alpha),
    (".dora_scale", Part::Magnitude),
    (".lora_magnitude_vector", Part::Magnitude),
    (".lora_magnitude_vector.weight", Part::Magnitude),
    (".hada_w1_a", Part::HadaW1A),
    (".hada_w1_b", Part::HadaW1B),
    (".hada_w2_a", Part::HadaW2A),
    (".hada_w2_b", Part::HadaW2B),
    (".hada_t1", Part::HadaT1),
    (".hada_t2", Part::HadaT2),
    (".lokr_w1", Part::LokrW1),
    (".lokr_w1_a", Part::LokrW1A),
    (".lokr_w1_b", Part::LokrW1B),
    (".lokr_w2", Part::LokrW2),
    (".lokr_w2_a", Part::LokrW2A),
    (".lokr_w2_b", Part::LokrW2B),
    (".lokr_t2", Part::LokrT2),
    (".diff", Part::Diff),
];

/// Splits a key into the name of a layer and the part of its adapter.
pub(super) fn split(key: &str) -> Option<(&str, Part)> {
    PARTS.iter().find_map(|&(end, part)| Some((key.strip_suffix(end)?, part)))
}

use AdaptedNetwork::{TextEncoder, TextEncoder2, UNet};

/// Prefixes, with `_` for `.`, and the networks that may be meant. The first that fits counts.
const PREFIXES: [(&str, &[AdaptedNetwork]); 13] = [
    ("lora_unet_", &[UNet]),
    ("lora_te1_", &[TextEncoder]),
    ("lora_te2_", &[TextEncoder2]),
    ("lora_te_", &[TextEncoder]),
    ("lycoris_", &[UNet, TextEncoder]),
    ("unet_", &[UNet]),
    ("model_diffusion_model_", &[UNet]),
    ("diffusion_model_", &[UNet]),
    ("text_encoders_clip_l_transformer_", &[TextEncoder]),
    ("text_encoders_clip_g_transformer_", &[TextEncoder2]),
    ("text_encoder_2_", &[TextEncoder2]),
    ("text_encoder_", &[TextEncoder]),
    ("base_model_model_", &[UNet, TextEncoder]),
];

/// The name of a layer as it is compared: with `_` for `.`.
fn flattened(name: &str) -> String {
    name.replace('.', "_")
}

/// The networks that a layer may belong to by its prefix, and the rest of its name.
pub(super) fn networks(layer: &str) -> (&'static [AdaptedNetwork], String) {
    let flat = flattened(layer);
    for (prefix, networks) in PREFIXES {
        if let Some(rest) = flat.strip_prefix(prefix) {
            return (networks, present_name(rest));
        }
    }
    (&[UNet, TextEncoder], present_name(&flat))
}

/// The present name of a layer, where diffusers once wrote that of an attention processor.
fn present_name(name: &str) -> String {
    let name = name.replace("_processor_to_", "_to_");
    for projection in ["q", "k", "v", "out"] {
        if let Some(block) = name.strip_suffix(&format!("self_attn_to_{projection}")) {
            return format!("{block}self_attn_{projection}_proj");
        }
    }
    if name.ends_with("_to_out") { name + "_0" } else { name }
}

/// A weight of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Its published key.
    pub(super) key: String,
    pub(super) shape: Vec<usize>,
}

/// The layers of a checkpoint by the names that adapters have for them.
#[derive(Debug, Clone, Default)]
pub struct LayerNames {
    /// By network and flattened name.
    targets: HashMap<(AdaptedNetwork, String), Target>,
}

impl LayerNames {
    /// The layers of these networks of a checkpoint.
    ///
    /// # Errors
    ///
    /// Where a configuration or the header of a weight file cannot be read.
    pub fn read(
        files: &CheckpointFiles,
        networks: &[AdaptedNetwork],
    ) -> Result<Self, CheckpointError> {
        let mut names = Self::default();
        for &network in networks {
            let component = network.component();
            let source = ComponentWeights::open(files, component)?;
            let layout = match network {
                UNet => LdmLayout::of(&files.json(&format!("{component}/config.json"))?),
                TextEncoder | TextEncoder2 => None,
            };
            for header in source.headers() {
                let shape = source.shape(header.key).unwrap_or_default();
                let ldm = layout.as_ref().and_then(|layout| ldm_name(header.key, layout));
                names.add(network, header.key, &shape, ldm.as_deref());
            }
        }
        Ok(names)
    }

    /// Takes in a tensor of a network by its published key and, where there is one, the name that
    /// another layout has for it. Only weights of linear layers and convolutions are adapted.
    pub fn add(
        &mut self,
        network: AdaptedNetwork,
        key: &str,
        shape: &[usize],
        other_name: Option<&str>,
    ) {
        if shape.len() < 2 || key.ends_with("_embedding.weight") {
            return;
        }
        for name in [Some(key), other_name].into_iter().flatten() {
            if let Some(layer) = name.strip_suffix(".weight") {
                let target = Target { key: key.to_owned(), shape: shape.to_vec() };
                self.targets.insert((network, flattened(layer)), target);
            }
        }
    }

    /// The weight that is changed in a layer of an adapter.
    pub(super) fn find(&self, layer: &str) -> Option<(AdaptedNetwork, &Target)> {
        let (networks, name) = networks(layer);
        networks
            .iter()
            .find_map(|&network| Some((network, self.targets.get(&(network, name.clone()))?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> LayerNames {
        let mut names = LayerNames::default();
        let to_out = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.weight";
        let ldm = "middle_block.1.transformer_blocks.0.attn1.to_out.0.weight";
        names.add(UNet, to_out, &[4, 4], Some(ldm));
        names.add(UNet, "conv_in.weight", &[4, 4, 3, 3], None);
        names.add(UNet, "conv_in.bias", &[4], None);
        for network in [TextEncoder, TextEncoder2] {
            names.add(
                network,
                "text_model.encoder.layers.1.self_attn.q_proj.weight",
                &[4, 4],
                None,
            );
        }
        names
    }

    #[test]
    fn every_spelling_finds_its_layer() {
        let names = names();
        let block = "transformer_blocks";
        for layer in [
            format!("lora_unet_mid_block_attentions_0_{block}_0_attn1_to_out_0"),
            format!("lora_unet_middle_block_1_{block}_0_attn1_to_out_0"),
            format!("unet.mid_block.attentions.0.{block}.0.attn1.to_out.0"),
            format!("unet.mid_block.attentions.0.{block}.0.attn1.processor.to_out"),
            format!("mid_block.attentions.0.{block}.0.attn1.processor.to_out"),
            format!("base_model.model.mid_block.attentions.0.{block}.0.attn1.to_out.0"),
            format!("diffusion_model.middle_block.1.{block}.0.attn1.to_out.0"),
        ] {
            let found = names
                .find(&layer)
                .map(|(network, target)| (network, target.key.contains("to_out.0")));
            assert_eq!(found, Some((UNet, true)), "{layer}");
        }
        let encoder = "text_model.encoder.layers.1.self_attn";
        for (layer, network) in [
            ("lora_te_text_model_encoder_layers_1_self_attn_q_proj".to_owned(), TextEncoder),
            ("lora_te1_text_model_encoder_layers_1_self_attn_q_proj".to_owned(), TextEncoder),
            ("lora_te2_text_model_encoder_layers_1_self_attn_q_proj".to_owned(), TextEncoder2),
            (format!("text_encoder.{encoder}.q_proj"), TextEncoder),
            (format!("text_encoder_2.{encoder}.q_proj"), TextEncoder2),
            (format!("text_encoder.{encoder}.to_q"), TextEncoder),
            (format!("{encoder}.q_proj"), TextEncoder),
        ] {
            assert_eq!(names.find(&layer).map(|(network, _)| network), Some(network), "{layer}");
        }
        let conv_in = names.find("lora_unet_conv_in").map(|(_, target)| target.key.as_str());
        assert_eq!(conv_in, Some("conv_in.weight"));
        assert_eq!(names.find("lora_unet_conv_out"), None);
    }

    #[test]
    fn parts_are_told_by_the_end_of_a_key() {
        assert_eq!(split("a.b.lora_A.weight"), Some(("a.b", Part::Down)));
        assert_eq!(split("a.processor.to_q_lora.up.weight"), Some(("a.processor.to_q", Part::Up)));
        assert_eq!(split("a.lokr_w1_a"), Some(("a", Part::LokrW1A)));
        assert_eq!(split("a.weight"), None);
    }
}
