//! The published names of a text encoder's tensors.
//!
//! They are those of transformers' `CLIPTextModel` (`models/clip/modeling_clip.py`):
//! `text_model.embeddings.{token,position}_embedding.weight`,
//! `text_model.encoder.layers.{n}.{layer_norm1,layer_norm2,self_attn.*,mlp.*}`,
//! `text_model.final_layer_norm` and, with a projection, `text_projection.weight`.
//!
//! Single files hold the encoders of Stable Diffusion 2 and the second one of Stable Diffusion XL
//! under the names of OpenCLIP (`open_clip/transformer.py`): there queries, keys and values of an
//! attention are one tensor, and the projection is stored transposed.

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

/// Which part of a stored tensor a published one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// All of it.
    Whole,
    /// One third of its rows, counted from 0: queries, keys or values.
    Third(usize),
    /// All of it with rows and columns exchanged.
    Transposed,
}

/// Tensors outside the layers: published name, OpenCLIP's name.
const OPEN_CLIP: [(&str, &str, Piece); 6] = [
    ("text_model.embeddings.token_embedding.weight", "token_embedding.weight", Piece::Whole),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding", Piece::Whole),
    ("text_model.final_layer_norm.weight", "ln_final.weight", Piece::Whole),
    ("text_model.final_layer_norm.bias", "ln_final.bias", Piece::Whole),
    ("text_projection.weight", "text_projection", Piece::Transposed),
    ("logit_scale", "logit_scale", Piece::Whole),
];

/// What a transformer layer consists of: published name, OpenCLIP's name.
const OPEN_CLIP_LAYER: [(&str, &str); 5] = [
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("self_attn.out_proj", "attn.out_proj"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
];

/// The projections that OpenCLIP's `attn.in_proj_weight` and `attn.in_proj_bias` hold one below
/// the other.
const OPEN_CLIP_ATTENTION: [&str; 3] = ["q_proj", "k_proj", "v_proj"];

/// The published tensors that OpenCLIP's tensor `name` holds, and where in it; none for names that
/// are not OpenCLIP's.
pub fn published_from_open_clip(name: &str) -> Vec<(String, Piece)> {
    if let Some((published, _, piece)) = OPEN_CLIP.iter().find(|(_, stored, _)| *stored == name) {
        return vec![((*published).to_owned(), *piece)];
    }
    let Some((layer, rest)) =
        name.strip_prefix("transformer.resblocks.").and_then(|rest| rest.split_once('.'))
    else {
        return Vec::new();
    };
    let layer = format!("text_model.encoder.layers.{layer}");
    if let Some(parameter) = rest.strip_prefix("attn.in_proj_") {
        let third = |(index, projection): (usize, &&str)| {
            (format!("{layer}.self_attn.{projection}.{parameter}"), Piece::Third(index))
        };
        return OPEN_CLIP_ATTENTION.iter().enumerate().map(third).collect();
    }
    OPEN_CLIP_LAYER
        .iter()
        .find_map(|(published, stored)| {
            let parameter = rest.strip_prefix(stored)?.strip_prefix('.')?;
            Some((format!("{layer}.{published}.{parameter}"), Piece::Whole))
        })
        .into_iter()
        .collect()
}

/// OpenCLIP's tensor that holds the one published as `name`, and where in it; `None` for names that
/// have no place there.
pub fn open_clip_name(name: &str) -> Option<(String, Piece)> {
    if let Some((_, stored, piece)) = OPEN_CLIP.iter().find(|(published, ..)| *published == name) {
        return Some(((*stored).to_owned(), *piece));
    }
    let (layer, rest) = name.strip_prefix("text_model.encoder.layers.")?.split_once('.')?;
    let block = format!("transformer.resblocks.{layer}");
    if let Some((projection, parameter)) =
        rest.strip_prefix("self_attn.").and_then(|rest| rest.split_once('.'))
        && let Some(third) = OPEN_CLIP_ATTENTION.iter().position(|name| *name == projection)
    {
        return Some((format!("{block}.attn.in_proj_{parameter}"), Piece::Third(third)));
    }
    OPEN_CLIP_LAYER.iter().find_map(|(published, stored)| {
        let parameter = rest.strip_prefix(published)?.strip_prefix('.')?;
        Some((format!("{block}.{stored}.{parameter}"), Piece::Whole))
    })
}

#[cfg(test)]
mod tests {
    use super::{Piece, expected_unused, open_clip_name, published_from_open_clip};

    #[test]
    fn only_leftovers_are_expected() {
        assert!(expected_unused("text_model.embeddings.position_ids"));
        assert!(expected_unused("logit_scale"));
        assert!(expected_unused("text_projection.weight"));
        assert!(!expected_unused("text_model.embeddings.position_embedding.weight"));
        assert!(!expected_unused("text_model.encoder.layers.0.layer_norm1.weight"));
    }

    #[test]
    fn open_clip_holds_each_tensor_in_one_place() {
        for (published, stored, piece) in [
            (
                "text_model.embeddings.position_embedding.weight",
                "positional_embedding",
                Piece::Whole,
            ),
            ("text_projection.weight", "text_projection", Piece::Transposed),
            (
                "text_model.encoder.layers.7.layer_norm2.bias",
                "transformer.resblocks.7.ln_2.bias",
                Piece::Whole,
            ),
            (
                "text_model.encoder.layers.0.self_attn.k_proj.bias",
                "transformer.resblocks.0.attn.in_proj_bias",
                Piece::Third(1),
            ),
            (
                "text_model.encoder.layers.22.self_attn.out_proj.weight",
                "transformer.resblocks.22.attn.out_proj.weight",
                Piece::Whole,
            ),
            (
                "text_model.encoder.layers.3.mlp.fc1.weight",
                "transformer.resblocks.3.mlp.c_fc.weight",
                Piece::Whole,
            ),
        ] {
            assert_eq!(open_clip_name(published), Some((stored.to_owned(), piece)));
            let held = published_from_open_clip(stored);
            assert!(held.contains(&(published.to_owned(), piece)), "{held:?}");
            assert_eq!(held.len(), if matches!(piece, Piece::Third(_)) { 3 } else { 1 });
        }
        assert_eq!(open_clip_name("visual.proj"), None);
        assert_eq!(published_from_open_clip("visual.proj"), []);
    }
}
