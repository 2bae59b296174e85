//! CLIP's tokenizer: from a prompt to token ids.
//!
//! The ids are those of transformers' `CLIPTokenizer` (`models/clip/tokenization_clip.py`) with
//! ftfy installed. This is the tokenizer that diffusers pipelines load, and so the one under
//! which published prompts were written; transformers' `CLIPTokenizerFast`, and
//! `CLIPTokenizer` without ftfy, give other ids for entities, ligatures, full-width letters,
//! curly quotes, Chinese and mojibake.

mod embeddings;
mod files;

pub use files::byte_characters;

use std::{cmp::Reverse, collections::HashMap, ops::Range};

use embeddings::Embeddings;

use regex::Regex;
use serde::Deserialize;
use thiserror::Error;
use tokenizers::{Model, models::bpe::BPE};

use crate::ftfy::fix_text;

/// CLIP's sequence length, for checkpoints that do not state one.
const DEFAULT_MAX_LENGTH: usize = 77;

/// Lengths from here on are transformers' way to write that there is no limit.
const UNLIMITED: f64 = 1e9;

/// Words, as `CLIPTokenizer.pat` finds them.
///
/// U+0345 is no letter, but its upper case is one, so the published pattern, which ignores case,
/// drops it.
const WORDS: &str = r"(?:<\|startoftext\|>|<\|endoftext\|>|(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}\x{345}]+)";

/// Why a tokenizer could not be made from a checkpoint's files.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// A file is not the JSON that it should be.
    #[error("{file}: {reason}")]
    Json {
        /// The published name of the file.
        file: &'static str,
        /// What is wrong, with line and column.
        reason: serde_json::Error,
    },
    /// A line of `merges.txt` is not two symbols.
    #[error("merges.txt: line {line} is not a pair of symbols: `{content}`")]
    Merge {
        /// The line, counted from 1.
        line: usize,
        /// Its beginning.
        content: String,
    },
    /// The merges do not belong to the vocabulary.
    #[error("vocabulary and merges do not belong together: {0}")]
    Model(String),
    /// A special token is not in the vocabulary.
    #[error("the vocabulary lacks the {role} token `{token}`")]
    MissingToken {
        /// What the token is for.
        role: &'static str,
        /// Its text.
        token: String,
    },
    /// `tokenizer.json` is for another kind of tokenizer.
    #[error("tokenizer.json: the model type `{0}` is not supported; CLIP uses BPE")]
    Unsupported(String),
    /// `model_max_length` leaves no room for a prompt.
    #[error("tokenizer_config.json: model_max_length {0} is no sequence length; CLIP's is 77")]
    MaxLength(f64),
    /// A token to add has no text, or exists already.
    #[error("the token `{0}` cannot be added: it is empty or exists already")]
    CannotAdd(String),
}

/// One prompt as a sequence of the length that the text encoder takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Begin token, content, end token, padding: `max_length` ids.
    pub ids: Vec<u32>,
    /// The content ids that found no room; empty where the whole prompt did.
    pub truncated: Vec<u32>,
}

/// A token as configuration files write it: its text, or an object that holds it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum SpecialToken {
    Text(String),
    Added { content: String },
}

impl SpecialToken {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Added { content: text } => text,
        }
    }
}

/// The part of `tokenizer_config.json` and `special_tokens_map.json` that matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    bos_token: Option<SpecialToken>,
    eos_token: Option<SpecialToken>,
    pad_token: Option<SpecialToken>,
    unk_token: Option<SpecialToken>,
    model_max_length: Option<f64>,
    added_tokens_decoder: Option<HashMap<u32, SpecialToken>>,
}

/// What a checkpoint's `tokenizer` folder states beside the vocabulary.
#[derive(Debug)]
pub struct TokenizerSettings {
    bos: String,
    eos: String,
    pad: String,
    unk: String,
    max_length: usize,
    added: HashMap<u32, SpecialToken>,
}

impl TokenizerSettings {
    /// Reads the contents of `tokenizer_config.json` and `special_tokens_map.json`.
    ///
    /// As in transformers, the map decides on special tokens, unless the configuration lists
    /// its added tokens (`added_tokens_decoder`). What neither states is as in CLIP:
    /// `<|startoftext|>`, `<|endoftext|>`, padding with the latter, 77 tokens.
    ///
    /// # Errors
    ///
    /// Where a content is not the JSON of such a file, or `model_max_length` is below 3.
    pub fn new(
        tokenizer_config: Option<&str>,
        special_tokens_map: Option<&str>,
    ) -> Result<Self, TokenizerError> {
        let config = settings("tokenizer_config.json", tokenizer_config)?;
        let map = settings("special_tokens_map.json", special_tokens_map)?;
        let (first, second) =
            if config.added_tokens_decoder.is_some() { (&config, &map) } else { (&map, &config) };
        let token = |field: fn(&Settings) -> &Option<SpecialToken>, default: &str| {
            let stated = field(first).as_ref().or(field(second).as_ref());
            stated.map_or(default, SpecialToken::text).to_owned()
        };
        let max_length = match config.model_max_length {
            Some(length) if length < 3.0 || length.is_nan() => {
                return Err(TokenizerError::MaxLength(length));
            }
            Some(length) if length < UNLIMITED => length as usize,
            _ => DEFAULT_MAX_LENGTH,
        };
        Ok(Self {
            bos: token(|settings| &settings.bos_token, "<|startoftext|>"),
            eos: token(|settings| &settings.eos_token, "<|endoftext|>"),
            pad: token(|settings| &settings.pad_token, "<|endoftext|>"),
            unk: token(|settings| &settings.unk_token, "<|endoftext|>"),
            max_length,
            added: config.added_tokens_decoder.unwrap_or_default(),
        })
    }
}

fn settings(file: &'static str, content: Option<&str>) -> Result<Settings, TokenizerError> {
    match content {
        Some(content) => {
            serde_json::from_str(content).map_err(|reason| TokenizerError::Json { file, reason })
        }
        None => Ok(Settings::default()),
    }
}

/// CLIP's byte-pair encoding with the special tokens of a checkpoint.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    bpe: BPE,
    words: Regex,
    /// Added tokens, which are found before anything else: special ones and those of textual
    /// inversion.
    added: HashMap<String, u32>,
    added_pattern: Regex,
    bos: u32,
    eos: u32,
    pad: u32,
    max_length: usize,
    next_id: u32,
    embeddings: Embeddings,
}

impl Tokenizer {
    /// Makes a tokenizer from the contents of `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    ///
    /// Where a content is broken, the two do not belong together, or a special token is missing.
    pub fn from_vocab_and_merges(
        vocab: &str,
        merges: &str,
        settings: &TokenizerSettings,
    ) -> Result<Self, TokenizerError> {
        Self::new(files::parts(vocab, merges)?, settings)
    }

    /// Makes a tokenizer from the content of `tokenizer.json`: vocabulary, merges and added
    /// tokens are taken from it, and text is cleaned and split as CLIP does.
    ///
    /// # Errors
    ///
    /// As [`Self::from_vocab_and_merges`], and where the file is not for byte-pair encoding.
    pub fn from_tokenizer_json(
        json: &str,
        settings: &TokenizerSettings,
    ) -> Result<Self, TokenizerError> {
        Self::new(files::parts_of_tokenizer_json(json)?, settings)
    }

    fn new(parts: files::Parts, settings: &TokenizerSettings) -> Result<Self, TokenizerError> {
        let files::Parts { vocabulary, merges, mut added } = parts;
        for (&id, token) in &settings.added {
            added.entry(token.text().to_owned()).or_insert(id);
        }
        let mut find = |role: &'static str, token: &str| {
            let id = vocabulary.get(token).or_else(|| added.get(token)).copied();
            let id = id.ok_or(TokenizerError::MissingToken { role, token: token.to_owned() })?;
            added.insert(token.to_owned(), id);
            Ok::<_, TokenizerError>(id)
        };
        let bos = find("begin", &settings.bos)?;
        let eos = find("end", &settings.eos)?;
        let pad = find("padding", &settings.pad)?;
        added.retain(|token, _| !token.is_empty());
        let next_id =
            vocabulary.values().chain(added.values()).max().map_or(0, |&id| id.saturating_add(1));
        let known_unk = vocabulary.contains_key(&settings.unk);
        let mut builder = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .end_of_word_suffix("</w>".to_owned());
        if known_unk {
            builder = builder.unk_token(settings.unk.clone());
        }
        let bpe = builder.build().map_err(|error| TokenizerError::Model(error.to_string()))?;
        Ok(Self {
            bpe,
            words: pattern(WORDS)?,
            added_pattern: added_pattern(&added)?,
            added,
            bos,
            eos,
            pad,
            max_length: settings.max_length,
            next_id,
            embeddings: Embeddings::default(),
        })
    }

    /// Adds a token, as textual inversion does; its text becomes one new id wherever it occurs.
    ///
    /// # Errors
    ///
    /// Where the token is empty or exists already.
    pub fn add_token(&mut self, token: &str) -> Result<u32, TokenizerError> {
        let id = self.next_id;
        if token.is_empty()
            || id == u32::MAX
            || self.added.contains_key(token)
            || self.bpe.token_to_id(token).is_some()
        {
            return Err(TokenizerError::CannotAdd(token.to_owned()));
        }
        self.added.insert(token.to_owned(), id);
        self.added_pattern = added_pattern(&self.added)?;
        self.next_id += 1;
        Ok(id)
    }

    /// Adds an embedding of one or more vectors, whose name becomes as many new ids wherever it
    /// stands by itself, in any case of letters. The ids are those after the largest so far.
    ///
    /// # Errors
    ///
    /// Where the name or the embedding is empty, or the name exists already.
    pub fn add_embedding(
        &mut self,
        name: &str,
        vectors: usize,
    ) -> Result<Range<u32>, TokenizerError> {
        let cannot = || TokenizerError::CannotAdd(name.to_owned());
        let begin = self.next_id;
        let count = u32::try_from(vectors).ok().filter(|&count| count > 0).ok_or_else(cannot)?;
        let end = begin.checked_add(count).ok_or_else(cannot)?;
        if self.added.contains_key(name) || !self.embeddings.add(name, begin..end)? {
            return Err(cannot());
        }
        self.next_id = end;
        Ok(begin..end)
    }

    /// The names of the embeddings that a text names, in order and each once.
    pub fn embeddings_in<'a>(&'a self, text: &'a str) -> Vec<&'a str> {
        let mut names = Vec::new();
        for (_, name, _) in self.embeddings.find(text) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// How many ids, from one on, belong together: those of an embedding.
    pub(crate) fn unit(&self, id: u32) -> usize {
        self.embeddings.vectors(id)
    }

    /// The ids of a text, however many, without begin and end token.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut position = 0;
        for (place, _, embedding) in self.embeddings.find(text) {
            self.encode_words(&text[position..place.start], &mut ids);
            ids.extend(embedding);
            position = place.end;
        }
        self.encode_words(&text[position..], &mut ids);
        ids
    }

    /// Text between embeddings.
    fn encode_words(&self, text: &str, ids: &mut Vec<u32>) {
        let mut position = 0;
        for found in self.added_pattern.find_iter(text) {
            self.encode_plain(&text[position..found.start()], ids);
            ids.extend(self.added.get(found.as_str()));
            position = found.end();
        }
        self.encode_plain(&text[position..], ids);
    }

    /// The ids of a text as a text encoder takes them: begin token, at most `max_length - 2`
    /// ids, end token, padding.
    pub fn encode_padded(&self, text: &str) -> Encoded {
        let mut content = self.encode(text);
        let room = self.max_length.saturating_sub(2);
        let truncated = if content.len() > room { content.split_off(room) } else { Vec::new() };
        let mut ids = Vec::with_capacity(self.max_length);
        ids.push(self.bos);
        ids.extend(content);
        ids.push(self.eos);
        ids.resize(self.max_length, self.pad);
        Encoded { ids, truncated }
    }

    /// The text that ids stand for, such as for telling what was truncated. Letter case and
    /// spacing of the original text are lost.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &id in ids {
            if let Some((token, _)) = self.added.iter().find(|(_, added)| **added == id) {
                bytes.extend(token.as_bytes());
                bytes.push(b' ');
            } else if let Some(token) = self.bpe.id_to_token(id) {
                let (symbols, end) = match token.strip_suffix("</w>") {
                    Some(symbols) => (symbols, true),
                    None => (token.as_str(), false),
                };
                bytes.extend(symbols.chars().filter_map(files::byte_of_character));
                if end {
                    bytes.push(b' ');
                }
            }
        }
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }

    /// The begin token's id.
    pub fn bos(&self) -> u32 {
        self.bos
    }

    /// The end token's id.
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// The id that fills sequences up: the end token's in SD 1 and SDXL's first tokenizer, 0
    /// (`!`) in SD 2 and SDXL's second.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// The length of a sequence, begin and end token included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Text between added tokens.
    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let text = fix_text(text).to_lowercase();
        for word in self.words.find_iter(&text) {
            // Upper-case spellings of special tokens are only recognised here.
            if let Some(&id) = self.added.get(word.as_str())
                && matches!(word.as_str(), "<|startoftext|>" | "<|endoftext|>")
            {
                ids.push(id);
                continue;
            }
            let symbols: String = word.as_str().bytes().map(files::character_of_byte).collect();
            // Without dropout, byte-pair encoding only fails on an unknown token's name that
            // is not in the vocabulary, which was checked.
            if let Ok(tokens) = self.bpe.tokenize(&symbols) {
                ids.extend(tokens.into_iter().map(|token| token.id));
            }
        }
    }
}

fn pattern(pattern: &str) -> Result<Regex, TokenizerError> {
    Regex::new(pattern).map_err(|error| TokenizerError::Model(error.to_string()))
}

/// Finds added tokens, of several that begin at one place the longest.
fn added_pattern(added: &HashMap<String, u32>) -> Result<Regex, TokenizerError> {
    let mut tokens: Vec<&str> = added.keys().map(String::as_str).collect();
    tokens.sort_unstable_by_key(|token| (Reverse(token.len()), *token));
    pattern(&tokens.into_iter().map(regex::escape).collect::<Vec<_>>().join("|"))
}
