//! Every word of the window, from Fluent files, in the language that is chosen.

use std::fmt;

use fluent_bundle::{FluentArgs, FluentBundle, FluentResource, FluentValue};
use serde::{Deserialize, Serialize};
use unic_langid::{LanguageIdentifier, langid};

use crate::failure::{Argument, Explanation};

const ENGLISH: [&str; 2] =
    [include_str!("../../locales/en.ftl"), include_str!("../../locales/en-failures.ftl")];
const KOREAN: [&str; 2] =
    [include_str!("../../locales/ko.ftl"), include_str!("../../locales/ko-failures.ftl")];

/// A language of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// English.
    English,
    /// Korean.
    Korean,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::English, Self::Korean];

    /// Its own name for itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Korean => "한국어",
        }
    }

    /// The language of the system where the window speaks it, else English.
    pub fn of_system() -> Self {
        match sys_locale::get_locale() {
            Some(locale) if locale.starts_with("ko") => Self::Korean,
            _ => Self::English,
        }
    }

    fn identifier(self) -> LanguageIdentifier {
        match self {
            Self::English => langid!("en"),
            Self::Korean => langid!("ko"),
        }
    }

    fn sources(self) -> [&'static str; 2] {
        match self {
            Self::English => ENGLISH,
            Self::Korean => KOREAN,
        }
    }
}

/// The words of one language. Where it lacks a message, English has it.
pub struct Words {
    language: Language,
    bundle: FluentBundle<FluentResource>,
    fallback: FluentBundle<FluentResource>,
}

impl fmt::Debug for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Words").field("language", &self.language).finish_non_exhaustive()
    }
}

impl Words {
    /// The words of a language.
    pub fn new(language: Language) -> Self {
        Self { language, bundle: bundle(language), fallback: bundle(Language::English) }
    }

    /// Their language.
    pub fn language(&self) -> Language {
        self.language
    }

    /// A message without arguments.
    pub fn get(&self, message: &str) -> String {
        self.format(message, None)
    }

    /// A message with arguments.
    pub fn with<'a, const N: usize>(
        &self,
        message: &str,
        arguments: [(&'a str, FluentValue<'a>); N],
    ) -> String {
        let arguments: FluentArgs<'_> = arguments.into_iter().collect();
        self.format(message, Some(&arguments))
    }

    /// What happened and what to do.
    pub fn explain(&self, Explanation { message, arguments }: &Explanation) -> String {
        let value = |argument: &Argument| match argument {
            Argument::Text(text) => FluentValue::from(text.clone()),
            Argument::Number(number) => FluentValue::from(*number),
            Argument::Bytes(number) => FluentValue::from(bytes(*number)),
            Argument::Message(reason) => FluentValue::from(self.explain(reason)),
        };
        let arguments = arguments.iter().map(|(name, argument)| (name.as_ref(), value(argument)));
        self.format(message, Some(&arguments.collect()))
    }

    fn format(&self, message: &str, arguments: Option<&FluentArgs<'_>>) -> String {
        for bundle in [&self.bundle, &self.fallback] {
            if let Some(pattern) = bundle.get_message(message).and_then(|found| found.value()) {
                return bundle.format_pattern(pattern, arguments, &mut Vec::new()).into_owned();
            }
        }
        message.to_owned()
    }
}

fn bundle(language: Language) -> FluentBundle<FluentResource> {
    let mut bundle = FluentBundle::new(vec![language.identifier()]);
    // Marks of direction around arguments would show as boxes; both languages run left to right.
    bundle.set_use_isolating(false);
    for source in language.sources() {
        // What cannot be parsed is left out, and a test finds that nothing is.
        let resource = match FluentResource::try_new(source.to_owned()) {
            Ok(resource) | Err((resource, _)) => resource,
        };
        bundle.add_resource_overriding(resource);
    }
    bundle
}

/// A number of bytes as people say it.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes >= 1e9 => format!("{:.1} GB", bytes / 1e9),
        bytes => format!("{:.0} MB", bytes / 1e6),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        path::{Path, PathBuf},
    };

    use super::*;

    /// Name and arguments of every message.
    fn messages(language: Language) -> BTreeMap<String, BTreeSet<String>> {
        let arguments = regex::Regex::new(r"\$(\w+)").unwrap();
        let mut messages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut current = String::new();
        let lines = language.sources().into_iter().flat_map(str::lines);
        for line in lines.filter(|line| !line.starts_with('#')) {
            if let Some((name, _)) = line.split_once(" =")
                && !line.starts_with(' ')
            {
                current = name.to_owned();
                messages.entry(current.clone()).or_default();
            }
            if let Some(used) = messages.get_mut(&current) {
                used.extend(arguments.captures_iter(line).map(|found| found[1].to_owned()));
            }
        }
        messages
    }

    #[test]
    fn files_have_no_errors() {
        for language in Language::ALL {
            for source in language.sources() {
                let parsed = FluentResource::try_new(source.to_owned());
                let errors = parsed.err().map(|(_, errors)| errors);
                assert!(errors.is_none(), "{language:?}: {errors:?}");
            }
        }
    }

    #[test]
    fn languages_have_the_same_messages_with_the_same_arguments() {
        let (english, korean) = (messages(Language::English), messages(Language::Korean));
        let names = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&english), names(&korean));
        for (name, arguments) in &english {
            assert_eq!(arguments, &korean[name], "{name}");
        }
    }

    /// Files of code, each with what is before its tests.
    fn code(folder: &str) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let code = std::fs::read_to_string(&path).unwrap();
                let code = code.split("\n#[cfg(test)]").next().unwrap().to_owned();
                found.push((path, code));
            }
        }
        assert!(!found.is_empty(), "{folder}");
        found
    }

    #[test]
    fn every_message_that_code_asks_for_exists_and_none_is_left_over() {
        let asked = regex::Regex::new(
            r#"(?:(?:words|w)\s*\.(?:get|with)|Explanation::new|Message::First)\(\s*"([a-z0-9-]+)""#,
        )
        .unwrap();
        let quoted = regex::Regex::new(r#""([a-z][a-z0-9]*(?:-[a-z0-9]+)*)""#).unwrap();
        let known = messages(Language::English);
        let mut mentioned = BTreeSet::new();
        for (path, code) in code("src") {
            for found in asked.captures_iter(&code) {
                let name = &found[1];
                assert!(known.contains_key(name), "{}: {name}", path.display());
            }
            mentioned.extend(quoted.captures_iter(&code).map(|found| found[1].to_owned()));
        }
        let unused: Vec<_> = known.keys().filter(|name| !mentioned.contains(*name)).collect();
        assert!(unused.is_empty(), "no code asks for {unused:?}");
    }

    /// What follows an opening parenthesis up to the one that closes it, and the rest.
    fn closed(text: &str) -> (&str, &str) {
        let mut depth = 1;
        for (at, letter) in text.char_indices() {
            match letter {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return (&text[..at], &text[at + 1..]);
            }
        }
        panic!("no parenthesis closes {text:.80}");
    }

    #[test]
    fn explanations_give_the_arguments_of_their_messages() {
        let known = messages(Language::English);
        let mut seen = 0;
        for (path, code) in code("src") {
            for (at, opened) in code.match_indices("Explanation::new(") {
                let (message, mut rest) = closed(&code[at + opened.len()..]);
                let Some(message) = message.trim().strip_prefix('"') else { continue };
                let message = message.trim_end_matches('"');
                let mut given = BTreeSet::new();
                while let Some(argument) = rest.trim_start().strip_prefix(".with(") {
                    let (argument, after) = closed(argument);
                    given.extend(argument.trim().split('"').nth(1).map(str::to_owned));
                    rest = after;
                }
                assert_eq!(known[message], given, "{}: {message}", path.display());
                seen += 1;
            }
        }
        assert!(seen > 100, "only {seen} explanations were found");
    }

    /// Widgets are given words of the language files; an error's own text is for its details.
    #[test]
    fn no_widget_shows_text_of_the_code_or_of_an_error() {
        let shown = regex::Regex::new(concat!(
            r#"(?:label|button|heading|small|section|title|hyperlink|on_hover_text|hint_text|"#,
            r#"on_disabled_hover_text|accessible_name|RichText::new|Button::new|Label::new|"#,
            r#"selected_text|right_text|colored_label|selectable_label|set_title)"#,
            r#"\(\s*(?:ui,\s*)?&?(?:format!\(\s*)?"([^"]*)""#
        ))
        .unwrap();
        let fields = regex::Regex::new(r"\{[^}]*\}").unwrap();
        let told = regex::Regex::new(r"\b(?:error|reason|source|e)\.to_string\(\)").unwrap();
        // What the files of the canvas say of each other's parts stays in their errors' details.
        let keeps_details = ["ember_file.rs", "manifest.rs", "journal.rs", "application.rs"];
        for (path, code) in [code("src/window"), code("src/canvas")].concat() {
            for found in shown.captures_iter(&code) {
                let text = fields.replace_all(&found[1], "");
                let is_words = text.chars().any(char::is_alphabetic) && text != "Emberbrush";
                assert!(!is_words, "{}: {}", path.display(), &found[0]);
            }
            let name = path.file_name().unwrap().to_str().unwrap();
            if !keeps_details.contains(&name) {
                let found = told.find(&code).map(|found| found.as_str());
                assert_eq!(found, None, "{}", path.display());
            }
        }
    }
}
