//! `AND`: several prompts that guide one picture (Liu et al., "Compositional visual generation
//! with composable diffusion models", arXiv:2206.01714).

use super::{MAX_WEIGHT, is_white, occurrences};

/// One of the prompts that guide a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Subprompt {
    /// The words, and the syntax that belongs to them.
    pub text: String,
    /// What its guidance is multiplied with.
    pub weight: f64,
}

const AND: &str = "AND";

/// Splits a prompt at each `AND` that is a word by itself, and reads the numbers at the ends. A
/// prompt without `AND` is taken as it stands: there `16:9` is no weight.
pub(super) fn split(prompt: &str) -> Vec<Subprompt> {
    let mut begin = 0;
    let mut texts = Vec::new();
    for place in occurrences(prompt, AND) {
        texts.push(&prompt[begin..place]);
        begin = place + AND.len();
    }
    if texts.is_empty() {
        return vec![Subprompt { text: prompt.to_owned(), weight: 1.0 }];
    }
    texts.push(&prompt[begin..]);
    texts.into_iter().map(weighted).collect()
}

/// Reads `text : number`.
fn weighted(text: &str) -> Subprompt {
    let text = text.trim_end_matches(is_white);
    let number_begins = text
        .rfind(|character: char| !matches!(character, '0'..='9' | '.' | '+' | '-'))
        .map_or(0, |place| place + text[place..].chars().next().map_or(1, char::len_utf8));
    let (before, number) = text.split_at(number_begins);
    let weight = before
        .trim_end_matches(is_white)
        .strip_suffix(':')
        .and_then(|before| Some((before, number.parse::<f64>().ok()?)));
    match weight {
        Some((before, weight)) => Subprompt {
            text: before.trim_end_matches(is_white).to_owned(),
            weight: weight.clamp(-MAX_WEIGHT, MAX_WEIGHT),
        },
        None => Subprompt { text: text.to_owned(), weight: 1.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_split(prompt: &str, expected: &[(&str, f64)]) {
        let found = split(prompt);
        let found: Vec<_> = found.iter().map(|part| (part.text.as_str(), part.weight)).collect();
        assert_eq!(found, expected, "{prompt}");
    }

    #[test]
    fn weights_stand_at_the_ends_of_subprompts() {
        assert_split("a cat", &[("a cat", 1.0)]);
        assert_split("a cat, 16:9", &[("a cat, 16:9", 1.0)]);
        assert_split("a AND b :0.7", &[("a", 1.0), (" b", 0.7)]);
        assert_split("a:-1.5\nAND\tb : 2. ", &[("a", -1.5), ("\tb", 2.0)]);
        assert_split("a AND", &[("a", 1.0), ("", 1.0)]);
        assert_split(
            "SAND AND_ ANDY (AND) AND",
            &[("SAND AND_ ANDY (", 1.0), (")", 1.0), ("", 1.0)],
        );
        assert_split(
            "x AND (b:1.2) AND c:d AND :3",
            &[("x", 1.0), (" (b:1.2)", 1.0), (" c:d", 1.0), ("", 3.0)],
        );
        assert_split(
            "a AND b:1e9 AND c:900000 AND 고양이:.5",
            &[("a", 1.0), (" b:1e9", 1.0), (" c", MAX_WEIGHT), (" 고양이", 0.5)],
        );
    }

    #[test]
    fn hostile_prompts_take_linear_time() {
        for unit in ["AND", "AND ", " AND:1", ":", " ", "1", "a:1 AND "] {
            let _ = split(&unit.repeat(10_000_000 / unit.len()));
        }
    }
}
