//! The tokenizer against transformers' `CLIPTokenizer` with ftfy, prompt by prompt.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs::read_to_string,
    time::{Duration, Instant},
};

use emberbrush_tests::{checkpoint, fixtures};
use emberbrush_text_encoder::{Tokenizer, TokenizerError, TokenizerSettings};
use serde::Deserialize;

#[derive(Deserialize)]
struct Tokens {
    pad_example_sd21: Example,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Example {
    prompt: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Case {
    prompt: String,
    ids: Vec<u32>,
    ids_padded_77: Vec<u32>,
}

fn tokens() -> Tokens {
    let path = fixtures().join("goldens/tokens.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn tokenizer(name: &str, folder: &str) -> Tokenizer {
    let root = checkpoint(name);
    let read = |file: &str| read_to_string(root.join(folder).join(file)).unwrap();
    let settings = TokenizerSettings::new(
        Some(&read("tokenizer_config.json")),
        Some(&read("special_tokens_map.json")),
    );
    let settings = settings.unwrap();
    Tokenizer::from_vocab_and_merges(&read("vocab.json"), &read("merges.txt"), &settings).unwrap()
}

#[test]
fn every_prompt_gets_the_ids_of_the_slow_tokenizer_with_ftfy() {
    let tokenizer = tokenizer("sd15-tiny", "tokenizer");
    let tokens = tokens();
    assert_eq!(tokens.cases.len(), 47);
    let mut wrong = Vec::new();
    for case in &tokens.cases {
        let content = &case.ids[1..case.ids.len() - 1];
        let encoded = tokenizer.encode_padded(&case.prompt);
        let room = content.len().min(75);
        if tokenizer.encode(&case.prompt) != content
            || encoded.ids != case.ids_padded_77
            || encoded.truncated != content[room..]
        {
            wrong.push(&case.prompt);
        }
    }
    assert!(wrong.is_empty(), "{} prompts differ: {wrong:?}", wrong.len());
}

#[test]
fn padding_is_what_the_checkpoint_states() {
    let sd15 = tokenizer("sd15-tiny", "tokenizer");
    assert_eq!((sd15.bos(), sd15.eos(), sd15.pad(), sd15.max_length()), (49406, 49407, 49407, 77));
    assert_eq!(tokenizer("sdxl-tiny", "tokenizer").pad(), 49407);
    assert_eq!(tokenizer("sdxl-tiny", "tokenizer_2").pad(), 0);
    let sd21 = tokenizer("sd21-tiny", "tokenizer");
    assert_eq!(sd21.pad(), 0);
    let example = tokens().pad_example_sd21;
    assert_eq!(sd21.encode_padded(&example.prompt).ids, example.ids);
}

#[test]
fn special_tokens_in_a_prompt_are_single_ids() {
    // Ids from transformers 4.57.6 with ftfy 6.3.1. SD 2's padding token `!` is special too.
    let tokenizer = tokenizer("sd21-tiny", "tokenizer");
    assert_eq!(tokenizer.encode("hello!!! a"), [3306, 0, 0, 0, 320]);
    assert_eq!(tokenizer.encode("<|ENDOFTEXT|> x"), [49407, 343]);
    assert_eq!(tokenizer.encode("IT'S \u{345} Ⓐ ȧ"), [585, 568, 27400, 494, 132, 356]);
}

const VOCAB: &str = r#"{"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "ab</w>": 4,
    "<|startoftext|>": 5, "<|endoftext|>": 6}"#;
const MERGES: &str = "#version: 0.2\na b</w>\n";

fn small(config: Option<&str>, map: Option<&str>) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::from_vocab_and_merges(VOCAB, MERGES, &TokenizerSettings::new(config, map)?)
}

#[test]
fn a_small_vocabulary_works() {
    let tokenizer =
        small(Some(r#"{"model_max_length": 6, "pad_token": {"content": "a</w>"}}"#), None);
    let tokenizer = tokenizer.unwrap();
    assert_eq!(tokenizer.encode_padded("AB b").ids, [5, 4, 3, 6, 2, 2]);
    let long = tokenizer.encode_padded("ab b b b ab ab");
    assert_eq!(long.ids, [5, 4, 3, 3, 3, 6]);
    assert_eq!(long.truncated, [4, 4]);
    assert_eq!(tokenizer.decode(&long.truncated), "ab ab");
    assert_eq!(tokenizer.encode("b<|endoftext|>b"), [3, 6, 3]);
    assert_eq!(tokenizer.encode("z"), [6], "unknown");
    let unlimited = small(Some(r#"{"model_max_length": 1e30}"#), None).unwrap();
    assert_eq!(unlimited.max_length(), 77);
}

#[test]
fn tokens_can_be_added() {
    let mut tokenizer = tokenizer("sd15-tiny", "tokenizer");
    assert_eq!(tokenizer.add_token("<cat-toy>").unwrap(), 49408);
    assert_eq!(tokenizer.add_token("<cat-toy>_1").unwrap(), 49409);
    assert_eq!(tokenizer.encode("a <cat-toy>_1<cat-toy>"), [320, 49409, 49408]);
    for taken in ["<cat-toy>", "", "cat</w>"] {
        assert!(matches!(tokenizer.add_token(taken), Err(TokenizerError::CannotAdd(_))));
    }
}

#[test]
fn tokenizer_json_means_the_same() {
    for merges in [r#"["a b</w>"]"#, r#"[["a", "b</w>"]]"#] {
        let json = format!(
            r#"{{"added_tokens": [{{"id": 9, "content": "<new>"}}],
                "model": {{"type": "BPE", "vocab": {VOCAB}, "merges": {merges}}}}}"#
        );
        let settings = TokenizerSettings::new(None, None).unwrap();
        let tokenizer = Tokenizer::from_tokenizer_json(&json, &settings).unwrap();
        assert_eq!(tokenizer.encode("ab<new> b"), [4, 9, 3]);
    }
    let settings = TokenizerSettings::new(None, None).unwrap();
    let other = r#"{"model": {"type": "WordPiece", "vocab": {}}}"#;
    let error = Tokenizer::from_tokenizer_json(other, &settings).unwrap_err();
    assert!(matches!(error, TokenizerError::Unsupported(kind) if kind == "WordPiece"));
    for broken in ["", "[]", "{}", r#"{"model": {"vocab": [1]}}"#] {
        assert!(Tokenizer::from_tokenizer_json(broken, &settings).is_err());
    }
}

#[test]
fn broken_files_are_refused_by_name() {
    let settings = TokenizerSettings::new(None, None).unwrap();
    let refusal = |vocab: &str, merges: &str| {
        Tokenizer::from_vocab_and_merges(vocab, merges, &settings).unwrap_err().to_string()
    };
    for vocab in ["", "{", "[]", r#"{"a": -1}"#, r#"{"a": "b"}"#, "\0"] {
        assert!(refusal(vocab, MERGES).contains("vocab.json"));
    }
    assert!(refusal(VOCAB, "#version: 0.2\na b</w> c").contains("line 2"));
    assert!(refusal(VOCAB, "a").contains("line 1"));
    assert!(refusal(VOCAB, "a q").contains('q'), "a merge outside the vocabulary");
    let without = VOCAB.replace("startoftext", "start");
    assert!(refusal(&without, MERGES).contains("begin token `<|startoftext|>`"));
    for config in ["", "[1]", r#"{"pad_token": 3}"#] {
        let error = small(Some(config), None).unwrap_err();
        assert!(error.to_string().contains("tokenizer_config.json"), "{error}");
    }
    assert!(small(None, Some("{")).unwrap_err().to_string().contains("special_tokens_map.json"));
    for length in ["0", "2", "-5"] {
        let config = format!(r#"{{"model_max_length": {length}}}"#);
        assert!(matches!(small(Some(&config), None), Err(TokenizerError::MaxLength(_))));
    }
    let pad = r#"{"pad_token": "[PAD]"}"#;
    assert!(small(None, Some(pad)).unwrap_err().to_string().contains("padding token `[PAD]`"));
}

#[test]
fn hostile_text_is_encoded_in_reasonable_time() {
    const SIZE: usize = 1 << 17;
    let tokenizer = tokenizer("sd15-tiny", "tokenizer");
    let mixed: String = (0..SIZE as u32 / 4).filter_map(|code| char::from_u32(code * 17)).collect();
    // Time must grow with the length of the text, not with its square: a quadratic step
    // would take minutes at this size.
    for text in [
        "a".repeat(SIZE),
        " ".repeat(80 * SIZE),
        "7".repeat(SIZE),
        "!".repeat(SIZE),
        "\0".repeat(80 * SIZE),
        "'".repeat(SIZE),
        "<|".repeat(SIZE / 2),
        "<|endoftext|>".repeat(SIZE / 13),
        "&amp;".repeat(SIZE / 5),
        format!("&{}", "amp;".repeat(SIZE / 4)),
        "Ã©Â".repeat(SIZE / 6),
        "ÃƒÂ©".repeat(SIZE / 8),
        "Æ".repeat(SIZE / 2),
        "\u{301}".repeat(SIZE / 2),
        "\u{1b}[".repeat(SIZE / 2),
        "\r\n".repeat(SIZE / 2),
        "ﷺ".repeat(SIZE / 3),
        mixed,
    ] {
        let start = Instant::now();
        let encoded = tokenizer.encode_padded(&text);
        let took = start.elapsed();
        assert_eq!(encoded.ids.len(), 77);
        assert!(took < Duration::from_secs(30), "{:?} took {took:?}", text.chars().next());
    }
}
