//! What is written in a prompt beside words.
//!
//! ```text
//! prompt      = { item }
//! item        = "(" prompt ")"              attention × 1.1
//!             | "(" prompt ":" number ")"   attention × number
//!             | "[" prompt "]"              attention ÷ 1.1
//!             | "\" any                     the character itself
//!             | "{" prompt { "|" prompt } "}"   one of several, by the seed
//!             | "__" name "__"              a line of the wildcard file `name`.txt, by the seed
//!             | text
//! ```
//!
//! Alternatives and wildcards are replaced first, by [`expand`]; the result holds weights alone
//! and expands to itself. [`parse`] then reads the weights as AUTOMATIC1111's web UI does
//! (`modules/prompt_parser.py`, `parse_prompt_attention`): brackets that are never closed reach to
//! the end, brackets that were never opened are text, and so is a weight outside parentheses.
//! Braces without `|` are text.

mod expansion;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use expansion::{ExpansionError, NoWildcards, WildcardFolder, Wildcards, expand};

/// The factor of one pair of brackets.
const BRACKET: f64 = 1.1;

/// Weights are kept within this on either side of zero: far beyond what leaves a picture, and
/// finite however many brackets there are.
pub const MAX_WEIGHT: f64 = 100.0;

/// How a prompt is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptSyntax {
    /// With the grammar of [this module](self), and as many chunks as the prompt needs.
    #[default]
    Weighted,
    /// As it stands, and cut where the text encoder ends, as diffusers does.
    Literal,
}

/// A name that no syntax has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown prompt syntax `{0}`; known are weighted, literal")]
pub struct UnknownSyntax(String);

impl PromptSyntax {
    /// The name in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weighted => "weighted",
            Self::Literal => "literal",
        }
    }
}

impl fmt::Display for PromptSyntax {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for PromptSyntax {
    type Err = UnknownSyntax;

    fn from_str(name: &str) -> Result<Self, UnknownSyntax> {
        [Self::Weighted, Self::Literal]
            .into_iter()
            .find(|syntax| syntax.name() == name)
            .ok_or_else(|| UnknownSyntax(name.to_owned()))
    }
}

/// A part of a prompt whose words have one weight.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedText {
    /// The words, without escapes.
    pub text: String,
    /// The attention, 1 for plain text.
    pub weight: f64,
}

/// What the multiplier of a range is.
#[derive(Debug, Clone, Copy)]
enum Factor {
    Round,
    Square,
    Number(f64),
}

/// Where a range begins or ends, between two pieces of text.
#[derive(Debug, Clone, Copy)]
enum Boundary {
    /// A bracket opens; what it means is known at its end.
    Open(usize),
    Close(usize),
}

/// Reads the weights of a prompt, in time linear in its length. Neighbours of the same weight are
/// one part; a prompt without words has no parts.
pub fn parse(prompt: &str) -> Vec<WeightedText> {
    let mut builder = Builder::default();
    let bytes = prompt.as_bytes();
    let mut position = 0;
    while position < bytes.len() {
        match bytes[position] {
            b'\\' => {
                position += 1;
                // A lone backslash is dropped, as A1111 does.
                if bytes.get(position).is_some_and(|next| br"()[]{}|_\".contains(next)) {
                    builder.text(&prompt[position..=position]);
                    position += 1;
                }
            }
            b'(' => {
                let range = builder.open(Factor::Round);
                builder.round.push(range);
                position += 1;
            }
            b'[' => {
                let range = builder.open(Factor::Square);
                builder.square.push(range);
                position += 1;
            }
            b')' if !builder.round.is_empty() => {
                builder.close_round(Factor::Round);
                position += 1;
            }
            b']' if !builder.square.is_empty() => {
                if let Some(range) = builder.square.pop() {
                    builder.boundary(Boundary::Close(range));
                }
                position += 1;
            }
            b':' if !builder.round.is_empty() => match closing_weight(&prompt[position..]) {
                Some((weight, length)) => {
                    builder.close_round(Factor::Number(weight));
                    position += length;
                }
                None => {
                    builder.text(":");
                    position += 1;
                }
            },
            _ => {
                let rest = &bytes[position + 1..];
                let length = rest
                    .iter()
                    .position(|byte| br"\()[]:".contains(byte))
                    .map_or(bytes.len() - position, |length| length + 1);
                builder.text(&prompt[position..position + length]);
                position += length;
            }
        }
    }
    builder.finish()
}

/// Reads `: 1.2 )`; the weight and the length in bytes.
fn closing_weight(text: &str) -> Option<(f64, usize)> {
    let number = text[1..].trim_start();
    let length =
        number.bytes().position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-'))?;
    let rest = number[length..].trim_start().strip_prefix(')')?;
    let weight: f64 = number[..length].parse().ok()?;
    Some((weight.clamp(-MAX_WEIGHT, MAX_WEIGHT), text.len() - rest.len()))
}

#[derive(Debug, Default)]
struct Builder {
    pieces: String,
    /// Boundaries with their places in `pieces`, in order.
    boundaries: Vec<(usize, Boundary)>,
    /// What each range multiplies with.
    factors: Vec<Factor>,
    /// Open ranges.
    round: Vec<usize>,
    square: Vec<usize>,
}

impl Builder {
    fn text(&mut self, text: &str) {
        self.pieces.push_str(text);
    }

    fn boundary(&mut self, boundary: Boundary) {
        self.boundaries.push((self.pieces.len(), boundary));
    }

    fn open(&mut self, factor: Factor) -> usize {
        let range = self.factors.len();
        self.factors.push(factor);
        self.boundary(Boundary::Open(range));
        range
    }

    fn close_round(&mut self, factor: Factor) {
        if let Some(range) = self.round.pop() {
            self.factors[range] = factor;
            self.boundary(Boundary::Close(range));
        }
    }

    /// Sweeps over the boundaries with the product of the open ranges. Numbers belong to
    /// parentheses, which close in the reverse order of opening, so that a stack of products
    /// serves; brackets are counted.
    fn finish(self) -> Vec<WeightedText> {
        let mut parts: Vec<WeightedText> = Vec::new();
        let (mut brackets, mut products) = (0_i32, vec![1.0_f64]);
        let mut begin = 0;
        let mut push = |text: &str, weight: f64| match parts.last_mut() {
            _ if text.is_empty() => {}
            Some(last) if last.weight == weight => last.text.push_str(text),
            _ => parts.push(WeightedText { text: text.to_owned(), weight }),
        };
        for (end, boundary) in self.boundaries {
            let product = products.last().copied().unwrap_or(1.0);
            push(&self.pieces[begin..end], weight(brackets, product));
            begin = end;
            let (range, opens) = match boundary {
                Boundary::Open(range) => (range, true),
                Boundary::Close(range) => (range, false),
            };
            match self.factors[range] {
                Factor::Round => brackets += if opens { 1 } else { -1 },
                Factor::Square => brackets += if opens { -1 } else { 1 },
                Factor::Number(number) if opens => products.push(product * number),
                Factor::Number(_) => {
                    products.pop();
                }
            }
        }
        let product = products.last().copied().unwrap_or(1.0);
        push(&self.pieces[begin..], weight(brackets, product));
        parts
    }
}

fn weight(brackets: i32, product: f64) -> f64 {
    let weight = BRACKET.powi(brackets.clamp(-1000, 1000)) * product;
    if weight.is_nan() { 0.0 } else { weight.clamp(-MAX_WEIGHT, MAX_WEIGHT) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expansion::Choices;

    fn parts(prompt: &str) -> Vec<(String, f64)> {
        parse(prompt)
            .into_iter()
            .map(|part| (part.text, (part.weight * 1e6).round() / 1e6))
            .collect()
    }

    #[track_caller]
    fn assert_parts(prompt: &str, expected: &[(&str, f64)]) {
        let expected: Vec<_> = expected.iter().map(|&(text, w)| (text.to_owned(), w)).collect();
        assert_eq!(parts(prompt), expected, "{prompt}");
    }

    /// The examples in the documentation of `parse_prompt_attention`.
    #[test]
    fn a1111s_examples_are_read_alike() {
        assert_parts("normal text", &[("normal text", 1.0)]);
        assert_parts("an (important) word", &[("an ", 1.0), ("important", 1.1), (" word", 1.0)]);
        assert_parts("(unbalanced", &[("unbalanced", 1.1)]);
        assert_parts(r"\(literal\]", &[("(literal]", 1.0)]);
        assert_parts("(unnecessary)(parens)", &[("unnecessaryparens", 1.1)]);
        assert_parts(
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            &[
                ("a ", 1.0),
                ("house", 1.573),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641),
                (".", 1.1),
            ],
        );
    }

    #[test]
    fn what_is_no_weight_is_text() {
        assert_parts("", &[]);
        assert_parts("()", &[]);
        assert_parts("time 12:30) ok]", &[("time 12:30) ok]", 1.0)]);
        assert_parts("(a:b)", &[("a:b", 1.1)]);
        assert_parts("(a:1.2.3)", &[("a:1.2.3", 1.1)]);
        assert_parts("(a: -0.5 ) b", &[("a", -0.5), (" b", 1.0)]);
        assert_parts("a\\b \\\\ \\{x\\|y\\}", &[("ab \\ {x|y}", 1.0)]);
        assert_parts("(a [b) c]", &[("a ", 1.1), ("b", 1.0), (" c", 0.909091)]);
        assert_parts("(고양이:1.5)🐈", &[("고양이", 1.5), ("🐈", 1.0)]);
    }

    #[test]
    fn hostile_prompts_are_read_in_linear_time() {
        const LENGTH: usize = 10_000_000;
        for unit in ["(", "[", ")", "([", "(a:1.2", ":", "(:1", "\\", "(a)", "((a:0)", "{a|", "(: "]
        {
            let parts = parse(&unit.repeat(LENGTH / unit.len()));
            assert!(parts.iter().all(|part| part.weight.is_finite()), "{unit}");
        }
        let spaces = " ".repeat(LENGTH);
        assert_eq!(parse(&format!("(:{spaces}")).len(), 1);
    }

    fn random_prompt(choices: &mut Choices, alphabet: &[char]) -> String {
        let length = choices.below(120);
        (0..length).map(|_| alphabet[choices.below(alphabet.len())]).collect()
    }

    #[test]
    fn any_prompt_is_read() {
        let alphabet: Vec<char> = r"()[]:\.1a {}|_é".chars().collect();
        let mut choices = Choices::new(1);
        for _ in 0..2000 {
            let prompt = random_prompt(&mut choices, &alphabet);
            let parts = parse(&prompt);
            assert!(parts.iter().all(|part| !part.text.is_empty()), "{prompt}");
            assert!(parts.windows(2).all(|pair| pair[0].weight != pair[1].weight), "{prompt}");
        }
    }

    #[test]
    fn escaped_text_is_itself() {
        let alphabet: Vec<char> = "()[]{}|_a".chars().collect();
        let mut choices = Choices::new(2);
        for _ in 0..500 {
            let text = format!("a{}", random_prompt(&mut choices, &alphabet));
            let escaped: String =
                text.chars().flat_map(|c| if c == 'a' { vec![c] } else { vec!['\\', c] }).collect();
            assert_eq!(parse(&escaped), [WeightedText { text, weight: 1.0 }]);
        }
    }
}
