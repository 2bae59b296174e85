//! Names of weights in files written before the attention layers were renamed.

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

#[cfg(test)]
mod tests {
    use super::older_name;

    #[test]
    fn the_layers_of_the_middle_attention_have_older_names() {
        let older = |key: &str| older_name(&format!("encoder.mid_block.attentions.0.{key}"));
        for (present, expected) in [
            ("to_q.weight", Some("query.weight")),
            ("to_k.bias", Some("key.bias")),
            ("to_v.weight", Some("value.weight")),
            ("to_out.0.weight", Some("proj_attn.weight")),
            ("to_out.0.bias", Some("proj_attn.bias")),
            ("group_norm.weight", None),
        ] {
            let expected = expected.map(|older| format!("encoder.mid_block.attentions.0.{older}"));
            assert_eq!(older(present), expected);
        }
        assert_eq!(older_name("decoder.conv_in.weight"), None);
    }
}
