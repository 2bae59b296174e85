//! What is written in a prompt beside words.
//!
//! ```text
//! prompt      = subprompt { "AND" subprompt }
//! subprompt   = section { "BREAK" section } [ ":" number ]    the number where there is an AND
//! section     = { item }
//! item        = "(" section ")"                   attention × 1.1
//!             | "(" section ":" number ")"        attention × number
//!             | "[" section "]"                   attention ÷ 1.1
//!             | "[" [ section ":" ] section ":" when "]"    the first until a step, then the second
//!             | "[" section { "|" section } "]"   one after the other, another at each step
//!             | "\" any                           the character itself
//!             | "<lora:" name { ":" argument } ">"
//!             | "{" section { "|" section } "}"   one of several, by the seed
//!             | "__" name "__"                    a line of the wildcard file `name`.txt, by the seed
//!             | text
//! when        = a number: with a point a share of the steps, else a step
//! ```
//!
//! It is read in this order, each part by one function:
//!
//! 1. [`expand`] replaces alternatives in braces and wildcards; the result expands to itself.
//! 2. [`Prompt::read`] takes LoRAs out and splits at `AND`.
//! 3. [`schedule`] tells the texts of a subprompt over the steps of a run.
//! 4. [`sections`] splits each text at `BREAK` and reads its weights.
//! 5. [`Tokenizer::encode_sections`](crate::Tokenizer::encode_sections) makes tokens, and finds
//!    the names of embeddings.
//!
//! 2 to 4 mean what they mean in AUTOMATIC1111's web UI (`modules/prompt_parser.py`,
//! `modules/extra_networks.py`). Brackets that are never closed reach to the end as weights,
//! brackets that were never opened are text, and so is a weight outside parentheses. Braces
//! without `|` are text. `docs/prompts.md` says more, and where this program differs.

mod attention;
mod composition;
mod expansion;
mod lora;
#[cfg(test)]
mod property_tests;
mod schedule;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use attention::{MAX_WEIGHT, Section, WeightedText, sections};
pub use composition::Subprompt;
pub use expansion::{ExpansionError, NoWildcards, WildcardFolder, Wildcards, expand};
pub use lora::LoraReference;
pub use schedule::{RunSteps, ScheduledText, schedule};

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

/// Why a prompt cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PromptError {
    /// A LoRA has no name.
    #[error("`{tag}` names no LoRA; write <lora:name:weight>")]
    LoraName {
        /// What is written.
        tag: String,
    },
    /// A LoRA's weight is not a number.
    #[error("`{tag}`: `{argument}` is no weight; write <lora:name:weight> with a number")]
    LoraWeight {
        /// What is written.
        tag: String,
        /// The part of it that is no number.
        argument: String,
    },
    /// The texts over the steps are too much together.
    #[error(
        "the prompt changes so often that its texts over {steps} steps are longer than {limit} \
         bytes together"
    )]
    TooLong {
        /// The steps of the run.
        steps: u32,
        /// The most bytes.
        limit: usize,
    },
}

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

/// A prompt without its LoRAs.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The words, and the syntax that belongs to them.
    pub text: String,
    /// The text split at `AND`; at least one.
    pub subprompts: Vec<Subprompt>,
    /// What `<lora:…>` names, in order.
    pub loras: Vec<LoraReference>,
}

impl Prompt {
    /// Takes LoRAs out and splits at `AND`, in time linear in the length.
    ///
    /// # Errors
    ///
    /// [`PromptError::LoraName`] and [`PromptError::LoraWeight`].
    pub fn read(text: &str) -> Result<Self, PromptError> {
        let (text, loras) = lora::extract(text)?;
        Ok(Self { subprompts: composition::split(&text), text, loras })
    }
}

/// Whether a character is a part of a word, as `\w` has it in Python.
fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where a word stands by itself in a text, in order.
fn occurrences<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(place, _)| place).filter(move |&place| {
        let before = text[..place].chars().next_back();
        let after = text[place + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Whether a character is white, as `\s` has it in Python.
fn is_white(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}
