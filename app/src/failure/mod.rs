//! What goes wrong, as the window tells it: a message that the language files hold in every language, and beside it
//! the technical text in English, which can be copied.
//!
//! Each file explains the errors of its subject by matches that name every variant, so that a new one cannot be
//! forgotten.

mod canvas;
mod checkpoint;
mod files;
mod library;
mod pipeline;

use std::{any::Any, borrow::Cow, io, path::Path};

use serde::{Deserialize, Deserializer, Serialize};

/// What happened and what to do: the name of a message of the language files, with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub(crate) message: Cow<'static, str>,
    pub(crate) arguments: Vec<(Cow<'static, str>, Argument)>,
}

/// What a message names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Argument {
    /// A path, a name, a key.
    Text(String),
    /// A number.
    Number(u64),
    /// A number of bytes.
    Bytes(u64),
    /// Another message, such as the reason.
    Message(Explanation),
}

impl Explanation {
    /// A message of the language files.
    pub fn new(message: &'static str) -> Self {
        Self { message: message.into(), arguments: Vec::new() }
    }

    /// The message with one more of its arguments.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Argument>) -> Self {
        self.arguments.push((name.into(), value.into()));
        self
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Argument {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&Path> for Argument {
    fn from(path: &Path) -> Self {
        Self::Text(path.display().to_string())
    }
}

impl From<u64> for Argument {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Argument {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Argument {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<Explanation> for Argument {
    fn from(explanation: Explanation) -> Self {
        Self::Message(explanation)
    }
}

/// An error for which the language files have words.
pub trait Explain {
    /// What happened and what to do.
    fn explain(&self) -> Explanation;
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened and what to do.
    #[serde(alias = "message", deserialize_with = "explanation")]
    pub explanation: Explanation,
    /// All that is known, for a report.
    pub details: String,
}

impl Failure {
    /// A failure with all that is known of it.
    pub fn new(explanation: Explanation, details: impl Into<String>) -> Self {
        Self { explanation, details: details.into() }
    }

    /// What a panic left behind.
    pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "the panic has no message".to_owned());
        Self::new(Explanation::new("error-panic"), format!("panic: {text}"))
    }

    /// The system refuses another thread.
    pub(crate) fn of_thread(error: &io::Error) -> Self {
        Self::new(Explanation::new("error-thread"), format!("no thread: {error}"))
    }

    /// What changed cannot be written into the data folder.
    pub(crate) fn of_journal(path: &Path, error: &io::Error) -> Self {
        let explanation =
            Explanation::new("error-journal").with("path", path).with("cause", files::cause(error));
        Self::new(explanation, format!("{}: {error}", path.display()))
    }

    /// The system's bin refuses a file.
    pub(crate) fn of_bin(path: &Path, reason: String) -> Self {
        Self::new(Explanation::new("error-bin").with("path", path), reason)
    }
}

impl<E: Explain + std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let explanation = error.explain();
        Self { explanation, details: format!("{:?}", anyhow::Error::new(error)) }
    }
}

/// An explanation, or the text that stood for one in earlier versions, which is shown as it is.
fn explanation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Explanation, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Explanation(Explanation),
        Text(String),
    }
    Ok(match Stored::deserialize(deserializer)? {
        Stored::Explanation(explanation) => explanation,
        Stored::Text(text) => Explanation { message: text.into(), arguments: Vec::new() },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::window::words::{Language, Words};
    use emberbrush_pipeline::{
        error::PipelineError,
        output::OutputError,
        request::{ControlError, RequestError, Side},
    };

    fn disk_full() -> OutputError {
        let source = io::Error::from(io::ErrorKind::StorageFull);
        OutputError::Io { path: "out.png".to_owned(), source }
    }

    #[test]
    fn failures_are_kept_and_those_of_earlier_versions_stay_readable() {
        let failure = Failure::from(disk_full());
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), failure);
        let earlier = r#"{ "message": "The disk is full.", "details": "code 28" }"#;
        let earlier: Failure = serde_json::from_str(earlier).unwrap();
        let words = Words::new(Language::Korean);
        assert_eq!(words.explain(&earlier.explanation), "The disk is full.");
    }

    #[test]
    fn what_a_request_cannot_be_is_told_with_what_it_can_be() {
        let words = Words::new(Language::English);
        let model = || "sd15".to_owned();
        let control = |source| RequestError::ControlNet { number: 2, source };
        for (error, told) in [
            (RequestError::UnevenSide { side: Side::Width, pixels: 100 }, "Choose 96 or 104."),
            (RequestError::LongSide { side: Side::Height, pixels: 80_000 }, "80000 pixels"),
            (RequestError::SecondPrompt { model: model() }, "sd15 reads one prompt"),
            (RequestError::JoinedPrompts { model: model() }, "without AND"),
            (control(ControlError::NoImage), "ControlNet 2 has no picture"),
            (control(ControlError::NoImageOfExtended), "ControlNet 2 has no picture"),
            (control(ControlError::Steps { start: 1.0, end: 0.0 }), "ControlNet 2 cannot act"),
            (RequestError::NoSteps, "One of the settings"),
        ] {
            let Failure { explanation, details } = PipelineError::from(error).into();
            let message = words.explain(&explanation).replace(['\u{2068}', '\u{2069}'], "");
            assert!(message.contains(told), "{message}");
            assert!(!details.is_empty());
        }
    }

    #[test]
    fn reasons_are_told_inside_messages_in_both_languages() {
        let Failure { explanation, .. } = disk_full().into();
        let told = |language| Words::new(language).explain(&explanation);
        assert_eq!(
            told(Language::English),
            "out.png cannot be written. The disk is full: make room, or choose another place."
        );
        assert_eq!(
            told(Language::Korean),
            "out.png 파일을 쓸 수 없습니다. 디스크가 가득 찼습니다. 자리를 비우거나 다른 곳을 고르세요."
        );
    }
}
