//! What `ftfy.fix_text` does to a prompt before it is split into tokens.
//!
//! transformers' `CLIPTokenizer` cleans its text with ftfy, so these rules decide which tokens a
//! prompt with entities, ligatures, full-width letters, curly quotes or mojibake gets. This is a
//! port of ftfy 6.3 (Robyn Speer, Apache License 2.0) with its default settings.
//!
//! It differs in two points that real text does not reach: the rounds of repeated fixing are
//! limited, and a surrogate code point cannot occur in a Rust string.

mod badness;
mod encodings;
mod html;
mod mojibake;

use std::sync::LazyLock;

use regex::Regex;
use tokenizers::{
    NormalizedString, Normalizer,
    normalizers::unicode::{NFC, NFKC},
};

/// Characters after which a segment ends where there is no line break.
const MAX_SEGMENT: usize = 1_000_000;

/// Fixing is repeated until nothing changes; text that needs more rounds than this was made to.
const MAX_ROUNDS: usize = 16;

static TERMINAL_ESCAPE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\x1b\[(?:\d|;)*[a-zA-Z]").ok());

/// Fixes text line by line, as `ftfy.fix_text` does.
pub(crate) fn fix_text(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len());
    let mut unescape_html = true;
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while !rest.is_empty() {
            let end = rest.char_indices().nth(MAX_SEGMENT).map_or(rest.len(), |(end, _)| end);
            let (segment, after) = rest.split_at(end);
            unescape_html &= !segment.contains('<');
            fixed.push_str(&fix_segment(segment, unescape_html));
            rest = after;
        }
    }
    fixed
}

fn fix_segment(segment: &str, unescape_html: bool) -> String {
    let mut text = segment.to_owned();
    for _ in 0..MAX_ROUNDS {
        let fixed = fix_once(&text, unescape_html);
        if fixed == text {
            break;
        }
        text = fixed;
    }
    text
}

fn fix_once(text: &str, unescape_html: bool) -> String {
    let mut text =
        if unescape_html { html::unescape_html(text).into_owned() } else { text.to_owned() };
    if !text.is_ascii() {
        text = mojibake::fix_encoding(&text);
        let mut replaced = String::with_capacity(text.len());
        for character in text.chars() {
            replace(encodings::windows_1252(character), &mut replaced);
        }
        text = replaced;
    }
    if text.contains('\r') {
        text = text.replace("\r\n", "\n").replace('\r', "\n");
    }
    if text.contains('\u{1b}')
        && let Some(escape) = TERMINAL_ESCAPE.as_ref()
    {
        text = escape.replace_all(&text, "").into_owned();
    }
    text.retain(|character| !is_control(character));
    if text.is_ascii() { text } else { normalize(&NFC, &text) }
}

/// Ligatures, widths, quotes and line breaks, character by character.
fn replace(character: char, output: &mut String) {
    // Ligatures are taken apart before widths change, and U+FFxx holds no ligature.
    match character {
        'Ĳ' => output.push_str("IJ"),
        'ĳ' => output.push_str("ij"),
        // The apostrophe that ftfy puts here is a quote that it straightens next.
        'ŉ' => output.push_str("'n"),
        'Ǳ' => output.push_str("DZ"),
        'ǲ' => output.push_str("Dz"),
        'ǳ' => output.push_str("dz"),
        'Ǆ' => output.push_str("DŽ"),
        'ǅ' => output.push_str("Dž"),
        'ǆ' => output.push_str("dž"),
        'Ǉ' => output.push_str("LJ"),
        'ǈ' => output.push_str("Lj"),
        'ǉ' => output.push_str("lj"),
        'Ǌ' => output.push_str("NJ"),
        'ǋ' => output.push_str("Nj"),
        'ǌ' => output.push_str("nj"),
        'ﬀ' => output.push_str("ff"),
        'ﬁ' => output.push_str("fi"),
        'ﬂ' => output.push_str("fl"),
        'ﬃ' => output.push_str("ffi"),
        'ﬄ' => output.push_str("ffl"),
        'ﬅ' => output.push_str("ſt"),
        'ﬆ' => output.push_str("st"),
        '\u{3000}' => output.push(' '),
        '\u{ff01}'..='\u{ffef}' => {
            output.push_str(&normalize(&NFKC, character.encode_utf8(&mut [0; 4])));
        }
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => output.push('\''),
        '\u{201c}'..='\u{201f}' => output.push('"'),
        '\u{2028}' | '\u{2029}' | '\u{85}' => output.push('\n'),
        other => output.push(other),
    }
}

/// Control characters that nobody means to write (`chardata.py`, `CONTROL_CHARS`).
fn is_control(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{8}'
            | '\u{b}'
            | '\u{e}'..='\u{1f}'
            | '\u{7f}'
            | '\u{206a}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffc}'
    )
}

fn normalize(form: &impl Normalizer, text: &str) -> String {
    let mut normalized = NormalizedString::from(text);
    match form.normalize(&mut normalized) {
        Ok(()) => normalized.get().to_owned(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::fix_text;

    #[test]
    fn the_examples_of_ftfy_come_out_alike() {
        for (text, fixed) in [
            ("âœ” No problems", "✔ No problems"),
            ("&macr;\\_(ã\u{83}\u{84})_/&macr;", "¯\\_(ツ)_/¯"),
            ("Broken text&hellip; it&#x2019;s ﬂubberiﬁc!", "Broken text… it's flubberific!"),
            ("ＬＯＵＤ　ＮＯＩＳＥＳ", "LOUD NOISES"),
            ("Ｕﾀｰﾝ", "Uターン"),
            ("voilÃ  le travail", "voilà le travail"),
            ("â€œ like this â€\u{fffd}", "\" like this \u{fffd}"),
            ("\u{1b}[36;44mI'm blue\u{1b}[0m", "I'm blue"),
            ("a < b &amp; c", "a < b &amp; c"),
        ] {
            assert_eq!(fix_text(text), fixed, "{text:?}");
        }
    }
}
