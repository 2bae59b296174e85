//! Names that a prompt can call, completed while they are typed.

use std::ops::Range;

/// The most names that are offered at once.
const MAX_CHOICES: usize = 8;

/// The names that a prompt can call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Wildcards, written `__name__`.
    pub wildcards: Vec<String>,
    /// LoRAs, written `<lora:name:1>`.
    pub loras: Vec<String>,
    /// Embeddings, written as they are called.
    pub embeddings: Vec<String>,
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
    /// For which place of the prompt names were last looked up, and when.
    pub(super) looked_up: Option<(usize, f64)>,
    /// The prompt for which the person wants no offer.
    pub(super) closed_for: Option<String>,
    /// Where the offer is on the screen.
    pub(super) area: egui::Rect,
}

impl Default for CompletionState {
    fn default() -> Self {
        let names = Names::default();
        Self {
            names,
            offered: None,
            chosen: 0,
            looked_up: None,
            closed_for: None,
            area: egui::Rect::NOTHING,
        }
    }
}

/// The names that go on as the prompt does before the cursor, which is counted in characters.
pub fn complete(prompt: &str, cursor: usize, names: &Names) -> Option<Completion> {
    let before: String = prompt.chars().take(cursor).collect();
    let open = OpenName::read(&before)?;
    let found = open.matching(names);
    if found.is_empty() {
        return None;
    }
    // What closes the name may be there already.
    let after: String = prompt.chars().skip(cursor).collect();
    let end = cursor + open.kind.already_closed(&after);
    let choices = found.iter().map(|name| open.kind.written(name)).collect();
    Some(Completion { range: cursor - open.length()..end, choices })
}

/// Where a name begins that is being typed and could be completed, were there one that fits.
pub fn begin_of_name(prompt: &str, cursor: usize) -> Option<usize> {
    let before: String = prompt.chars().take(cursor).collect();
    Some(cursor - OpenName::read(&before)?.length())
}

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wildcard,
    Lora,
    Embedding,
}

impl Kind {
    /// What stands before the name.
    fn opening(self) -> &'static str {
        match self {
            Self::Wildcard => WILDCARD,
            Self::Lora => LORA,
            Self::Embedding => "",
        }
    }

    /// A name as prompts call it.
    fn written(self, name: &str) -> String {
        match self {
            Self::Wildcard => format!("{WILDCARD}{name}{WILDCARD}"),
            Self::Lora => format!("{LORA}{name}:1>"),
            Self::Embedding => name.to_owned(),
        }
    }

    /// How many characters after the cursor belong to the name already.
    fn already_closed(self, after: &str) -> usize {
        match self {
            Self::Wildcard if after.starts_with(WILDCARD) => WILDCARD.len(),
            Self::Lora if after.starts_with('>') => 1,
            _ => 0,
        }
    }
}

/// What stands around the name of a wildcard.
const WILDCARD: &str = "__";

/// What stands before the name of a LoRA.
const LORA: &str = "<lora:";

/// Of words, this many letters are typed before an embedding is offered for them.
const MIN_LETTERS: usize = 2;

/// A name that is being typed.
#[derive(Debug, Clone, Copy)]
struct OpenName<'a> {
    kind: Kind,
    typed: &'a str,
}

impl<'a> OpenName<'a> {
    /// The name at the end of a text.
    fn read(before: &'a str) -> Option<Self> {
        let line = before.rsplit('\n').next()?;
        if let Some(typed) = open_lora(line) {
            return Some(Self { kind: Kind::Lora, typed });
        }
        if let Some(typed) = open_wildcard(line) {
            return Some(Self { kind: Kind::Wildcard, typed });
        }
        let is_of_word = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
        let typed = line.rsplit(|letter| !is_of_word(letter)).next()?;
        let is_long = typed.chars().count() >= MIN_LETTERS;
        is_long.then_some(Self { kind: Kind::Embedding, typed })
    }

    /// Its length in characters, with what opens it.
    fn length(&self) -> usize {
        self.typed.chars().count() + self.kind.opening().len()
    }

    fn matching<'n>(&self, names: &'n Names) -> Vec<&'n str> {
        match self.kind {
            Kind::Wildcard => matching(&names.wildcards, self.typed, |_| true),
            Kind::Lora => matching(&names.loras, self.typed, |_| true),
            // Words are typed all the time: only their beginnings count, and none that is whole.
            Kind::Embedding => matching(&names.embeddings, self.typed, |(place, name)| {
                place == 0 && name.len() > self.typed.len()
            }),
        }
    }
}

/// The name that is being typed after `<lora:`.
fn open_lora(line: &str) -> Option<&str> {
    let (_, typed) = line.rsplit_once(LORA)?;
    (!typed.contains([':', '>', '<', ','])).then_some(typed)
}

/// The name that is being typed after an opening `__`.
fn open_wildcard(line: &str) -> Option<&str> {
    // Every second `__` closes what the one before it opened.
    if line.matches(WILDCARD).count().is_multiple_of(2) {
        return None;
    }
    let (_, typed) = line.rsplit_once(WILDCARD)?;
    typed.chars().all(|letter| letter.is_alphanumeric() || "-_/.".contains(letter)).then_some(typed)
}

/// Names that begin with what is typed, then those that hold it, in any case of letters; of these,
/// those for which `is_wanted` is true of the place of what is typed and the name.
fn matching<'a>(
    names: &'a [String],
    typed: &str,
    is_wanted: impl Fn((usize, &str)) -> bool,
) -> Vec<&'a str> {
    let typed = typed.to_lowercase();
    let place = |name: &str| name.to_lowercase().find(&typed);
    let mut found: Vec<(bool, &str)> = names
        .iter()
        .filter_map(|name| place(name).map(|place| (place, name.as_str())))
        .filter(|&found| is_wanted(found))
        .map(|(place, name)| (place > 0, name))
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
        let loras = ["ink v1.2", "oil", "inkblot"].map(str::to_owned).to_vec();
        let embeddings = ["toy-cat", "Toys"].map(str::to_owned).to_vec();
        Names { wildcards, loras, embeddings }
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
    fn loras_go_on_after_their_opening() {
        assert_eq!(choices("a cat <lora:ink"), ["<lora:ink v1.2:1>", "<lora:inkblot:1>"]);
        assert_eq!(choices("<lora:").len(), 3);
        assert_eq!(choices("<lora:oil:1> <lora:BLOT"), ["<lora:inkblot:1>"]);
        for prompt in ["<lora:ink:0.5", "<lora:ink>", "<lor", "lora:ink", "<lora:ink:1> ink"] {
            assert_eq!(choices(prompt), [""; 0], "{prompt}");
        }
        let completion = complete("a <lora:oi>, b", 10, &names()).unwrap();
        assert_eq!(
            accept("a <lora:oi>, b", &completion, &completion.choices[0]).0,
            "a <lora:oil:1>, b"
        );
    }

    #[test]
    fn embeddings_go_on_from_their_beginnings() {
        assert_eq!(choices("a (to"), ["Toys", "toy-cat"]);
        assert_eq!(choices("TOY-"), ["toy-cat"]);
        for prompt in ["a t", "cat", "toys", "a toy-cat", "toy cat"] {
            assert_eq!(choices(prompt), [""; 0], "{prompt}");
        }
        let completion = complete("고양이 toy", 7, &names()).unwrap();
        assert_eq!(accept("고양이 toy", &completion, "toy-cat"), ("고양이 toy-cat".to_owned(), 11));
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
