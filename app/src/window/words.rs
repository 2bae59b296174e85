//! Every word of the window, from Fluent files, in the language that is chosen.

use std::fmt;

use fluent_bundle::{FluentArgs, FluentBundle, FluentResource, FluentValue};
use serde::{Deserialize, Serialize};
use unic_langid::{LanguageIdentifier, langid};

const ENGLISH: &str = include_str!("../../locales/en.ftl");
const KOREAN: &str = include_str!("../../locales/ko.ftl");

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

    fn source(self) -> &'static str {
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
    // What cannot be parsed is left out, and a test finds that nothing is.
    let resource = match FluentResource::try_new(language.source().to_owned()) {
        Ok(resource) | Err((resource, _)) => resource,
    };
    bundle.add_resource_overriding(resource);
    bundle
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        path::Path,
    };

    use super::*;

    /// Name and arguments of every message.
    fn messages(language: Language) -> BTreeMap<String, BTreeSet<String>> {
        let arguments = regex::Regex::new(r"\$(\w+)").unwrap();
        let mut messages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut current = String::new();
        for line in language.source().lines().filter(|line| !line.starts_with('#')) {
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
            let parsed = FluentResource::try_new(language.source().to_owned());
            assert!(parsed.is_ok(), "{language:?}: {:?}", parsed.err().map(|(_, errors)| errors));
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

    #[test]
    fn every_message_that_code_asks_for_exists_and_none_is_left_over() {
        let asked =
            regex::Regex::new(r#"(?:words|w)\s*\.(?:get|with)\(\s*"([a-z0-9-]+)""#).unwrap();
        let quoted = regex::Regex::new(r#""([a-z][a-z0-9]*(?:-[a-z0-9]+)*)""#).unwrap();
        let known = messages(Language::English);
        let mut mentioned = BTreeSet::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let code = std::fs::read_to_string(&path).unwrap();
                for found in asked.captures_iter(&code) {
                    let name = &found[1];
                    assert!(known.contains_key(name), "{}: {name}", path.display());
                }
                mentioned.extend(quoted.captures_iter(&code).map(|found| found[1].to_owned()));
            }
        }
        let unused: Vec<_> = known.keys().filter(|name| !mentioned.contains(*name)).collect();
        assert!(unused.is_empty(), "no code asks for {unused:?}");
    }
}
