//! Names of ControlNet tensors in single files of the LDM layout (lllyasviel's `cldm/cldm.py`).

/// The prefixes that such files have before every name: none where the network was taken out of
/// a whole checkpoint.
pub const LDM_PREFIXES: [&str; 2] = ["control_model.", ""];

/// What the names of a file depend on beside themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LdmLayout {
    /// Residual blocks of each level.
    pub layers_per_block: usize,
    /// Convolutions of the conditioning embedding between the first and the last.
    pub embedding_blocks: usize,
}

impl LdmLayout {
    /// Reads the layout off the names without prefix. `None` where they are not of this layout.
    pub fn recognise(has: impl Fn(&str) -> bool) -> Option<Self> {
        if !has("zero_convs.0.0.weight") || !has("input_hint_block.0.weight") {
            return None;
        }
        let downsampler =
            (1..).take_while(|block| has(&format!("input_blocks.{block}.0.in_layers.0.weight")));
        let layers_per_block = downsampler.count();
        let hints =
            (1..).take_while(|layer| has(&format!("input_hint_block.{}.weight", 2 * layer)));
        Some(Self { layers_per_block, embedding_blocks: hints.count().saturating_sub(1) })
    }

    /// The name, without prefix, of the tensor that diffusers calls `key`; `None` where there is no
    /// such.
    pub fn key(self, key: &str) -> Option<String> {
        let parts: Vec<&str> = key.split('.').collect();
        Some(match parts.as_slice() {
            ["time_embedding", layer, last] => format!("time_embed.{}.{last}", linear(layer)?),
            ["add_embedding", layer, last] => format!("label_emb.0.{}.{last}", linear(layer)?),
            ["conv_in", last] => format!("input_blocks.0.0.{last}"),
            ["down_blocks", level, "downsamplers", "0", "conv", last] => {
                let place = (number(level)? + 1) * (self.layers_per_block + 1);
                format!("input_blocks.{place}.0.op.{last}")
            }
            ["down_blocks", level, "resnets", layer, rest @ ..] => {
                let place = self.place(level, layer)?;
                format!("input_blocks.{place}.0.{}", resnet(rest)?)
            }
            ["down_blocks", level, "attentions", layer, rest @ ..] => {
                format!("input_blocks.{}.1.{}", self.place(level, layer)?, rest.join("."))
            }
            ["mid_block", "resnets", layer, rest @ ..] => {
                format!("middle_block.{}.{}", 2 * number(layer)?, resnet(rest)?)
            }
            ["mid_block", "attentions", "0", rest @ ..] => {
                format!("middle_block.1.{}", rest.join("."))
            }
            ["controlnet_cond_embedding", "conv_in", last] => format!("input_hint_block.0.{last}"),
            ["controlnet_cond_embedding", "blocks", block, last] => {
                format!("input_hint_block.{}.{last}", 2 * (number(block)? + 1))
            }
            ["controlnet_cond_embedding", "conv_out", last] => {
                format!("input_hint_block.{}.{last}", 2 * (self.embedding_blocks + 1))
            }
            ["controlnet_down_blocks", block, last] => format!("zero_convs.{block}.0.{last}"),
            ["controlnet_mid_block", last] => format!("middle_block_out.0.{last}"),
            _ => return None,
        })
    }

    /// The input block of a level's layer.
    fn place(self, level: &str, layer: &str) -> Option<usize> {
        Some(1 + number(level)? * (self.layers_per_block + 1) + number(layer)?)
    }
}

/// A number of a name. None of a network has more digits.
fn number(text: &str) -> Option<usize> {
    text.parse::<u16>().ok().map(usize::from)
}

fn linear(layer: &str) -> Option<usize> {
    match layer {
        "linear_1" => Some(0),
        "linear_2" => Some(2),
        _ => None,
    }
}

fn resnet(rest: &[&str]) -> Option<String> {
    let [layer, last] = rest else { return None };
    let layer = match *layer {
        "norm1" => "in_layers.0",
        "conv1" => "in_layers.2",
        "time_emb_proj" => "emb_layers.1",
        "norm2" => "out_layers.0",
        "conv2" => "out_layers.3",
        "conv_shortcut" => "skip_connection",
        _ => return None,
    };
    Some(format!("{layer}.{last}"))
}
