//! How likely a text is mojibake: the heuristic of ftfy's `badness.py`.
//!
//! The roughly 400 characters that occur when UTF-8 is read in another encoding fall into
//! categories; certain neighbours are far more likely mojibake than intended.

use std::sync::LazyLock;

use regex::Regex;

const COMMON: &str = "\u{a0}\u{ad}·´–—―…’";
const C1: &str = "\u{80}-\u{9f}";
const BAD: &str = "¦¤¨¬¯¸ƒˆˇ˘˛˜†‡‰⌐◊�ªº";
const LAW: &str = "¶§";
const CURRENCY: &str = "¢£¥₧€";
const START_PUNCTUATION: &str = "¡«¿©΄΅‘‚“„•‹\u{f8ff}";
const END_PUNCTUATION: &str = "®»˝”›™";
const NUMERIC: &str = "²³¹±¼½¾×µ÷⁄∂∆∏∑√∞∩∫≈≠≡≤≥№";
const KAOMOJI: &str = "Ò-ÖÙ-Üò-öø-üŐŌŪŲ°";
const UPPER_ACCENTED: &str = "À-ÑØÜÝĂĀĄĆČĎĐĘĚĒĖĞĢİĪĶĹĽŁĻŃŇŅŒŘŚŞŠŢŤŮŰŸŹŻŽҐ";
const LOWER_ACCENTED: &str = "ßà-ñăąāćčďđęěēėğģįīķĺľłļœŕśşšťüźżžґﬁﬂ";
const UPPER_COMMON: &str = "ÞΑ-ΩΆΈΉΊΌΎΏΪΫЁ-Я";
const LOWER_COMMON: &str = "α-ωάέήίΰа-џ";
const BOX: &str = "│┌┐┘├┤┬┼═-╬▀▄█▌▐░▒▓";

static BADNESS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&pattern()).ok());

/// Whether the text looks as if some of it were mojibake.
pub(super) fn is_bad(text: &str) -> bool {
    BADNESS.as_ref().is_some_and(|badness| badness.is_match(text))
}

/// The alternatives of `BADNESS_RE`, in its order.
fn pattern() -> String {
    [
        format!(r"[{C1}]"),
        format!(r"[{BAD}{LOWER_ACCENTED}{UPPER_ACCENTED}{BOX}{START_PUNCTUATION}{END_PUNCTUATION}{CURRENCY}{NUMERIC}{LAW}][{BAD}]"),
        format!(r"[a-zA-Z][{LOWER_COMMON}{UPPER_COMMON}][{BAD}]"),
        format!(r"[{BAD}][{LOWER_ACCENTED}{UPPER_ACCENTED}{BOX}{START_PUNCTUATION}{END_PUNCTUATION}{CURRENCY}{NUMERIC}{LAW}]"),
        format!(r"[{LOWER_ACCENTED}{LOWER_COMMON}{BOX}{END_PUNCTUATION}{CURRENCY}{NUMERIC}][{UPPER_ACCENTED}]"),
        format!(r"[{BOX}{END_PUNCTUATION}{CURRENCY}{NUMERIC}][{LOWER_ACCENTED}]"),
        format!(r"[{LOWER_ACCENTED}{BOX}{END_PUNCTUATION}][{CURRENCY}]"),
        format!(r"[\s\x1c-\x1f][{UPPER_ACCENTED}][{CURRENCY}]"),
        format!(r"[{UPPER_ACCENTED}{BOX}][{NUMERIC}{LAW}]"),
        format!(r"[{LOWER_ACCENTED}{UPPER_ACCENTED}{BOX}{CURRENCY}{END_PUNCTUATION}][{START_PUNCTUATION}][{NUMERIC}]"),
        format!(r"[{LOWER_ACCENTED}{UPPER_ACCENTED}{CURRENCY}{NUMERIC}{BOX}{LAW}][{END_PUNCTUATION}][{START_PUNCTUATION}]"),
        format!(r"[{CURRENCY}{NUMERIC}{BOX}][{START_PUNCTUATION}]"),
        format!(r"[a-z][{UPPER_ACCENTED}][{START_PUNCTUATION}{CURRENCY}]"),
        format!(r"[{BOX}][{KAOMOJI}]"),
        format!(r"[{LOWER_ACCENTED}{UPPER_ACCENTED}{CURRENCY}{NUMERIC}{START_PUNCTUATION}{END_PUNCTUATION}{LAW}][{BOX}]"),
        format!(r"[{BOX}][{END_PUNCTUATION}]"),
        format!(r"[{LOWER_ACCENTED}{UPPER_ACCENTED}][{START_PUNCTUATION}{END_PUNCTUATION}][\p{{L}}\p{{N}}_]"),
        r"[Œœ][^A-Za-z]".to_owned(),
        format!(r"[{UPPER_ACCENTED}]°"),
        format!(r"[ÂÃÎÐ][€œŠš¢£Ÿž\xa0\xad®©°·»{START_PUNCTUATION}{END_PUNCTUATION}–—´]"),
        r"×[²³]".to_owned(),
        format!(r"[ØÙ][{COMMON}{CURRENCY}{BAD}{NUMERIC}{START_PUNCTUATION}ŸŠ®°µ»][ØÙ][{COMMON}{CURRENCY}{BAD}{NUMERIC}{START_PUNCTUATION}ŸŠ®°µ»]"),
        r"à[²µ¹¼½¾]".to_owned(),
        r"√[±∂†≠®™´≤≥¥µø]".to_owned(),
        r"≈[°¢]".to_owned(),
        r"‚Ä[ìîïòôúùû†°¢π]".to_owned(),
        r"‚[âó][àä°ê]".to_owned(),
        r"вЂ".to_owned(),
        format!(r"[ВГРС][{C1}{BAD}{START_PUNCTUATION}{END_PUNCTUATION}{CURRENCY}°µ][ВГРС]"),
        r"ГўВЂВ.[A-Za-z ]".to_owned(),
        r"Ã[\xa0¡]".to_owned(),
        r"[a-z]\s?[ÃÂ][ ]".to_owned(),
        r"^[ÃÂ][ ]".to_owned(),
        format!(r"[a-z.,?!{END_PUNCTUATION}]Â[ {START_PUNCTUATION}{END_PUNCTUATION}]"),
        r"β€[™\xa0Ά\xad®°]".to_owned(),
        format!(r"[ΒΓΞΟ][{C1}{BAD}{START_PUNCTUATION}{END_PUNCTUATION}{CURRENCY}°][ΒΓΞΟ]"),
        r"ā€".to_owned(),
    ]
    .join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_compiles() {
        assert!(BADNESS.is_some());
    }

    #[test]
    fn mojibake_is_told_from_text() {
        assert!(is_bad("Ã© mojibake cafÃ©"));
        assert!(is_bad("âœ” No problems"));
        assert!(!is_bad("café naïve résumé über straße"));
        assert!(!is_bad("Ångström Øre Æther"));
    }
}
