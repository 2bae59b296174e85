//! Prompts of any length as sequences that a text encoder takes.

use crate::{
    prompt::{self, PromptSyntax},
    tokenizer::Tokenizer,
};

/// A comma this close before the end of a full chunk is where the chunk is broken, as in
/// AUTOMATIC1111's web UI (`comma_padding_backtrack`).
const COMMA_BACKTRACK: usize = 20;

/// One sequence of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Begin token, content, end token, padding: as many ids as the text encoder takes.
    pub ids: Vec<u32>,
    /// The weight of each id; 1 for all but content.
    pub weights: Vec<f32>,
}

impl Chunk {
    /// Whether any weight is not 1.
    pub fn is_weighted(&self) -> bool {
        self.weights.iter().any(|&weight| weight != 1.0)
    }
}

impl Tokenizer {
    /// The sequences of a prompt, at least one: with [`PromptSyntax::Weighted`] as many as hold
    /// all of it, each with `max_length - 2` content ids and each with begin and end token
    /// (AUTOMATIC1111, `modules/sd_hijack_clip.py`, `tokenize_line`); with
    /// [`PromptSyntax::Literal`] one, which drops what finds no room.
    pub fn encode_chunks(&self, prompt: &str, syntax: PromptSyntax) -> Vec<Chunk> {
        let room = self.max_length().saturating_sub(2).max(1);
        let content: Vec<(u32, f32)> = match syntax {
            PromptSyntax::Literal => {
                self.encode(prompt).into_iter().take(room).map(|id| (id, 1.0)).collect()
            }
            PromptSyntax::Weighted => prompt::parse(prompt)
                .into_iter()
                .flat_map(|part| {
                    let weight = part.weight as f32;
                    self.encode(&part.text).into_iter().map(move |id| (id, weight))
                })
                .collect(),
        };
        let comma = self.encode(",").first().copied();
        let mut chunks = Vec::new();
        let mut rest = content.as_slice();
        while rest.len() > room {
            let backtrack = rest[..room]
                .iter()
                .rposition(|&(id, _)| Some(id) == comma)
                .map(|place| place + 1)
                .filter(|&after| room - after < COMMA_BACKTRACK);
            let (chunk, next) = rest.split_at(backtrack.unwrap_or(room));
            chunks.push(self.chunk(chunk));
            rest = next;
        }
        chunks.push(self.chunk(rest));
        chunks
    }

    fn chunk(&self, content: &[(u32, f32)]) -> Chunk {
        let mut ids = vec![self.bos()];
        let mut weights = vec![1.0];
        for &(id, weight) in content {
            ids.push(id);
            weights.push(weight);
        }
        ids.push(self.eos());
        ids.resize(self.max_length(), self.pad());
        weights.resize(self.max_length(), 1.0);
        Chunk { ids, weights }
    }
}
