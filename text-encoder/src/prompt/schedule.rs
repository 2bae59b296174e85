//! `[from:to:when]` and `[a|b]`: prompts that change while a picture is made (A1111
//! `modules/prompt_parser.py`, `get_learned_conditioning_prompt_schedules`).

use super::{PromptError, is_white};

/// The most bytes that the texts over all steps may have together.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What a text costs beside its bytes.
const BYTES_PER_TEXT: usize = 64;

/// The steps that a prompt is spread over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSteps {
    /// Their number.
    pub steps: u32,
    /// For the second pass over a picture, the number of steps of the first: whole numbers go on
    /// counting after those, and shares from 1 to 2 are of the second pass.
    pub first_pass: Option<u32>,
}

impl RunSteps {
    /// A run by itself.
    pub fn new(steps: u32) -> Self {
        Self { steps, first_pass: None }
    }

    /// The step that a number in a prompt means: one with a point is a share of the steps, one
    /// without a step.
    fn step(self, number: &str) -> f64 {
        let value: f64 = number.parse().unwrap_or(0.0);
        let step = if number.contains('.') {
            let share = if self.first_pass.is_some() { value - 1.0 } else { value };
            share * f64::from(self.steps)
        } else {
            value - self.first_pass.map_or(0.0, f64::from)
        };
        step.min(f64::from(self.steps)).trunc()
    }
}

/// What a prompt says up to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledText {
    /// The last step for which it holds, from 1.
    pub until: u32,
    /// The text, in which weights are still written.
    pub text: String,
}

/// The texts of a subprompt over the steps of a run: at least one, and the last one ends with the
/// run.
///
/// As in A1111, brackets change the prompt only where all within them is well formed; a `|`
/// outside of alternatives, or a backslash at the end, leaves the whole prompt as it stands.
///
/// # Errors
///
/// [`PromptError::TooLong`].
pub fn schedule(text: &str, steps: RunSteps) -> Result<Vec<ScheduledText>, PromptError> {
    let last = steps.steps;
    let Some(groups) = Groups::find(text, steps) else {
        return Ok(vec![ScheduledText { until: last, text: text.to_owned() }]);
    };
    let too_long = PromptError::TooLong { steps: last, limit: MAX_BYTES };
    if groups.alternate() && last as usize > MAX_BYTES / BYTES_PER_TEXT {
        return Err(too_long);
    }
    let mut bytes = 0;
    let mut texts = Vec::new();
    for step in groups.changes(last) {
        let text = groups.text_at(step, text);
        bytes += text.len() + BYTES_PER_TEXT;
        if bytes > MAX_BYTES {
            return Err(too_long);
        }
        texts.push(ScheduledText { until: step, text });
    }
    Ok(texts)
}

/// A pair of square brackets that changes the prompt.
#[derive(Debug)]
struct Group {
    /// Its place, brackets included.
    begin: usize,
    end: usize,
    change: Change,
}

#[derive(Debug)]
enum Change {
    /// The first part up to and including a step, which may be below 1, then the second.
    At { step: f64, before: (usize, usize), after: (usize, usize) },
    /// The parts in turn.
    Alternate(Vec<(usize, usize)>),
}

/// The groups of a text, by their beginnings.
#[derive(Debug)]
struct Groups(Vec<Group>);

/// Brackets that are open.
#[derive(Debug)]
struct Open {
    square: bool,
    begin: usize,
    /// The colons and bars directly inside, with their places.
    separators: Vec<(usize, u8)>,
}

impl Open {
    fn has_bar(&self) -> bool {
        self.separators.iter().any(|(_, separator)| *separator == b'|')
    }

    /// The parts between separators, if the brackets close at `end`.
    fn parts(&self, end: usize) -> Vec<(usize, usize)> {
        let begins = std::iter::once(self.begin).chain(self.separators.iter().map(|(at, _)| *at));
        let ends = self.separators.iter().map(|(at, _)| *at).chain(std::iter::once(end));
        begins.map(|begin| begin + 1).zip(ends).collect()
    }
}

/// What brackets turned out to be.
enum Closed {
    Plain,
    Changes(Change),
    Malformed,
}

impl Groups {
    /// One pass over the text. `None` where it is no prompt in the grammar of A1111.
    fn find(text: &str, steps: RunSteps) -> Option<Self> {
        let mut groups = Vec::new();
        let mut open: Vec<Open> = Vec::new();
        // Brackets around something malformed are text, and a bar in them belongs to nothing.
        let give_up = |open: &mut Vec<Open>| {
            let fits = !open.iter().any(Open::has_bar);
            open.clear();
            fits.then_some(())
        };
        let mut bytes = text.bytes().enumerate();
        while let Some((place, byte)) = bytes.next() {
            match byte {
                b'\\' => {
                    bytes.next().filter(|(_, escaped)| *escaped != b'\n')?;
                }
                b'(' | b'[' => {
                    let separators = Vec::new();
                    open.push(Open { square: byte == b'[', begin: place, separators });
                }
                b':' => {
                    if let Some(around) = open.last_mut() {
                        around.separators.push((place, byte));
                    }
                }
                b'|' => open.last_mut()?.separators.push((place, byte)),
                b')' | b']' => match open.pop() {
                    Some(around) if around.square == (byte == b']') => {
                        match closed(text, &around, place, steps) {
                            Closed::Plain => {}
                            Closed::Changes(change) => {
                                let (begin, end) = (around.begin, place + 1);
                                groups.push(Group { begin, end, change });
                            }
                            Closed::Malformed => {
                                open.push(around);
                                give_up(&mut open)?;
                            }
                        }
                    }
                    Some(around) => {
                        open.push(around);
                        give_up(&mut open)?;
                    }
                    None => {}
                },
                _ => {}
            }
        }
        give_up(&mut open)?;
        groups.sort_unstable_by_key(|group| group.begin);
        Some(Self(groups))
    }

    /// Whether the text is another at each step.
    fn alternate(&self) -> bool {
        self.0.iter().any(|group| matches!(group.change, Change::Alternate(_)))
    }

    /// The last steps of all texts, from 1.
    fn changes(&self, last: u32) -> Vec<u32> {
        if self.alternate() {
            return (1..=last.max(1)).collect();
        }
        let changing = self.0.iter().filter_map(|group| match group.change {
            Change::At { step, .. } if step >= 1.0 => Some(step as u32),
            _ => None,
        });
        let mut steps: Vec<u32> = changing.chain(std::iter::once(last)).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    fn text_at(&self, step: u32, text: &str) -> String {
        let mut out = String::new();
        // What is left to do, the next last.
        let mut ranges = vec![(0, text.len())];
        while let Some((begin, end)) = ranges.pop() {
            let next = self.0.partition_point(|group| group.begin < begin);
            let Some(group) = self.0.get(next).filter(|group| group.begin < end) else {
                out.push_str(&text[begin..end]);
                continue;
            };
            out.push_str(&text[begin..group.begin]);
            ranges.push((group.end, end));
            ranges.push(match &group.change {
                Change::At { step: until, before, .. } if f64::from(step) <= *until => *before,
                Change::At { after, .. } => *after,
                Change::Alternate(parts) => parts[(step as usize - 1) % parts.len()],
            });
        }
        out
    }
}

/// What brackets that close at `end` are.
fn closed(text: &str, open: &Open, end: usize, steps: RunSteps) -> Closed {
    let colons = open.separators.len();
    if open.has_bar() {
        let bars_alone = open.separators.iter().all(|(_, separator)| *separator == b'|');
        return if open.square && bars_alone {
            Closed::Changes(Change::Alternate(open.parts(end)))
        } else {
            Closed::Malformed
        };
    }
    match (open.square, colons) {
        (_, 0) | (false, 1) => return Closed::Plain,
        (true, 1 | 2) => {}
        _ => return Closed::Malformed,
    }
    let parts = open.parts(end);
    let (before, after, (begin, end)) = match parts[..] {
        [after, when] => ((after.0, after.0), after, when),
        [before, after, when] => (before, after, when),
        _ => return Closed::Malformed,
    };
    match number(&text[begin..end]) {
        Some(number) => Closed::Changes(Change::At { step: steps.step(number), before, after }),
        None => Closed::Malformed,
    }
}

/// A number with white around it, as lark's `SIGNED_NUMBER` has it.
fn number(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(is_white);
    let length = text
        .bytes()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E'))
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(length);
    let is_number = rest.chars().all(is_white) && number.parse::<f64>().is_ok();
    is_number.then_some(number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_schedule(text: &str, steps: RunSteps, expected: &[(u32, &str)]) {
        let found = schedule(text, steps).unwrap();
        let found: Vec<_> = found.iter().map(|part| (part.until, part.text.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    /// The examples in the documentation of `get_learned_conditioning_prompt_schedules`.
    #[test]
    fn a1111s_examples_are_read_alike() {
        let ten = |text: &str, expected: &[(u32, &str)]| {
            assert_schedule(text, RunSteps::new(10), expected);
        };
        ten("test", &[(10, "test")]);
        ten("a [b:3]", &[(3, "a "), (10, "a b")]);
        ten("a [b: 3]", &[(3, "a "), (10, "a b")]);
        ten("a [[[b]]:2]", &[(2, "a "), (10, "a [[b]]")]);
        ten("[(a:2):3]", &[(3, ""), (10, "(a:2)")]);
        ten("a [b : c : 1] d", &[(1, "a b  d"), (10, "a  c  d")]);
        ten("a[b:[c:d:2]:1]e", &[(1, "abe"), (2, "ace"), (10, "ade")]);
        ten("a [unbalanced", &[(10, "a [unbalanced")]);
        ten("a [b:.5] c", &[(5, "a  c"), (10, "a b c")]);
        ten("((a][:b:c [d:3]", &[(3, "((a][:b:c "), (10, "((a][:b:c d")]);
        let turns = |one: &'static str, other: &'static str| -> Vec<(u32, &str)> {
            (1..=10).map(|step| (step, if step % 2 == 1 { one } else { other })).collect()
        };
        ten("[a|(b:1.1)]", &turns("a", "(b:1.1)"));
        ten("[fe|]male", &turns("female", "male"));
        let second = RunSteps { steps: 10, first_pass: Some(10) };
        assert_schedule("a [b:.5] c", second, &[(10, "a b c")]);
        assert_schedule("a [b:1.5] c", second, &[(5, "a  c"), (10, "a b c")]);
        assert_schedule("a [b:13] c", second, &[(3, "a  c"), (10, "a b c")]);
    }

    #[test]
    fn what_changes_too_often_is_refused() {
        let text = format!("[a|b]{}", "x".repeat(1_000_000));
        let error = schedule(&text, RunSteps::new(1000)).unwrap_err();
        assert!(error.to_string().contains("over 1000 steps"), "{error}");
        assert!(schedule("[a|b]", RunSteps::new(u32::MAX)).is_err());
        assert_eq!(schedule("[a|b]", RunSteps::new(0)).unwrap().len(), 1);
        assert_eq!(schedule("[a:b:2]", RunSteps::new(u32::MAX)).unwrap().len(), 2);
    }

    #[test]
    fn hostile_prompts_take_linear_time() {
        const LENGTH: usize = 2_000_000;
        for unit in
            ["[", "]", "[a:", "[a|", "[a:1]", "[a|b]", ":", "\\", "(", "([", "[:", "[a:b:", "|"]
        {
            let text = unit.repeat(LENGTH / unit.len());
            let _ = schedule(&text, RunSteps::new(3));
        }
        let depth = 300_000;
        let nested = format!("{}{}", "[a:".repeat(depth), ":2]".repeat(depth));
        assert_eq!(schedule(&nested, RunSteps::new(3)).unwrap().len(), 2);
        let nested = format!("{}{}", "[a|".repeat(depth), "]".repeat(depth));
        assert_eq!(schedule(&nested, RunSteps::new(3)).unwrap().len(), 3);
        let white = format!("[a:{}", " ".repeat(LENGTH));
        assert_eq!(schedule(&white, RunSteps::new(3)).unwrap().len(), 1);
    }
}
