//! Names that a prompt can call, completed while they are typed.

use std::ops::Range;

/// The most names that are offered at once.
const MAX_CHOICES: usize = 8;

/// The names that a prompt can call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Wildcards, written `__name__`.
    pub wildcards: Vec<String>,
}

/// What may stand in the place of what is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The place of what is typed in the prompt, in characters.
    pub range: Range<usize>,
    /// What may stand there, best first.
    pub choices: Vec<String>,
}

/// What the prompt offers at the moment.
#[derive(Debug, Clone)]
pub(super) struct CompletionState {
    pub(super) names: Names,
    pub(super) offered: Option<Completion>,
    /// The place of the choice that Enter takes.
    pub(super) chosen: usize,
    /// The prompt for which the person wants no offer.
    pub(super) closed_for: Option<String>,
    /// Where the offer is on the screen.
    pub(super) area: egui::Rect,
}

impl Default for CompletionState {
    fn default() -> Self {
        let names = Names::default();
        Self { names, offered: None, chosen: 0, closed_for: None, area: egui::Rect::NOTHING }
    }
}

/// The names that go on as the prompt does before the cursor, which is counted in characters.
pub fn complete(prompt: &str, cursor: usize, names: &Names) -> Option<Completion> {
    let before: String = prompt.chars().take(cursor).collect();
    let typed = open_wildcard(&before)?;
    let found = matching(&names.wildcards, typed);
    if found.is_empty() {
        return None;
    }
    let begin = cursor - typed.chars().count() - WILDCARD.len();
    // What closes the name may be there already.
    let after: String = prompt.chars().skip(cursor).take(WILDCARD.len()).collect();
    let end = if after == WILDCARD { cursor + WILDCARD.len() } else { cursor };
    let choices = found.iter().map(|name| format!("{WILDCARD}{name}{WILDCARD}")).collect();
    Some(Completion { range: begin..end, choices })
}

/// What stands around the name of a wildcard.
const WILDCARD: &str = "__";

/// The name that is being typed after an opening `__`.
fn open_wildcard(before: &str) -> Option<&str> {
    let line = before.rsplit('\n').next()?;
    // Every second `__` closes what the one before it opened.
    if line.matches(WILDCARD).count() % 2 == 0 {
        return None;
    }
    let (_, typed) = line.rsplit_once(WILDCARD)?;
    typed.chars().all(|letter| letter.is_alphanumeric() || "-_/.".contains(letter)).then_some(typed)
}

/// Names that begin with what is typed, then those that hold it, in any case of letters.
fn matching<'a>(names: &'a [String], typed: &str) -> Vec<&'a str> {
    let typed = typed.to_lowercase();
    let place = |name: &str| name.to_lowercase().find(&typed);
    let mut found: Vec<(bool, &str)> = names
        .iter()
        .filter_map(|name| place(name).map(|place| (place > 0, name.as_str())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).take(MAX_CHOICES).collect()
}

/// The prompt with a choice in its place, and the cursor after it, in characters.
pub fn accept(prompt: &str, completion: &Completion, choice: &str) -> (String, usize) {
    let before = prompt.chars().take(completion.range.start);
    let after = prompt.chars().skip(completion.range.end);
    let text = before.chain(choice.chars()).chain(after).collect();
    (text, completion.range.start + choice.chars().count())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names() -> Names {
        let wildcards =
            ["colours", "animals/cats", "cold-places", "색"].map(str::to_owned).to_vec();
        Names { wildcards }
    }

    fn choices(prompt: &str) -> Vec<String> {
        complete(prompt, prompt.chars().count(), &names())
            .map(|completion| completion.choices)
            .unwrap_or_default()
    }

    #[test]
    fn wildcards_go_on_as_they_are_typed() {
        assert_eq!(choices("a __co"), ["__cold-places__", "__colours__"]);
        assert_eq!(choices("a __COLO"), ["__colours__"]);
        assert_eq!(choices("a __cat"), ["__animals/cats__"], "within a name too");
        assert_eq!(choices("a __").len(), 4, "all of them");
        assert_eq!(choices("__색"), ["__색__"]);
    }

    #[test]
    fn nothing_is_offered_elsewhere() {
        for prompt in
            ["a cat", "a __colours__", "a __colours__ c", "a __co and", "a_b", "__none", ""]
        {
            assert_eq!(choices(prompt), [""; 0], "{prompt}");
        }
        assert_eq!(choices("a __colours__ and __cold"), ["__cold-places__"]);
    }

    #[test]
    fn a_choice_takes_the_place_of_what_was_typed() {
        let prompt = "고양이 __col, 그림";
        let completion = complete(prompt, 9, &names()).unwrap();
        let (text, cursor) = accept(prompt, &completion, &completion.choices[1]);
        assert_eq!((text.as_str(), cursor), ("고양이 __colours__, 그림", 15));
        // Typed between marks that are there already.
        let completion = complete("a __colo__ b", 8, &names()).unwrap();
        assert_eq!(accept("a __colo__ b", &completion, "__colours__").0, "a __colours__ b");
    }
}
