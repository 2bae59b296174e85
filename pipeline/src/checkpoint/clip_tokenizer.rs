//! CLIP's tokenizer, which every Stable Diffusion has and no single file holds.

use std::{
    fmt::Write as _,
    io::{self, Read},
};

use flate2::read::GzDecoder;
use serde_json::json;

/// A file of CLIP's tokenizer that is part of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vocabulary {
    /// `merges.txt`.
    Merges,
    /// `vocab.json`, which the merges imply.
    Vocab,
}

impl Vocabulary {
    /// The file of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "merges.txt" => Some(Self::Merges),
            "vocab.json" => Some(Self::Vocab),
            _ => None,
        }
    }

    /// Its text.
    ///
    /// # Errors
    ///
    /// Where the program is damaged.
    pub fn read(self) -> io::Result<String> {
        let mut merges = String::new();
        GzDecoder::new(emberbrush_assets::CLIP_MERGES).read_to_string(&mut merges)?;
        Ok(match self {
            Self::Merges => merges,
            Self::Vocab => vocabulary(&merges),
        })
    }
}

/// `vocab.json`: 256 bytes, the same at the end of a word, what each merge gives, and two tokens
/// for begin and end (OpenAI CLIP, `clip/simple_tokenizer.py`).
fn vocabulary(merges: &str) -> String {
    let bytes: Vec<char> = emberbrush_text_encoder::byte_characters().collect();
    let at_end = bytes.iter().map(|byte| format!("{byte}</w>"));
    let merged = merges.lines().skip(1).map(|line| line.replace(' ', ""));
    let marks = ["<|startoftext|>", "<|endoftext|>"].map(str::to_owned);
    let tokens = bytes.iter().map(char::to_string).chain(at_end).chain(merged).chain(marks);
    let mut json = String::from("{");
    for (id, token) in tokens.enumerate() {
        let comma = if id == 0 { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(json, "{comma}{}:{id}", json!(token));
    }
    json.push('}');
    json
}

/// The small files of a tokenizer. OpenAI's pads with the end token, OpenCLIP's with `!`, which
/// has the number 0.
pub fn settings(pads_with_end: bool) -> [(&'static str, String); 2] {
    const END: &str = "<|endoftext|>";
    let token = |content: &str| {
        json!({
            "content": content, "lstrip": false, "normalized": true, "rstrip": false,
            "single_word": false,
        })
    };
    let pad = if pads_with_end { END } else { "!" };
    let map = json!({
        "bos_token": token("<|startoftext|>"), "eos_token": token(END), "pad_token": pad,
        "unk_token": token(END),
    });
    let config = json!({
        "add_prefix_space": false, "bos_token": "<|startoftext|>", "do_lower_case": true,
        "eos_token": END, "errors": "replace", "model_max_length": 77, "pad_token": pad,
        "tokenizer_class": "CLIPTokenizer", "unk_token": END,
    });
    [
        ("special_tokens_map.json", format!("{map:#}\n")),
        ("tokenizer_config.json", format!("{config:#}\n")),
    ]
}
