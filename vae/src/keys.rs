//! Names of an autoencoder's tensors in other files than those of today's diffusers: in files
//! written before the attention layers were renamed, and in single files, which keep the names of
//! the latent-diffusion repository (`ldm/modules/diffusionmodules/model.py`) below
//! `first_stage_model.`.

/// The layers of the middle attention: present name, name until diffusers 0.12, which the
/// published Stable Diffusion 1 and 2 still use.
const RENAMED: [(&str, &str); 4] =
    [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")];

/// The older name of the tensor `key`, where it has one.
pub fn older_name(key: &str) -> Option<String> {
    let (block, layer) = key.split_once(".mid_block.attentions.0.")?;
    let (layer, parameter) = layer.rsplit_once('.')?;
    let (_, older) = RENAMED.iter().find(|(present, _)| *present == layer)?;
    Some(format!("{block}.mid_block.attentions.0.{older}.{parameter}"))
}

/// The present name of the tensor that older files call `older`, where it is one of those that
/// were renamed.
pub fn present_name(older: &str) -> Option<String> {
    let (block, layer) = older.split_once(".mid_block.attentions.0.")?;
    let (layer, parameter) = layer.rsplit_once('.')?;
    let (present, _) = RENAMED.iter().find(|(_, older)| *older == layer)?;
    Some(format!("{block}.mid_block.attentions.0.{present}.{parameter}"))
}

/// Layers of the middle attention: published name, name in a single file, where they are 1×1
/// convolutions.
const LDM_ATTENTION: [(&str, &str); 5] =
    [("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")];

/// Layers at the end of encoder and decoder, and in residual blocks: published name, name in a
/// single file. Other layers have one name.
const LDM_LAYERS: [(&str, &str); 2] =
    [("conv_norm_out", "norm_out"), ("conv_shortcut", "nin_shortcut")];

/// The published name of the tensor that a single file calls `name`, for an autoencoder of so many
/// levels; `None` for names that are no autoencoder's.
pub fn published_name(name: &str, levels: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["quant_conv" | "post_quant_conv", _] => Some(name.to_owned()),
        [half, "conv_in" | "conv_out" | "norm_out", parameter] if is_half(half) => {
            Some(format!("{half}.{}.{parameter}", published_layer(parts[1])))
        }
        [half, "mid", "attn_1", attention, parameter] if is_half(half) => {
            let (published, _) = LDM_ATTENTION.iter().find(|(_, old)| old == attention)?;
            Some(format!("{half}.mid_block.attentions.0.{published}.{parameter}"))
        }
        [half, "mid", block @ ("block_1" | "block_2"), inner, parameter] if is_half(half) => {
            let number = usize::from(*block == "block_2");
            Some(format!(
                "{half}.mid_block.resnets.{number}.{}.{parameter}",
                published_layer(inner)
            ))
        }
        ["encoder", "down", level, "downsample", "conv", parameter] => {
            Some(format!("encoder.down_blocks.{level}.downsamplers.0.conv.{parameter}"))
        }
        ["encoder", "down", level, "block", block, inner, parameter] => Some(format!(
            "encoder.down_blocks.{level}.resnets.{block}.{}.{parameter}",
            published_layer(inner)
        )),
        ["decoder", "up", level, "upsample", "conv", parameter] => {
            let level = mirrored(level, levels)?;
            Some(format!("decoder.up_blocks.{level}.upsamplers.0.conv.{parameter}"))
        }
        ["decoder", "up", level, "block", block, inner, parameter] => {
            let level = mirrored(level, levels)?;
            Some(format!(
                "decoder.up_blocks.{level}.resnets.{block}.{}.{parameter}",
                published_layer(inner)
            ))
        }
        _ => None,
    }
}

/// The name in a single file of the tensor that is published as `name`, for an autoencoder of so
/// many levels; `None` for names that are no autoencoder's.
pub fn ldm_name(name: &str, levels: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["quant_conv" | "post_quant_conv", _] => Some(name.to_owned()),
        [half, "conv_in" | "conv_out" | "conv_norm_out", parameter] if is_half(half) => {
            Some(format!("{half}.{}.{parameter}", ldm_layer(parts[1])))
        }
        [half, "mid_block", "attentions", "0", attention @ .., parameter] if is_half(half) => {
            let attention = attention.join(".");
            let (_, old) = LDM_ATTENTION.iter().find(|(published, _)| *published == attention)?;
            Some(format!("{half}.mid.attn_1.{old}.{parameter}"))
        }
        [half, "mid_block", "resnets", block, inner, parameter] if is_half(half) => {
            let number = block.parse::<usize>().ok()? + 1;
            Some(format!("{half}.mid.block_{number}.{}.{parameter}", ldm_layer(inner)))
        }
        ["encoder", "down_blocks", level, "downsamplers", "0", "conv", parameter] => {
            Some(format!("encoder.down.{level}.downsample.conv.{parameter}"))
        }
        ["encoder", "down_blocks", level, "resnets", block, inner, parameter] => {
            Some(format!("encoder.down.{level}.block.{block}.{}.{parameter}", ldm_layer(inner)))
        }
        ["decoder", "up_blocks", level, "upsamplers", "0", "conv", parameter] => {
            let level = mirrored(level, levels)?;
            Some(format!("decoder.up.{level}.upsample.conv.{parameter}"))
        }
        ["decoder", "up_blocks", level, "resnets", block, inner, parameter] => {
            let level = mirrored(level, levels)?;
            Some(format!("decoder.up.{level}.block.{block}.{}.{parameter}", ldm_layer(inner)))
        }
        _ => None,
    }
}

fn is_half(part: &str) -> bool {
    matches!(part, "encoder" | "decoder")
}

fn published_layer(name: &str) -> &str {
    LDM_LAYERS.iter().find(|(_, old)| *old == name).map_or(name, |(published, _)| published)
}

fn ldm_layer(name: &str) -> &str {
    LDM_LAYERS.iter().find(|(published, _)| *published == name).map_or(name, |(_, old)| old)
}

/// Single files count the decoder's levels from the highest resolution, published ones from the
/// lowest.
fn mirrored(level: &str, levels: usize) -> Option<usize> {
    levels.checked_sub(1)?.checked_sub(level.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::{ldm_name, older_name, present_name, published_name};

    #[test]
    fn the_layers_of_the_middle_attention_have_older_names() {
        for (present, expected) in [
            ("to_q.weight", Some("query.weight")),
            ("to_k.bias", Some("key.bias")),
            ("to_v.weight", Some("value.weight")),
            ("to_out.0.weight", Some("proj_attn.weight")),
            ("to_out.0.bias", Some("proj_attn.bias")),
            ("group_norm.weight", None),
        ] {
            let expected = expected.map(|older| format!("encoder.mid_block.attentions.0.{older}"));
            let back = expected.as_deref().and_then(present_name);
            let present = format!("encoder.mid_block.attentions.0.{present}");
            assert_eq!(back.is_some_and(|back| back == present), expected.is_some());
            assert_eq!(older_name(&present), expected);
        }
        assert_eq!(older_name("decoder.conv_in.weight"), None);
    }

    #[test]
    fn each_name_has_one_in_single_files() {
        for (published, ldm) in [
            ("encoder.conv_in.weight", "encoder.conv_in.weight"),
            ("decoder.conv_norm_out.bias", "decoder.norm_out.bias"),
            ("quant_conv.weight", "quant_conv.weight"),
            (
                "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
                "encoder.down.1.block.0.nin_shortcut.weight",
            ),
            (
                "encoder.down_blocks.2.downsamplers.0.conv.bias",
                "encoder.down.2.downsample.conv.bias",
            ),
            ("encoder.mid_block.resnets.1.norm2.weight", "encoder.mid.block_2.norm2.weight"),
            ("decoder.mid_block.attentions.0.group_norm.bias", "decoder.mid.attn_1.norm.bias"),
            (
                "decoder.mid_block.attentions.0.to_out.0.weight",
                "decoder.mid.attn_1.proj_out.weight",
            ),
            ("decoder.up_blocks.0.resnets.2.conv1.weight", "decoder.up.3.block.2.conv1.weight"),
            ("decoder.up_blocks.2.upsamplers.0.conv.weight", "decoder.up.1.upsample.conv.weight"),
        ] {
            assert_eq!(ldm_name(published, 4).as_deref(), Some(ldm));
            assert_eq!(published_name(ldm, 4).as_deref(), Some(published));
        }
        for name in ["", "loss.logvar", "decoder.up.4.block.0.conv1.weight", "model_ema.decay"] {
            assert_eq!(published_name(name, 4), None, "{name}");
            assert_eq!(ldm_name(name, 4), None, "{name}");
        }
    }
}
