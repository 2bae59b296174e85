//! File names from a pattern, safe on every file system.

use std::{collections::HashMap, str::FromStr};

use thiserror::Error;

use crate::request::GenerationRequest;

/// The longest name without extension and number, in bytes: with them it stays below the 143
/// bytes that the strictest file system in use (eCryptfs) allows.
const MAX_NAME: usize = 110;

/// The longest `{prompt}` in a name, in bytes, so that what follows it finds room.
const MAX_PROMPT: usize = 60;

/// Names that Windows keeps for devices.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    /// A name in braces is unknown.
    #[error(
        "the file name pattern holds `{{{0}}}`; known are {{index}}, {{seed}}, {{prompt}}, \
         {{model}}, {{sampler}}, {{steps}}, {{cfg}}, {{width}}, {{height}}, {{date}}"
    )]
    Unknown(String),
    /// A brace is not closed.
    #[error("the file name pattern holds a brace that is never closed")]
    Open,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Index,
    Seed,
    Prompt,
    Model,
    Sampler,
    Steps,
    Cfg,
    Width,
    Height,
    Date,
}

/// Text with fields in braces, such as `{index}-{seed}-{prompt}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNamePattern(Vec<Part>);

impl FromStr for FileNamePattern {
    type Err = PatternError;

    fn from_str(pattern: &str) -> Result<Self, PatternError> {
        let mut parts = Vec::new();
        let mut rest = pattern;
        while let Some((text, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(PatternError::Open)?;
            parts.push(Part::Text(text.to_owned()));
            parts.push(Part::Field(match name {
                "index" => Field::Index,
                "seed" => Field::Seed,
                "prompt" => Field::Prompt,
                "model" => Field::Model,
                "sampler" => Field::Sampler,
                "steps" => Field::Steps,
                "cfg" => Field::Cfg,
                "width" => Field::Width,
                "height" => Field::Height,
                "date" => Field::Date,
                _ => return Err(PatternError::Unknown(name.to_owned())),
            }));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }
}

/// What names are made from beside the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) model: &'a str,
    pub(super) date: &'a str,
    /// Number of images, which decides the digits of `{index}`.
    pub(super) count: usize,
}

impl FileNamePattern {
    /// The name of image `index`, from 0, without its extension.
    pub(super) fn name(
        &self,
        request: &GenerationRequest,
        index: usize,
        around: Surroundings<'_>,
    ) -> String {
        let digits = around.count.to_string().len();
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Field(Field::Index) => name.push_str(&format!("{:0digits$}", index + 1)),
                Part::Field(Field::Seed) => name.push_str(&request.seed.to_string()),
                Part::Field(Field::Prompt) => {
                    name.push_str(cut(safe(&request.prompt).trim(), MAX_PROMPT));
                }
                Part::Field(Field::Model) => name.push_str(around.model),
                Part::Field(Field::Sampler) => name.push_str(request.sampler.name()),
                Part::Field(Field::Steps) => name.push_str(&request.steps.to_string()),
                Part::Field(Field::Cfg) => name.push_str(&request.guidance_scale.to_string()),
                Part::Field(Field::Width) => name.push_str(&request.width.to_string()),
                Part::Field(Field::Height) => name.push_str(&request.height.to_string()),
                Part::Field(Field::Date) => name.push_str(around.date),
            }
        }
        whole(&name)
    }
}

/// Replaces what some file system forbids, and runs of space by one.
fn safe(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        let replaced = match character {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '-',
            c if c.is_control() || c.is_whitespace() => ' ',
            // Marks without a shape, which make names that look alike, and no characters.
            '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFF}' => ' ',
            c => c,
        };
        if replaced != ' ' || !safe.ends_with(' ') {
            safe.push(replaced);
        }
    }
    safe
}

/// The beginning of a text, at most `length` bytes.
fn cut(text: &str, length: usize) -> &str {
    let mut end = length.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn whole(name: &str) -> String {
    let name = safe(name);
    // Names that begin with a dot are hidden, one with a dash reads as an option, and Windows
    // drops dots and spaces from the end.
    let name = name.trim_start_matches(['.', ' ', '-']);
    let name = cut(name, MAX_NAME).trim_end_matches(['.', ' ']);
    let before_dot = name.split('.').next().unwrap_or_default().trim().to_lowercase();
    let numbered = ["com", "lpt"].iter().any(|device| {
        before_dot.strip_prefix(device).is_some_and(|rest| rest.chars().count() == 1)
    });
    if name.is_empty() {
        "picture".to_owned()
    } else if numbered || DEVICES.contains(&before_dot.as_str()) {
        format!("_{name}")
    } else {
        name.to_owned()
    }
}

/// Makes names different, also where letters are not told apart by case, by numbers at their
/// ends. Depends on the order of the names alone.
pub(super) fn distinct(names: Vec<String>, extension: &str) -> Vec<String> {
    let mut used: HashMap<String, usize> = HashMap::new();
    let mut distinct = Vec::with_capacity(names.len());
    for name in names {
        let mut number = used.get(&name.to_lowercase()).copied().unwrap_or(0);
        let chosen = loop {
            number += 1;
            let chosen = if number == 1 { name.clone() } else { format!("{name}-{number}") };
            if number == 1 || !used.contains_key(&chosen.to_lowercase()) {
                break chosen;
            }
        };
        used.insert(name.to_lowercase(), number);
        used.entry(chosen.to_lowercase()).or_insert(1);
        distinct.push(format!("{chosen}.{extension}"));
    }
    distinct
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_become_safe() {
        for (text, name) in [
            ("a/b\\c:d*e?f\"g<h>i|j", "a-b-c-d-e-f-g-h-i-j"),
            ("a\0b\nc\td", "a b c d"),
            ("../../etc/passwd", "etc-passwd"),
            ("-rf .", "rf"),
            ("", "picture"),
            ("...", "picture"),
            ("nul", "_nul"),
            ("COM1.x", "_COM1.x"),
            ("complete", "complete"),
            ("🐈‍⬛ 고양이", "🐈 ⬛ 고양이"),
        ] {
            assert_eq!(whole(text), name, "{text:?}");
        }
        let long = whole(&"é".repeat(300));
        assert!(long.len() <= MAX_NAME && long.chars().all(|c| c == 'é'));
    }

    #[test]
    fn names_differ_without_regard_to_case() {
        let names = ["a", "A", "a-2", "a", "b"].map(str::to_owned).to_vec();
        let names = distinct(names, "png");
        assert_eq!(names[0], "a.png");
        assert_eq!(names[4], "b.png");
        let mut lower: Vec<_> = names.iter().map(|name| name.to_lowercase()).collect();
        lower.sort();
        lower.dedup();
        assert_eq!(lower.len(), 5, "{names:?}");
    }

    #[test]
    fn many_equal_names_are_quick() {
        assert_eq!(distinct(vec!["a".to_owned(); 100_000], "png").len(), 100_000);
    }

    proptest! {
        #[test]
        fn every_text_becomes_a_name_that_every_file_system_takes(text in "(?s).{0,300}") {
            let name = whole(&text);
            prop_assert!(!name.is_empty() && name.len() <= MAX_NAME + 1, "{name:?}");
            let forbidden = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c);
            prop_assert!(!name.contains(forbidden), "{name:?}");
            prop_assert!(!name.starts_with(['.', ' ', '-']), "{name:?}");
            prop_assert!(!name.ends_with(['.', ' ']), "{name:?}");
            prop_assert_eq!(whole(&name), name);
        }

        #[test]
        fn names_of_a_job_set_all_differ(names in prop::collection::vec("[aA]{1,2}(-[1-3])?", 0..40)) {
            let count = names.len();
            let distinct = distinct(names, "png");
            let lower: HashSet<String> = distinct.iter().map(|name| name.to_lowercase()).collect();
            prop_assert_eq!(lower.len(), count, "{:?}", distinct);
        }

        #[test]
        fn patterns_are_read_or_refused(pattern in r"(\{(seed|index|x)\}|[{}a-z]){0,8}") {
            let known = |field: &str| format!("{{{field}}}").parse::<FileNamePattern>().is_ok();
            let rest = pattern.split('{').skip(1);
            let mut closed = rest.map(|after| after.split_once('}').map(|(field, _)| field));
            let valid = closed.all(|field| field.is_some_and(known));
            prop_assert_eq!(pattern.parse::<FileNamePattern>().is_ok(), valid);
        }
    }

    #[test]
    fn unknown_fields_are_told() {
        assert_eq!("{sed}".parse::<FileNamePattern>(), Err(PatternError::Unknown("sed".into())));
        assert_eq!("{seed".parse::<FileNamePattern>(), Err(PatternError::Open));
    }
}
