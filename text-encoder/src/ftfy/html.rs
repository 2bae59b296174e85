//! HTML entities in plain text (ftfy `fixes.py`, `unescape_html`).

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use regex::{Captures, Regex};

/// HTML 5's entities that end in a semicolon, and upper-cased variants where unambiguous; a
/// name and hexadecimal code points per line.
const ENTITIES: &str = include_str!("html_entities.txt");

static NAMED: LazyLock<HashMap<&'static str, String>> = LazyLock::new(|| {
    let character = |code: &str| u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
    ENTITIES
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, codes)| (name, codes.split(' ').filter_map(character).collect()))
        .collect()
});

static ENTITY: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("&(#?[0-9A-Za-z]{1,24});").ok());

/// Replaces entities that end in a semicolon by what they stand for.
pub(super) fn unescape_html(text: &str) -> Cow<'_, str> {
    let Some(entity) = ENTITY.as_ref() else { return Cow::Borrowed(text) };
    entity.replace_all(text, |entity: &Captures<'_>| {
        let whole = &entity[0];
        match entity[1].strip_prefix('#') {
            Some(number) => numbered(number).unwrap_or_else(|| whole.to_owned()),
            None => NAMED.get(&entity[1]).cloned().unwrap_or_else(|| whole.to_owned()),
        }
    })
}

/// A numeric reference as browsers and Python's `html.unescape` read it; `None` where it is none
/// or stands for the semicolon, which ftfy leaves alone.
fn numbered(number: &str) -> Option<String> {
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
    match code {
        0x3b => None,
        0 => Some('\u{fffd}'.to_string()),
        0x80..=0x9f => char::from_u32(code).map(super::encodings::windows_1252).map(String::from),
        0x1..=0x8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef => Some(String::new()),
        _ if code <= 0x0010_ffff && code & 0xfffe == 0xfffe => Some(String::new()),
        _ => Some(char::from_u32(code).unwrap_or('\u{fffd}').to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::unescape_html;

    #[test]
    fn entities_are_read_as_ftfy_reads_them() {
        assert_eq!(unescape_html("&lt;tag&gt; &amp;c &checkmark;"), "<tag> &c ✓");
        assert_eq!(unescape_html("P&EACUTE;REZ BUNDESSTRA&SZLIG;E"), "PÉREZ BUNDESSTRASSE");
        assert_eq!(
            unescape_html("&nTILDE; &amp &nosuch; &#12ab; &#59;"),
            "&nTILDE; &amp &nosuch; &#12ab; &#59;"
        );
        assert_eq!(
            unescape_html("&#x2019;&#8364;&#128;&#xD800;&#1;&#99999999999;"),
            "’€€\u{fffd}\u{fffd}"
        );
    }
}
