//! What the words of a prompt stand for: the tokens of a checkpoint's tokenizers, and embeddings
//! of textual inversion by their names.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use burn::tensor::{DType, Device, Tensor, TensorData};
use emberbrush_text_encoder::{
    AddedEmbeddings, EndToken, Tokenizer, TokenizerError, prompt::PromptSyntax,
};

use crate::adapters::{AdaptedNetwork, Embedding, EncoderVectors};

/// How many vocabularies with embeddings are kept for pictures to come.
const KEPT_VOCABULARIES: usize = 4;

/// The embeddings that a request's prompts may name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Words(pub(super) Arc<[Arc<Embedding>]>);

/// A tokenizer, and the vectors of the ids that embeddings added to it.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pub(super) tokenizer: Tokenizer,
    /// The first id, and `[ids, hidden_size]` in f32.
    added: Option<(u32, Tensor<2>)>,
}

impl Vocabulary {
    /// What stands for the ids that are not the tokenizer's own.
    pub(super) fn added(&self, syntax: PromptSyntax) -> Option<AddedEmbeddings> {
        let (first, vectors) = self.added.clone()?;
        let end_token = match syntax {
            PromptSyntax::Weighted => EndToken::OfVocabulary,
            PromptSyntax::Literal => EndToken::OfAll,
        };
        Some(AddedEmbeddings { first, vectors, end_token })
    }

    fn with(
        tokenizer: &Tokenizer,
        words: &Words,
        network: AdaptedNetwork,
        device: &Device,
    ) -> Result<Self, TokenizerError> {
        let mut tokenizer = tokenizer.clone();
        let mut first = None;
        let mut rows: Vec<Tensor<2>> = Vec::new();
        for embedding in words.0.iter() {
            let Some(EncoderVectors { count, width, values, .. }) = embedding.vectors(network)
            else {
                continue;
            };
            let data = TensorData::new(values.clone(), [*count, *width]);
            let vectors = Tensor::<2>::from_data(data, (device, DType::F32));
            for name in embedding.names() {
                // Of two with one name, the first is meant.
                if !tokenizer.embeddings_in(name).is_empty() {
                    continue;
                }
                let Range { start, .. } = tokenizer.add_embedding(name, *count)?;
                first.get_or_insert(start);
                rows.push(vectors.clone());
            }
        }
        let added = first.map(|first| (first, Tensor::cat(rows, 0)));
        Ok(Self { tokenizer, added })
    }
}

/// The vocabularies of one text encoder.
#[derive(Debug)]
pub(super) struct Vocabularies {
    network: AdaptedNetwork,
    device: Device,
    own: Arc<Vocabulary>,
    with_words: Mutex<Vec<(Words, Arc<Vocabulary>)>>,
}

impl Vocabularies {
    pub(super) fn new(tokenizer: Tokenizer, network: AdaptedNetwork, device: Device) -> Self {
        let own = Arc::new(Vocabulary { tokenizer, added: None });
        Self { network, device, own, with_words: Mutex::default() }
    }

    /// The checkpoint's own tokenizer.
    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.own.tokenizer
    }

    /// The vocabulary with embeddings; a name that cannot be added is left out.
    pub(super) fn with(&self, words: &Words) -> Arc<Vocabulary> {
        if words.0.is_empty() {
            return Arc::clone(&self.own);
        }
        let mut kept = self.with_words.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, vocabulary)) = kept.iter().find(|(known, _)| known == words) {
            return Arc::clone(vocabulary);
        }
        let made = Vocabulary::with(&self.own.tokenizer, words, self.network, &self.device);
        let vocabulary = made.map_or_else(|_| Arc::clone(&self.own), Arc::new);
        if kept.len() == KEPT_VOCABULARIES {
            kept.remove(0);
        }
        kept.push((words.clone(), Arc::clone(&vocabulary)));
        vocabulary
    }
}
