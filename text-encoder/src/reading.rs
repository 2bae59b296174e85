//! A prompt as it is understood, for people to look at.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    prompt::{
        LoraReference, Prompt, PromptError, RunSteps, ScheduledText, Section, schedule, sections,
    },
    tokenizer::Tokenizer,
};

/// A1111's way to write a `BREAK` among weighted texts.
const BREAK: (&str, f64) = ("BREAK", -1.0);

/// A prompt as it is understood.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PromptReading {
    /// Texts and their weights at the first step, `BREAK` between sections: those of all parts.
    pub spans: Vec<(String, f64)>,
    /// Last steps, from 1, and what the prompt says up to them.
    pub schedule: Vec<(u32, String)>,
    /// How many tokens the longest text has, of all parts together.
    pub tokens: usize,
    /// How many sequences of the text encoder hold them.
    pub chunks: usize,
    /// How many tokens those sequences have room for.
    pub room: usize,
    /// The LoRAs that are asked for.
    pub loras: Vec<LoraReference>,
    /// The names of the embeddings that are used.
    pub embeddings: Vec<String>,
    /// What `AND` joins; empty without it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartReading>,
}

/// One of the prompts that `AND` joins.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartReading {
    /// What its guidance is multiplied with.
    pub weight: f64,
    /// Texts and their weights at the first step.
    pub spans: Vec<(String, f64)>,
    /// Last steps, from 1, and what the part says up to them.
    pub schedule: Vec<(u32, String)>,
}

impl Tokenizer {
    /// Reads a prompt for a run of so many steps.
    ///
    /// # Errors
    ///
    /// A [`PromptError`] where the prompt cannot be understood.
    pub fn read_prompt(&self, prompt: &str, steps: RunSteps) -> Result<PromptReading, PromptError> {
        let Prompt { text, subprompts, loras } = Prompt::read(prompt)?;
        let mut parts = Vec::with_capacity(subprompts.len());
        let (mut tokens, mut chunks) = (0, 0);
        let mut embeddings: Vec<String> = Vec::new();
        for subprompt in &subprompts {
            let texts = schedule(&subprompt.text, steps)?;
            let mut longest = (0, 0);
            for text in texts.iter().map(|text| &text.text).collect::<BTreeSet<_>>() {
                let sections = sections(text);
                let sequences = self.encode_sections(&sections);
                let content = sequences.iter().map(|chunk| chunk.content).sum();
                longest = longest.max((sequences.len(), content));
                for part in sections.iter().flatten() {
                    for name in self.embeddings_in(&part.text) {
                        if !embeddings.iter().any(|known| known == name) {
                            embeddings.push(name.to_owned());
                        }
                    }
                }
            }
            chunks = longest.0.max(chunks);
            tokens += longest.1;
            parts.push(PartReading {
                weight: subprompt.weight,
                spans: spans(texts.first().map_or("", |text| &text.text)),
                schedule: pairs(texts),
            });
        }
        let spans = parts.iter().flat_map(|part| part.spans.clone()).collect();
        let schedule = match &mut parts[..] {
            [single] => std::mem::take(&mut single.schedule),
            _ => pairs(schedule(&text, steps)?),
        };
        if parts.len() == 1 {
            parts.clear();
        }
        let room = chunks * self.room();
        Ok(PromptReading { spans, schedule, tokens, chunks, room, loras, embeddings, parts })
    }
}

fn pairs(texts: Vec<ScheduledText>) -> Vec<(u32, String)> {
    texts.into_iter().map(|text| (text.until, text.text)).collect()
}

/// As A1111 writes them: nothing is one empty text.
fn spans(text: &str) -> Vec<(String, f64)> {
    let mut spans = Vec::new();
    for (index, section) in sections(text).into_iter().enumerate() {
        if index > 0 {
            spans.push((BREAK.0.to_owned(), BREAK.1));
        }
        spans.extend(pairs_of(section));
    }
    if spans.is_empty() {
        spans.push((String::new(), 1.0));
    }
    spans
}

fn pairs_of(section: Section) -> impl Iterator<Item = (String, f64)> {
    section.into_iter().map(|part| (part.text, part.weight))
}
