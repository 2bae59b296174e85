//! The published names of a text encoder's tensors.
//!
//! They are those of transformers' `CLIPTextModel` (`models/clip/modeling_clip.py`):
//! `text_model.embeddings.{token,position}_embedding.weight`,
//! `text_model.encoder.layers.{n}.{layer_norm1,layer_norm2,self_attn.*,mlp.*}`,
//! `text_model.final_layer_norm` and, with a projection, `text_projection.weight`.

/// Whether published files carry `key` although no text encoder needs it, so that it is no sign
/// of a mismatch.
///
/// These are `position_ids` (the integers `0..77`, a buffer that older transformers versions
/// stored), `logit_scale` (the temperature of CLIP's training loss), and the `text_projection`
/// that a `CLIPTextModel` without projection leaves aside.
pub fn expected_unused(key: &str) -> bool {
    let name = key.strip_suffix(".weight").unwrap_or(key);
    let name = name.rsplit('.').next().unwrap_or(name);
    matches!(name, "position_ids" | "logit_scale" | "text_projection")
}

#[cfg(test)]
mod tests {
    use super::expected_unused;

    #[test]
    fn only_leftovers_are_expected() {
        assert!(expected_unused("text_model.embeddings.position_ids"));
        assert!(expected_unused("logit_scale"));
        assert!(expected_unused("text_projection.weight"));
        assert!(!expected_unused("text_model.embeddings.position_embedding.weight"));
        assert!(!expected_unused("text_model.encoder.layers.0.layer_norm1.weight"));
    }
}
