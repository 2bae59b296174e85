//! CLIP's text transformer (transformers `models/clip/modeling_clip.py`).

use burn::tensor::{Bool, DType, FloatDType, Int, Tensor, TensorData, module};
use emberbrush_layers::{
    activation::Activation,
    attention::{Visibility, multi_head_attention},
    interrupt::{Cancelled, Checkpoint, pass},
    linear::Linear,
    norm::LayerNorm,
    stored_tensor::StoredTensor,
    weights::{WeightError, Weights},
};
use thiserror::Error;

use crate::config::{ClipTextConfig, Projection};

/// Why a forward pass gave no output.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ForwardError {
    /// The checkpoint asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A token id has no embedding.
    #[error(
        "token {id} is outside the text encoder's vocabulary of {vocab_size} tokens; the \
         tokenizer does not belong to this text encoder"
    )]
    UnknownToken {
        /// The token id.
        id: u32,
        /// How many embeddings there are.
        vocab_size: usize,
    },
    /// There are more tokens than position embeddings.
    #[error("{found} tokens are more than the {limit} that the text encoder can take at once")]
    TooLong {
        /// The length of the sequences.
        found: usize,
        /// `max_position_embeddings`.
        limit: usize,
    },
    /// The token embeddings are of a type that is no floating-point type of checkpoints.
    #[error("the token embeddings are not f32, f16 or bf16")]
    UnreadableEmbedding,
    /// No sequence was given, or those given are empty or differ in length.
    #[error("the token sequences of one batch must be of one length, and not empty")]
    Uneven,
}

/// Vectors for ids beyond the vocabulary, which textual inversion found (Gal et al. 2022,
/// arXiv:2208.01618).
#[derive(Debug, Clone)]
pub struct AddedEmbeddings {
    /// The id of the first vector.
    pub first: u32,
    /// `[ids, hidden_size]`.
    pub vectors: Tensor<2>,
    /// Where the pooled output is read.
    pub end_token: EndToken,
}

/// Which token is the last of a sequence, where the configuration has no id for it and the largest
/// one is taken ([`ClipTextConfig::eos_position`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndToken {
    /// The largest id of the vocabulary: the end token.
    OfVocabulary,
    /// The largest id of all, which may be an added one, as in transformers.
    OfAll,
}

impl AddedEmbeddings {
    fn row(&self, id: u32) -> Option<i32> {
        let row = id.checked_sub(self.first)?;
        ((row as usize) < self.vectors.dims()[0]).then_some(row as i32)
    }

    fn of_vocabulary(&self, ids: &[u32]) -> Vec<u32> {
        ids.iter().map(|&id| if self.row(id).is_some() { 0 } else { id }).collect()
    }
}

/// One pre-norm transformer layer (`CLIPEncoderLayer`).
#[derive(Debug)]
struct EncoderLayer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    hidden_act: Activation,
}

impl EncoderLayer {
    fn new(config: &ClipTextConfig, weights: &Weights<'_>) -> Result<Self, WeightError> {
        let hidden = config.hidden_size;
        let norm = |name: &str| LayerNorm::new(&weights.at(name), hidden, config.layer_norm_eps);
        let attention = weights.at("self_attn");
        let projection = |name: &str| Linear::new(&attention.at(name), hidden, hidden);
        let mlp = weights.at("mlp");
        Ok(Self {
            layer_norm1: norm("layer_norm1")?,
            q_proj: projection("q_proj")?,
            k_proj: projection("k_proj")?,
            v_proj: projection("v_proj")?,
            out_proj: projection("out_proj")?,
            layer_norm2: norm("layer_norm2")?,
            fc1: Linear::new(&mlp.at("fc1"), hidden, config.intermediate_size)?,
            fc2: Linear::new(&mlp.at("fc2"), config.intermediate_size, hidden)?,
            heads: config.num_attention_heads,
            hidden_act: config.hidden_act,
        })
    }

    fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        let attention = weights.at("self_attn");
        self.q_proj.reload(&attention.at("q_proj"))?;
        self.k_proj.reload(&attention.at("k_proj"))?;
        self.v_proj.reload(&attention.at("v_proj"))?;
        self.out_proj.reload(&attention.at("out_proj"))?;
        let mlp = weights.at("mlp");
        self.fc1.reload(&mlp.at("fc1"))?;
        self.fc2.reload(&mlp.at("fc2"))
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let normed = self.layer_norm1.forward(x.clone());
        let attended = multi_head_attention(
            self.q_proj.forward(normed.clone()),
            self.k_proj.forward(normed.clone()),
            self.v_proj.forward(normed),
            self.heads,
            Visibility::Causal,
        );
        let x = self.out_proj.forward_onto(attended, x);
        let normed = self.layer_norm2.forward(x.clone());
        let inner = self.fc1.forward_activated(normed, self.hidden_act);
        self.fc2.forward_onto(inner, x)
    }
}

/// CLIP's text encoder, with or without a projection of the pooled output.
#[derive(Debug)]
pub struct ClipTextModel {
    config: ClipTextConfig,
    /// `[vocab_size, hidden_size]`, of which a prompt needs a few rows.
    token_embedding: StoredTensor,
    /// `[max_position_embeddings, hidden_size]`.
    position_embedding: Tensor<2>,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
}

impl ClipTextModel {
    /// Builds the network from the root of a text encoder's weights.
    ///
    /// # Errors
    ///
    /// Where a tensor is missing, unreadable or of another shape than `config` calls for, and
    /// where `config` itself is impossible or names another architecture.
    pub fn new(config: &ClipTextConfig, weights: &Weights<'_>) -> Result<Self, WeightError> {
        config.check()?;
        let hidden = config.hidden_size;
        let projected = match config.projection()? {
            Projection::Required => true,
            Projection::Absent => false,
            Projection::IfStored => weights.contains("text_projection.weight"),
        };
        let text_projection = if projected {
            let weights = weights.at("text_projection");
            Some(Linear::without_bias(&weights, hidden, config.projection_dim)?)
        } else {
            None
        };
        let weights = weights.at("text_model");
        let embeddings = weights.at("embeddings");
        let layers = weights.at("encoder").at("layers");
        Ok(Self {
            token_embedding: embeddings
                .stored("token_embedding.weight", &[config.vocab_size, hidden])?,
            position_embedding: embeddings
                .tensor("position_embedding.weight", [config.max_position_embeddings, hidden])?,
            layers: (0..config.num_hidden_layers)
                .map(|layer| EncoderLayer::new(config, &layers.at(layer)))
                .collect::<Result<_, _>>()?,
            final_layer_norm: LayerNorm::new(
                &weights.at("final_layer_norm"),
                hidden,
                config.layer_norm_eps,
            )?,
            text_projection,
            config: config.clone(),
        })
    }

    /// Reads the linear layers again whose tensors have changed ([`Weights::with_changed`]).
    /// Embeddings and normalisations stay as they are.
    ///
    /// # Errors
    ///
    /// Weights that are missing, unreadable or of another shape. The network then holds some of
    /// the new values and some of the old.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        let layers = weights.at("text_model.encoder.layers");
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.reload(&layers.at(index))?;
        }
        match &mut self.text_projection {
            Some(projection) => projection.reload(&weights.at("text_projection")),
            None => Ok(()),
        }
    }

    /// The configuration that the network was built from.
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// [`forward_with`](Self::forward_with) of ids of the vocabulary alone.
    pub fn forward(
        &self,
        ids: &[Vec<u32>],
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<ClipTextOutput<'_>, ForwardError> {
        self.forward_with(ids, None, checkpoint)
    }

    /// Encodes a batch of token sequences of one length; padding is attended to like any token.
    ///
    /// `checkpoint` is called before each layer.
    ///
    /// # Errors
    ///
    /// Where `checkpoint` breaks, or the ids do not fit the network.
    pub fn forward_with(
        &self,
        ids: &[Vec<u32>],
        added: Option<&AddedEmbeddings>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<ClipTextOutput<'_>, ForwardError> {
        let mut hidden = self.embed(ids, added)?;
        let mut hidden_states = Vec::with_capacity(self.layers.len() + 1);
        for layer in &self.layers {
            pass(checkpoint)?;
            hidden_states.push(hidden.clone());
            hidden = layer.forward(hidden);
        }
        hidden_states.push(hidden);
        Ok(ClipTextOutput {
            model: self,
            hidden_states,
            eos_positions: ids
                .iter()
                .map(|ids| match added {
                    Some(added) if added.end_token == EndToken::OfVocabulary => {
                        self.config.eos_position(&added.of_vocabulary(ids))
                    }
                    _ => self.config.eos_position(ids),
                })
                .collect(),
        })
    }

    /// Token plus position embeddings, `[batch, tokens, hidden_size]`.
    fn embed(
        &self,
        ids: &[Vec<u32>],
        added: Option<&AddedEmbeddings>,
    ) -> Result<Tensor<3>, ForwardError> {
        let batch = ids.len();
        let tokens = ids.first().map_or(0, Vec::len);
        if tokens == 0 || ids.iter().any(|ids| ids.len() != tokens) {
            return Err(ForwardError::Uneven);
        }
        let limit = self.config.max_position_embeddings;
        if tokens > limit {
            return Err(ForwardError::TooLong { found: tokens, limit });
        }
        let vocab_size = self.config.vocab_size;
        let mut flat = Vec::with_capacity(batch * tokens);
        // The rows of `added` at the places of its ids, and where those are.
        let (mut rows, mut is_added) = (Vec::new(), Vec::new());
        for &id in ids.iter().flatten() {
            let row = added.and_then(|added| added.row(id));
            match id as usize {
                _ if row.is_some() => flat.push(0),
                id if id < vocab_size => flat.push(id),
                _ => return Err(ForwardError::UnknownToken { id, vocab_size }),
            }
            rows.push(row.unwrap_or(0));
            is_added.push(row.is_some());
        }
        let shape = [batch, tokens];
        let like = &self.position_embedding;
        let dtype = like.dtype();
        let vectors = self
            .token_embedding
            .rows(&flat, FloatDType::from(dtype))
            .ok_or(ForwardError::UnreadableEmbedding)?;
        let embedded = Tensor::<2>::from_data(vectors, (&like.device(), dtype));
        let mut embedded = embedded.reshape([batch, tokens, self.config.hidden_size]);
        if let Some(added) = added.filter(|_| is_added.contains(&true)) {
            let rows = integers(TensorData::new(rows, shape), like);
            let vectors = added.vectors.clone().cast(embedded.dtype());
            let vectors = module::embedding(vectors, rows);
            let mask = TensorData::new(is_added, [batch, tokens, 1]);
            let mask = Tensor::<3, Bool>::from_data(mask, &embedded.device());
            embedded = embedded.mask_where(mask.expand(vectors.dims()), vectors);
        }
        let positions = self.position_embedding.clone().narrow(0, 0, tokens).unsqueeze::<3>();
        Ok(embedded + positions)
    }
}

/// An index tensor on the device of `like`.
fn integers<const D: usize>(data: TensorData, like: &Tensor<2>) -> Tensor<D, Int> {
    Tensor::from_data(data, (&like.device(), DType::I32))
}

/// The hidden states of one forward pass; what follows from them is computed when asked for.
#[derive(Debug)]
pub struct ClipTextOutput<'a> {
    model: &'a ClipTextModel,
    hidden_states: Vec<Tensor<3>>,
    eos_positions: Vec<usize>,
}

impl ClipTextOutput<'_> {
    /// The embeddings and the output of each layer, `num_hidden_layers + 1` tensors
    /// `[batch, tokens, hidden_size]`, before the final layer norm.
    pub fn hidden_states(&self) -> &[Tensor<3>] {
        &self.hidden_states
    }

    /// The output of the layer `skip` before the last, without the final layer norm:
    /// `hidden_states[-(skip + 1)]`; `None` where there are not so many layers.
    ///
    /// SDXL conditions on `hidden_layer(1)` of both its encoders.
    pub fn hidden_layer(&self, skip: usize) -> Option<Tensor<3>> {
        let index = self.hidden_states.len().checked_sub(skip.checked_add(1)?)?;
        self.hidden_states.get(index).cloned()
    }

    /// [`Self::hidden_layer`] followed by the final layer norm, as `clip_skip` of diffusers'
    /// `StableDiffusionPipeline.encode_prompt` takes it for SD 1 and 2.
    pub fn hidden_layer_normalized(&self, skip: usize) -> Option<Tensor<3>> {
        self.hidden_layer(skip).map(|hidden| self.model.final_layer_norm.forward(hidden))
    }

    /// The last layer's output after the final layer norm, `[batch, tokens, hidden_size]`.
    pub fn last_hidden_state(&self) -> Tensor<3> {
        self.model.final_layer_norm.forward(self.last())
    }

    /// The last hidden state at each sequence's end token, `[batch, hidden_size]`; transformers'
    /// `pooler_output`. See [`ClipTextConfig::eos_position`] for which token that is.
    pub fn pooled(&self) -> Tensor<2> {
        let last = self.last();
        let [batch, tokens, hidden_size] = last.dims();
        let rows: Vec<i32> = self
            .eos_positions
            .iter()
            .enumerate()
            .map(|(sequence, position)| (sequence * tokens + position) as i32)
            .collect();
        let rows = integers(TensorData::new(rows, [batch]), &self.model.position_embedding);
        let pooled = last.reshape([batch * tokens, hidden_size]).select(0, rows);
        self.model.final_layer_norm.forward(pooled)
    }

    /// [`Self::pooled`] after the projection, `[batch, projection_dim]`; `None` where the text
    /// encoder has no projection.
    pub fn text_embeds(&self) -> Option<Tensor<2>> {
        self.model.text_projection.as_ref().map(|projection| projection.forward(self.pooled()))
    }

    /// The last layer's output; there is always one, for `hidden_states` begins with the
    /// embeddings.
    fn last(&self) -> Tensor<3> {
        self.hidden_states[self.hidden_states.len() - 1].clone()
    }
}
