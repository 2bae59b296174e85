//! `text_encoder/config.json`.

use emberbrush_layers::{activation::Activation, weights::WeightError};
use serde::Deserialize;

/// The value of `eos_token_id` in files from before transformers knew the true id, under which
/// the token with the largest id is taken instead (`modeling_clip.py`, `CLIPTextTransformer`).
const LEGACY_EOS_TOKEN_ID: u32 = 2;

/// The shape of a CLIP text encoder; defaults are transformers' (`configuration_clip.py`).
///
/// Keys that only matter for training (dropout, initialisation) are not read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// `architectures`: `CLIPTextModel` or `CLIPTextModelWithProjection`. Where the list is
    /// empty, the presence of `text_projection.weight` decides.
    pub architectures: Vec<String>,
    /// `vocab_size`: how many token embeddings there are.
    pub vocab_size: usize,
    /// `hidden_size`: channels of each hidden state.
    pub hidden_size: usize,
    /// `intermediate_size`: channels inside the feed-forward part of a layer.
    pub intermediate_size: usize,
    /// `num_hidden_layers`: transformer layers.
    pub num_hidden_layers: usize,
    /// `num_attention_heads`: heads that `hidden_size` is split into.
    pub num_attention_heads: usize,
    /// `max_position_embeddings`: the longest sequence, with begin and end tokens.
    pub max_position_embeddings: usize,
    /// `hidden_act`: the activation inside the feed-forward part.
    pub hidden_act: Activation,
    /// `layer_norm_eps`: added to variances.
    pub layer_norm_eps: f64,
    /// `eos_token_id`: where the pooled output is read; see [`Self::eos_position`].
    pub eos_token_id: u32,
    /// `projection_dim`: channels of the projected pooled output.
    pub projection_dim: usize,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            architectures: Vec::new(),
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            eos_token_id: 49407,
            projection_dim: 512,
        }
    }
}

/// What the configuration says about `text_projection`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Projection {
    Required,
    Absent,
    IfStored,
}

impl ClipTextConfig {
    /// The position whose final hidden state is the pooled output.
    ///
    /// Published files state `eos_token_id` 2, which is not CLIP's: for them the largest id of
    /// the sequence counts, and its first position. Otherwise it is the first `eos_token_id`, or
    /// position 0 where there is none (`modeling_clip.py`, `CLIPTextTransformer.forward`).
    pub fn eos_position(&self, ids: &[u32]) -> usize {
        let wanted = if self.eos_token_id == LEGACY_EOS_TOKEN_ID {
            ids.iter().copied().max().unwrap_or(0)
        } else {
            self.eos_token_id
        };
        ids.iter().position(|&id| id == wanted).unwrap_or(0)
    }

    pub(crate) fn projection(&self) -> Result<Projection, WeightError> {
        match self.architectures.first().map(String::as_str) {
            None => Ok(Projection::IfStored),
            Some("CLIPTextModel") => Ok(Projection::Absent),
            Some("CLIPTextModelWithProjection") => Ok(Projection::Required),
            Some(other) => Err(WeightError::Config(format!(
                "text encoder config.json: the architecture `{other}` is not supported; \
                 CLIPTextModel and CLIPTextModelWithProjection are"
            ))),
        }
    }

    /// Whether a network can be built from this.
    ///
    /// # Errors
    ///
    /// A number that is 0, or heads that do not divide the channels; each names its key.
    pub fn check(&self) -> Result<(), WeightError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(WeightError::Config(format!(
                "text encoder config.json: `{key}` must not be 0"
            )));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(WeightError::Config(format!(
                "text encoder config.json: hidden_size {} cannot be split into \
                 num_attention_heads {}",
                self.hidden_size, self.num_attention_heads
            )));
        }
        Ok(())
    }
}
