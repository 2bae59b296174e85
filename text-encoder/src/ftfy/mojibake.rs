//! UTF-8 that was read in a single-byte encoding (ftfy `__init__.py`, `fix_encoding`, with the
//! patterns of `chardata.py` and the decoder of `bad_codecs/utf8_variants.py`).

use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};

use super::{
    badness::is_bad,
    encodings::{ENCODINGS, windows_1252},
};

/// Real text is mixed up twice or three times at most; the limit keeps made-up text from
/// taking long.
const MAX_ROUNDS: usize = 16;

const UTF8_FIRST_OF_2: &str = "ĂÂÄĀÅÃÆĆČÇĎĐÉĚÊËĖÈĒĘÐĞĢÍÎÏİÌĪĶĹĻŁŃŇŅÑÓÔÖŐÒŌØÕŘŚŠŞŢÞÚÛÜŰÙŪŲŮÝŹŽŻß×ΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥ\
     ΦΧΨΩΪΫάέήίВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ";
const UTF8_FIRST_OF_3: &str = "áăâäàāąåãæćčçďéěêëėèēęęģíîïìīįķĺļŕźΰαβγδεζηθικλμνξοабвгдежзийклмноп";
const UTF8_FIRST_OF_4: &str = "đðğóšπσру";
const UTF8_CONTINUATION: &str = " ĄÆĽŁØŖŚŠŞŤŸŹŽŻŒąæƒľłøŗśšşťźžżœˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќўџҐґ–—―‘’‚“”\
     „†‡•…‰‹›€№™";
const UTF8_CONTINUATION_STRICT: &str =
    "ĄÆĽŁØŖŚŠŞŤŸŹŽŻŒąæƒľłøŗśšşťźžżœˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќўџҐґ†‡‰‹›€№™";

/// Sequences that were UTF-8 but for a byte 0xA0 that became a space (`ALTERED_UTF8_RE`).
static ALTERED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let alternatives = [
        r"[\xc2\xc3\xc5\xce\xd0\xd9][\x20]",
        r"[\xe2\xe3][\x20][\x80-\x84\x86-\x9f\xa1-\xbf]",
        r"[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf][\x20]",
        r"[\xf0][\x20][\x80-\xbf][\x80-\xbf]",
        r"[\xf0][\x80-\xbf][\x20][\x80-\xbf]",
        r"[\xf0][\x80-\xbf][\x80-\xbf][\x20]",
    ];
    Regex::new(&format!("(?-u){}", alternatives.join("|"))).ok()
});

/// UTF-8 sequences that lost bytes, which then read 0x1A or `?` (`LOSSY_UTF8_RE`).
static LOSSY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let alternatives = [
        r"[\xc2-\xdf][\x1a]",
        r"[\xc2-\xc3][?]",
        r"\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]",
        r"\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]",
        r"[\xe0-\xef][\x1a?][\x1a\x80-\xbf]",
        r"[\xe0-\xef][\x1a\x80-\xbf][\x1a?]",
        r"[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]",
        r"[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]",
        r"[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]",
        r"\x1a",
    ];
    Regex::new(&format!("(?-u){}", alternatives.join("|"))).ok()
});

/// Undoes mojibake until nothing more looks like it.
pub(super) fn fix_encoding(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..MAX_ROUNDS {
        match fix_one_step(&text) {
            Some(fixed) if fixed != text => text = fixed,
            _ => break,
        }
    }
    text
}

fn fix_one_step(text: &str) -> Option<String> {
    if text.is_ascii() || !is_bad(text) {
        return None;
    }
    let mut latin_1 = false;
    for (index, encoding) in ENCODINGS.iter().enumerate() {
        let Some(mut bytes) = encoding.encode(text) else { continue };
        latin_1 |= index == 0;
        if encoding.restore_a0 {
            bytes = restore_byte_a0(bytes);
        }
        if encoding.sloppy
            && let Some(lossy) = LOSSY.as_ref()
        {
            bytes = lossy.replace_all(&bytes, "\u{fffd}".as_bytes()).into_owned();
        }
        if let Some(decoded) = decode_utf8_variants(bytes) {
            return Some(decoded);
        }
    }
    if let Some(fixed) = decode_inconsistent_utf8(text) {
        return Some(fixed);
    }
    if latin_1 {
        let fixed: String = text.chars().map(windows_1252).collect();
        let unassigned = fixed.chars().any(|character| ('\u{80}'..='\u{9f}').contains(&character));
        if !unassigned && fixed != text {
            return Some(fixed);
        }
    }
    Some(text.chars().map(windows_1252).collect())
}

/// Puts back bytes 0xA0 that became spaces, where the result is convincing UTF-8.
fn restore_byte_a0(bytes: Vec<u8>) -> Vec<u8> {
    let Some(altered) = ALTERED.as_ref().filter(|altered| altered.is_match(&bytes)) else {
        return bytes;
    };
    let bytes = separate_a_grave(&bytes);
    altered
        .replace_all(&bytes, |sequence: &Captures<'_>| {
            sequence[0]
                .iter()
                .map(|&byte| if byte == b' ' { 0xa0 } else { byte })
                .collect::<Vec<_>>()
        })
        .into_owned()
}

/// `à` before a space is a word of its own, save in Portuguese `às` and `àquele`
/// (`A_GRAVE_WORD_RE`).
fn separate_a_grave(bytes: &[u8]) -> Vec<u8> {
    let joined: [&[u8]; 5] = [b" ", b"quele", b"quela", b"quilo", b"s "];
    let mut separated = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        separated.push(byte);
        rest = after;
        if byte == 0xc3
            && let Some(word) = after.strip_prefix(b" ")
            && !joined.iter().any(|start| word.starts_with(start))
        {
            separated.extend([0xa0, b' ']);
            rest = word;
        }
    }
    separated
}

/// UTF-8, in which U+0000 may be two bytes long and characters beyond U+FFFF may be pairs of
/// surrogates (CESU-8).
fn decode_utf8_variants(bytes: Vec<u8>) -> Option<String> {
    if !bytes.iter().any(|byte| matches!(byte, 0xc0 | 0xed)) {
        return String::from_utf8(bytes).ok();
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = &bytes[..];
    while let Some((&byte, after)) = rest.split_first() {
        match rest {
            [0xc0, 0x80, after @ ..] => {
                plain.push(0);
                rest = after;
            }
            [
                0xed,
                a @ 0xa0..=0xaf,
                b @ 0x80..=0xbf,
                0xed,
                c @ 0xb0..=0xbf,
                d @ 0x80..=0xbf,
                after @ ..,
            ] => {
                let bits = |byte: u8, mask: u8, shift: u32| u32::from(byte & mask) << shift;
                let code =
                    bits(*a, 0x0f, 16) + bits(*b, 0x3f, 10) + bits(*c, 0x0f, 6) + bits(*d, 0x3f, 0);
                let character = char::from_u32(code + 0x1_0000)?;
                plain.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(plain).ok()
}

/// Fixes stretches that look like mojibake inside text that is none (`UTF8_DETECTOR_RE`).
fn decode_inconsistent_utf8(text: &str) -> Option<String> {
    let mut fixed = String::with_capacity(text.len());
    let mut position = 0;
    let mut previous = None;
    let mut changed = false;
    while let Some(character) = text[position..].chars().next() {
        let length = if previous.is_some_and(is_strict_continuation) {
            0
        } else {
            sequences_length(&text[position..])
        };
        if length == 0 {
            fixed.push(character);
            position += character.len_utf8();
            previous = Some(character);
            continue;
        }
        let stretch = &text[position..position + length];
        if length < text.len() && is_bad(stretch) {
            let replacement = fix_encoding(stretch);
            changed |= replacement != stretch;
            fixed.push_str(&replacement);
        } else {
            fixed.push_str(stretch);
        }
        position += length;
        previous = stretch.chars().next_back();
    }
    changed.then_some(fixed)
}

/// How many bytes at the start of `text` look like UTF-8 sequences read in another encoding.
fn sequences_length(text: &str) -> usize {
    let mut length = 0;
    loop {
        let rest = &text[length..];
        let alternatives = [(UTF8_FIRST_OF_2, 1), (UTF8_FIRST_OF_3, 2), (UTF8_FIRST_OF_4, 3)];
        let sequence = alternatives.into_iter().find_map(|(firsts, continuations)| {
            let mut characters = rest.chars();
            characters.next().filter(|&first| firsts.contains(first))?;
            for _ in 0..continuations {
                characters.next().filter(|&next| is_continuation(next))?;
            }
            Some(rest.len() - characters.as_str().len())
        });
        match sequence {
            Some(sequence) => length += sequence,
            None => return length,
        }
    }
}

fn is_continuation(character: char) -> bool {
    ('\u{80}'..='\u{bf}').contains(&character) || UTF8_CONTINUATION.contains(character)
}

fn is_strict_continuation(character: char) -> bool {
    ('\u{80}'..='\u{bf}').contains(&character) || UTF8_CONTINUATION_STRICT.contains(character)
}
