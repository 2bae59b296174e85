//! The names of embeddings (textual inversion) in a text.

use std::{cmp::Reverse, collections::BTreeMap, ops::Range};

use regex::Regex;

use super::{TokenizerError, pattern};

/// Embeddings by their names, and the ids that stand for their vectors.
#[derive(Debug, Clone, Default)]
pub(super) struct Embeddings {
    /// By the name in lower case: the name as it was given, and the ids.
    by_name: BTreeMap<String, (String, Range<u32>)>,
    /// Of several names that begin at one place it finds the longest; `None` without embeddings.
    pattern: Option<Regex>,
    /// The number of vectors, by the first id.
    vectors: BTreeMap<u32, usize>,
}

impl Embeddings {
    /// Adds an embedding; `false` where the name is empty or known.
    pub(super) fn add(&mut self, name: &str, ids: Range<u32>) -> Result<bool, TokenizerError> {
        let key = name.to_lowercase();
        if name.trim().is_empty() || self.by_name.contains_key(&key) {
            return Ok(false);
        }
        self.vectors.insert(ids.start, ids.len());
        self.by_name.insert(key, (name.to_owned(), ids));
        let mut names: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
        names.sort_unstable_by_key(|name| (Reverse(name.len()), *name));
        let names: Vec<String> = names.into_iter().map(by_itself).collect();
        self.pattern = Some(pattern(&format!("(?i){}", names.join("|")))?);
        Ok(true)
    }

    /// The embeddings that a text names: place, name and ids.
    pub(super) fn find<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = (Range<usize>, &'a str, Range<u32>)> {
        let found = self.pattern.iter().flat_map(|pattern| pattern.find_iter(text));
        found.filter_map(|found| {
            let (name, ids) = self.by_name.get(&found.as_str().to_lowercase())?;
            Some((found.range(), name.as_str(), ids.clone()))
        })
    }

    /// How many ids belong together from `id` on.
    pub(super) fn vectors(&self, id: u32) -> usize {
        self.vectors.get(&id).copied().unwrap_or(1)
    }
}

/// The pattern of a name that is no part of a longer word.
fn by_itself(name: &str) -> String {
    let edge = |character: Option<char>| {
        let is_word = character.is_some_and(|character| character.is_alphanumeric());
        if is_word { r"\b" } else { "" }
    };
    let mut characters = name.chars();
    let (first, last) = (characters.next(), characters.next_back());
    format!("{}{}{}", edge(first), regex::escape(name), edge(last.or(first)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_they_stand_by_themselves() {
        let mut embeddings = Embeddings::default();
        assert!(embeddings.add("bad", 10..11).unwrap());
        assert!(embeddings.add("Bad-Hands", 11..14).unwrap());
        assert!(embeddings.add("<toy>", 14..16).unwrap());
        assert!(embeddings.add("x", 16..17).unwrap());
        assert!(!embeddings.add("BAD", 17..18).unwrap());
        assert!(!embeddings.add("", 17..18).unwrap());
        let found = |text| -> Vec<_> { embeddings.find(text).map(|(_, name, _)| name).collect() };
        assert_eq!(
            found("bad, BAD-HANDS, a<toy>b badly abad x"),
            ["bad", "Bad-Hands", "<toy>", "x"]
        );
        assert_eq!(embeddings.vectors(11), 3);
        assert_eq!(embeddings.vectors(12), 1);
    }
}
