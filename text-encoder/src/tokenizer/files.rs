//! Vocabulary and merges as published files write them.

use std::collections::HashMap;

use serde::Deserialize;
use tokenizers::models::bpe::{Merges, Vocab};

use super::TokenizerError;

/// Characters of a faulty line that an error message shows.
const SHOWN: usize = 80;

/// What a tokenizer consists of.
pub(super) struct Parts {
    pub(super) vocabulary: Vocab,
    pub(super) merges: Merges,
    pub(super) added: HashMap<String, u32>,
}

/// Reads `vocab.json` and `merges.txt`.
pub(super) fn parts(vocab: &str, merges: &str) -> Result<Parts, TokenizerError> {
    let vocabulary: HashMap<String, u32> = serde_json::from_str(vocab)
        .map_err(|reason| TokenizerError::Json { file: "vocab.json", reason })?;
    let merges = merges
        .lines()
        .enumerate()
        .filter(|(index, line)| !(*index == 0 && line.starts_with("#version")))
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            pair(line).ok_or_else(|| TokenizerError::Merge {
                line: index + 1,
                content: line.chars().take(SHOWN).collect(),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Parts { vocabulary: vocabulary.into_iter().collect(), merges, added: HashMap::new() })
}

fn pair(line: &str) -> Option<(String, String)> {
    let mut symbols = line.split_whitespace();
    let pair = (symbols.next()?.to_owned(), symbols.next()?.to_owned());
    symbols.next().is_none().then_some(pair)
}

#[derive(Deserialize)]
struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    model: BpeModel,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct BpeModel {
    /// Files from before tokenizers 0.9 may lack it.
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: serde_json::Value,
    #[serde(default)]
    merges: Vec<Merge>,
}

/// Older files write `"a b"`, newer ones `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

/// Reads `tokenizer.json`.
pub(super) fn parts_of_tokenizer_json(json: &str) -> Result<Parts, TokenizerError> {
    let broken = |reason| TokenizerError::Json { file: "tokenizer.json", reason };
    let TokenizerJson { added_tokens, model } = serde_json::from_str(json).map_err(broken)?;
    if let Some(kind) = model.kind.filter(|kind| kind != "BPE") {
        return Err(TokenizerError::Unsupported(kind));
    }
    let vocabulary: HashMap<String, u32> = serde_json::from_value(model.vocab).map_err(broken)?;
    let merges = model
        .merges
        .into_iter()
        .enumerate()
        .map(|(index, merge)| match merge {
            Merge::Pair(left, right) => Ok((left, right)),
            Merge::Line(line) => pair(&line).ok_or_else(|| TokenizerError::Merge {
                line: index + 1,
                content: line.chars().take(SHOWN).collect(),
            }),
        })
        .collect::<Result<_, _>>()?;
    Ok(Parts {
        vocabulary: vocabulary.into_iter().collect(),
        merges,
        added: added_tokens.into_iter().map(|token| (token.content, token.id)).collect(),
    })
}

/// The character that stands for a byte in a vocabulary: itself where it is printable in
/// Latin-1, else the next one from U+0100 on (GPT-2's `bytes_to_unicode`).
pub(super) fn character_of_byte(byte: u8) -> char {
    let shifted = match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => return char::from(byte),
        0..=0x20 => u32::from(byte),
        0x7f..=0xa0 => u32::from(byte) - 0x7f + 0x21,
        0xad => 0x43,
    };
    char::from_u32(0x100 + shifted).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The characters that stand for bytes, in the order in which a vocabulary begins with them.
pub fn byte_characters() -> impl Iterator<Item = char> {
    let mut characters: Vec<char> = (0..=u8::MAX).map(character_of_byte).collect();
    characters.sort_unstable();
    characters.into_iter()
}

/// The inverse of [`character_of_byte`].
pub(super) fn byte_of_character(character: char) -> Option<u8> {
    (0..=u8::MAX).find(|&byte| character_of_byte(byte) == character)
}
