//! Prompts of any length as sequences that a text encoder takes.

use crate::{
    prompt::{self, PromptSyntax, Section},
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
    /// How many ids are content.
    pub content: usize,
}

impl Chunk {
    /// Whether any weight is not 1.
    pub fn is_weighted(&self) -> bool {
        self.weights.iter().any(|&weight| weight != 1.0)
    }
}

/// A token with its weight.
type Weighted = (u32, f32);

impl Tokenizer {
    /// The sequences of a text, at least one: with [`PromptSyntax::Weighted`] those of
    /// [`encode_sections`](Self::encode_sections), with [`PromptSyntax::Literal`] one, which drops
    /// what finds no room.
    pub fn encode_chunks(&self, text: &str, syntax: PromptSyntax) -> Vec<Chunk> {
        match syntax {
            PromptSyntax::Literal => {
                let content = self.encode(text).into_iter().take(self.room());
                vec![self.chunk(content.map(|id| (id, 1.0)).collect())]
            }
            PromptSyntax::Weighted => self.encode_sections(&prompt::sections(text)),
        }
    }

    /// As many sequences as hold all of the sections, each with `max_length - 2` content ids and
    /// each with begin and end token. Each section begins a new one, and the vectors of an
    /// embedding stay together (AUTOMATIC1111, `modules/sd_hijack_clip.py`, `tokenize_line`).
    pub fn encode_sections(&self, sections: &[Section]) -> Vec<Chunk> {
        let room = self.room();
        let comma = self.encode(",").first().copied();
        let mut chunks: Vec<Vec<Weighted>> = Vec::new();
        let mut chunk: Vec<Weighted> = Vec::new();
        for (index, section) in sections.iter().enumerate() {
            if index > 0 {
                chunks.push(std::mem::take(&mut chunk));
            }
            let mut last_comma = None;
            let mut next = |chunk: &mut Vec<Weighted>, last_comma: &mut Option<usize>| {
                chunks.push(std::mem::take(chunk));
                *last_comma = None;
            };
            for part in section {
                let weight = part.weight as f32;
                let ids = self.encode(&part.text);
                let mut rest = ids.as_slice();
                while let Some(&id) = rest.first() {
                    let (unit, after) = rest.split_at(self.unit(id).min(rest.len()));
                    rest = after;
                    if Some(id) == comma {
                        last_comma = Some(chunk.len());
                    } else if chunk.len() == room
                        && let Some(place) = last_comma
                        && room - place <= COMMA_BACKTRACK
                    {
                        let moved = chunk.split_off(place + 1);
                        next(&mut chunk, &mut last_comma);
                        chunk = moved;
                    }
                    if chunk.len() == room || chunk.len() + unit.len() > room && !chunk.is_empty() {
                        next(&mut chunk, &mut last_comma);
                    }
                    for &id in unit {
                        if chunk.len() == room {
                            next(&mut chunk, &mut last_comma);
                        }
                        chunk.push((id, weight));
                    }
                }
            }
        }
        if !chunk.is_empty() || chunks.is_empty() {
            chunks.push(chunk);
        }
        chunks.into_iter().map(|content| self.chunk(content)).collect()
    }

    /// How many content ids a sequence holds.
    pub fn room(&self) -> usize {
        self.max_length().saturating_sub(2).max(1)
    }

    fn chunk(&self, content: Vec<Weighted>) -> Chunk {
        let length = content.len();
        let mut ids = vec![self.bos()];
        let mut weights = vec![1.0];
        for (id, weight) in content {
            ids.push(id);
            weights.push(weight);
        }
        ids.push(self.eos());
        ids.resize(self.max_length(), self.pad());
        weights.resize(self.max_length(), 1.0);
        Chunk { ids, weights, content: length }
    }
}
