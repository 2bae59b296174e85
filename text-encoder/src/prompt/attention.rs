//! Weights of words and `BREAK` (A1111 `modules/prompt_parser.py`, `parse_prompt_attention`).

use super::{is_white, occurrences};

/// The factor of one pair of brackets.
const BRACKET: f64 = 1.1;

/// Weights are kept within this on either side of zero: far beyond what leaves a picture, and
/// finite however many brackets there are.
pub const MAX_WEIGHT: f64 = 100.0;

/// The most brackets that may be open; further ones are text. Their weight would be far beyond
/// [`MAX_WEIGHT`].
const MAX_DEPTH: usize = 64;

const BREAK: &str = "BREAK";

/// A part of a prompt whose words have one weight.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedText {
    /// The words, without escapes.
    pub text: String,
    /// The attention, 1 for plain text.
    pub weight: f64,
}

/// What stands between two `BREAK`s: parts in order, of which neighbours differ in weight.
pub type Section = Vec<WeightedText>;

/// What the multiplier of a range is.
#[derive(Debug, Clone, Copy)]
enum Factor {
    Round,
    Square,
    Number(f64),
}

impl Factor {
    fn value(self) -> f64 {
        match self {
            Self::Round => BRACKET,
            Self::Square => 1.0 / BRACKET,
            Self::Number(number) => number,
        }
    }
}

/// What lies between two pieces of text.
#[derive(Debug, Clone, Copy)]
enum Boundary {
    /// A bracket opens; what it means is known at its end.
    Open(usize),
    Close(usize),
    Break,
}

/// Splits a text at `BREAK`s and reads the weights of each section, in time linear in its length.
/// There is at least one section; one without words has no parts.
///
/// A weight that begins before a `BREAK` goes on after it.
pub fn sections(text: &str) -> Vec<Section> {
    let mut builder = Builder::default();
    let bytes = text.as_bytes();
    let mut position = 0;
    while position < bytes.len() {
        match bytes[position] {
            b'\\' => {
                position += 1;
                // A lone backslash is dropped, as A1111 does.
                if bytes.get(position).is_some_and(|next| br"()[]{}|_\".contains(next)) {
                    builder.pieces.push_str(&text[position..=position]);
                    position += 1;
                }
            }
            b'(' if builder.has_room() => {
                let range = builder.open(Factor::Round);
                builder.round.push(range);
                position += 1;
            }
            b'[' if builder.has_room() => {
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
                    builder.close(range);
                }
                position += 1;
            }
            b':' if !builder.round.is_empty() => match closing_weight(&text[position..]) {
                Some((weight, length)) => {
                    builder.close_round(Factor::Number(weight));
                    position += length;
                }
                None => {
                    builder.pieces.push(':');
                    position += 1;
                }
            },
            _ => {
                let rest = &bytes[position + 1..];
                let length = rest
                    .iter()
                    .position(|byte| br"\()[]:".contains(byte))
                    .map_or(bytes.len() - position, |length| length + 1);
                builder.text(&text[position..position + length]);
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
    /// The ranges in the order in which they close.
    closed: Vec<usize>,
    /// Open ranges.
    round: Vec<usize>,
    square: Vec<usize>,
}

impl Builder {
    /// Text without brackets, split at each `BREAK`, which swallows the white around it.
    fn text(&mut self, text: &str) {
        let mut begin = 0;
        for place in occurrences(text, BREAK) {
            self.pieces.push_str(text[begin..place].trim_end_matches(is_white));
            self.boundary(Boundary::Break);
            let after = &text[place + BREAK.len()..];
            begin = text.len() - after.trim_start_matches(is_white).len();
        }
        self.pieces.push_str(&text[begin..]);
    }

    fn has_room(&self) -> bool {
        self.round.len() + self.square.len() < MAX_DEPTH
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

    fn close(&mut self, range: usize) {
        self.closed.push(range);
        self.boundary(Boundary::Close(range));
    }

    fn close_round(&mut self, factor: Factor) {
        if let Some(range) = self.round.pop() {
            self.factors[range] = factor;
            self.close(range);
        }
    }

    /// Sweeps over the boundaries with the ranges that are open.
    fn finish(mut self) -> Vec<Section> {
        self.closed.append(&mut self.round);
        self.closed.append(&mut self.square);
        let mut turn_of = vec![0; self.factors.len()];
        for (turn, &range) in self.closed.iter().enumerate() {
            turn_of[range] = turn;
        }
        let mut sections = vec![Section::new()];
        let mut open = OpenRanges::default();
        let mut begin = 0;
        for &(place, boundary) in &self.boundaries {
            push(&mut sections, &self.pieces[begin..place], &open);
            begin = place;
            match boundary {
                Boundary::Open(range) => open.enter(turn_of[range], self.factors[range]),
                Boundary::Close(range) => open.leave(turn_of[range]),
                Boundary::Break => sections.push(Section::new()),
            }
        }
        push(&mut sections, &self.pieces[begin..], &open);
        sections
    }
}

fn push(sections: &mut [Section], text: &str, open: &OpenRanges) {
    if text.is_empty() {
        return;
    }
    let Some(section) = sections.last_mut() else { return };
    let weight = open.weight();
    match section.last_mut() {
        Some(last) if last.weight == weight => last.text.push_str(text),
        _ => section.push(WeightedText { text: text.to_owned(), weight }),
    }
}

/// The ranges around a word, with the turns in which they close, by turn: factors are multiplied
/// from the inside out, which gives A1111's number to the last digit.
#[derive(Debug, Default)]
struct OpenRanges(Vec<(usize, f64)>);

impl OpenRanges {
    fn enter(&mut self, turn: usize, factor: Factor) {
        let place = self.0.partition_point(|(other, _)| *other < turn);
        self.0.insert(place, (turn, factor.value()));
    }

    fn leave(&mut self, turn: usize) {
        self.0.retain(|(other, _)| *other != turn);
    }

    fn weight(&self) -> f64 {
        let weight: f64 = self.0.iter().map(|(_, factor)| factor).product();
        weight.clamp(-MAX_WEIGHT, MAX_WEIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::expansion::Choices;

    /// The parts of a text without `BREAK`.
    fn parse(prompt: &str) -> Section {
        sections(prompt).concat()
    }

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
    fn breaks_split_and_weights_go_on() {
        let found = |prompt: &str| -> Vec<Vec<(String, f64)>> {
            let parts = |section: Section| section.into_iter().map(|part| (part.text, part.weight));
            sections(prompt).into_iter().map(|section| parts(section).collect()).collect()
        };
        let part = |text: &str, weight| (text.to_owned(), weight);
        assert_eq!(found("a BREAK b"), [[part("a", 1.0)], [part("b", 1.0)]]);
        assert_eq!(found("a\nBREAK\tb"), [[part("a", 1.0)], [part("b", 1.0)]]);
        assert_eq!(found("(a BREAK b:2)"), [[part("a", 2.0)], [part("b", 2.0)]]);
        assert_eq!(found("BREAK"), [vec![], vec![]]);
        assert_eq!(found("a BREAK BREAK"), [vec![part("a", 1.0)], vec![], vec![]]);
        assert_eq!(found("BREAKS a_BREAK break"), [[part("BREAKS a_BREAK break", 1.0)]]);
        assert_eq!(found(""), [vec![]]);
    }

    #[test]
    fn hostile_prompts_are_read_in_linear_time() {
        const LENGTH: usize = 3_000_000;
        for unit in [
            "(", "[", ")", "([", "(a:1.2", ":", "(:1", "\\", "(a)", "((a:0)", "{a|", "(: ",
            "BREAK ", "([", "(a]",
        ] {
            let parts = parse(&unit.repeat(LENGTH / unit.len()));
            assert!(parts.iter().all(|part| part.weight.is_finite()), "{unit}");
        }
        let deep = parse(&format!("{}a", "(".repeat(1000)));
        assert_eq!(
            deep,
            [WeightedText { text: format!("{}a", "(".repeat(936)), weight: MAX_WEIGHT }]
        );
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
