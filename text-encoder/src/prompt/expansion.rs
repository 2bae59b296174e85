//! Alternatives and wildcards: one prompt out of many, by the seed.

use std::{
    collections::HashMap,
    fmt,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex},
};

use thiserror::Error;

/// The longest prompt that an expansion may give, in bytes.
const MAX_LENGTH: usize = 1024 * 1024;

/// How deep wildcards may name wildcards.
const MAX_DEPTH: usize = 32;

/// How deep folders of wildcards are looked into.
const MAX_FOLDERS: usize = 8;

/// How many wildcards one expansion may replace.
const MAX_REPLACEMENTS: usize = 10_000;

/// Why a prompt could not be expanded.
#[derive(Debug, Error)]
pub enum ExpansionError {
    /// A wildcard is used and no folder was given.
    #[error(
        "the prompt names the wildcard `__{name}__`, but no folder of wildcards is given; write \
         `\\_\\_` for underscores"
    )]
    NoFolder {
        /// The wildcard.
        name: String,
    },
    /// A wildcard's file could not be read.
    #[error("the wildcard `__{name}__`: {path}: {source}")]
    Io {
        /// The wildcard.
        name: String,
        /// Its file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A wildcard's name leads out of the folder.
    #[error("the wildcard `__{name}__` is not inside the folder of wildcards")]
    Outside {
        /// The wildcard.
        name: String,
    },
    /// A wildcard's file has no lines.
    #[error("the wildcard `__{name}__` has no lines")]
    Empty {
        /// The wildcard.
        name: String,
    },
    /// Wildcards contain one another without end, or very many are used.
    #[error("the wildcard `__{name}__` is inside too many others; does one contain itself?")]
    TooDeep {
        /// The wildcard.
        name: String,
    },
    /// The result is too long.
    #[error("with its wildcards the prompt is longer than {MAX_LENGTH} bytes")]
    TooLong,
}

/// Where the lines of wildcards come from.
pub trait Wildcards: fmt::Debug {
    /// The lines that `__name__` stands for, at least one.
    fn lines(&self, name: &str) -> Result<Arc<[String]>, ExpansionError>;
}

/// No wildcards: to use one is an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWildcards;

impl Wildcards for NoWildcards {
    fn lines(&self, name: &str) -> Result<Arc<[String]>, ExpansionError> {
        Err(ExpansionError::NoFolder { name: name.to_owned() })
    }
}

/// A folder in which `name.txt` holds the lines of `__name__`. Empty lines, and those that begin
/// with `#`, are passed over. Files are read once.
#[derive(Debug)]
pub struct WildcardFolder {
    folder: PathBuf,
    read: Mutex<HashMap<String, Arc<[String]>>>,
}

impl WildcardFolder {
    /// The wildcards in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), read: Mutex::default() }
    }

    /// The names of its wildcards, in order; those of folders below it with `/` between the parts. A
    /// folder that cannot be read has none.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        collect_names(&self.folder, "", MAX_FOLDERS, &mut names);
        names.sort();
        names
    }
}

fn collect_names(folder: &Path, above: &str, depth: usize, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let name = format!("{above}{stem}");
        if path.is_dir() && depth > 0 {
            collect_names(&path, &format!("{name}/"), depth - 1, names);
        } else if path.extension().is_some_and(|extension| extension == "txt") && path.is_file() {
            names.push(name);
        }
    }
}

impl Wildcards for WildcardFolder {
    fn lines(&self, name: &str) -> Result<Arc<[String]>, ExpansionError> {
        let mut read = self.read.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(lines) = read.get(name) {
            return Ok(Arc::clone(lines));
        }
        let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return Err(ExpansionError::Outside { name: name.to_owned() });
        }
        let path = self.folder.join(format!("{name}.txt"));
        let text = std::fs::read(&path).map_err(|source| ExpansionError::Io {
            name: name.to_owned(),
            path: path.display().to_string(),
            source,
        })?;
        let text = String::from_utf8_lossy(&text);
        let lines: Arc<[String]> = text
            .trim_start_matches('\u{FEFF}')
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        if lines.is_empty() {
            return Err(ExpansionError::Empty { name: name.to_owned() });
        }
        read.insert(name.to_owned(), Arc::clone(&lines));
        Ok(lines)
    }
}

/// Numbers from a seed: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
pub(super) struct Choices(u64);

impl Choices {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Whether no number was drawn since `seed`.
    fn are_untouched(&self, seed: u64) -> bool {
        self.0 == seed
    }

    /// A number below `count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * count as u128) >> 64) as usize
    }
}

/// Replaces alternatives and wildcards by what `seed` chooses: the same seed, prompt and wildcard
/// files give the same text on every machine. Takes time linear in the length of the prompt and
/// of what replaces its wildcards.
///
/// # Errors
///
/// Where a wildcard cannot be read, wildcards contain themselves, or the result is longer than a
/// mebibyte.
pub fn expand(
    prompt: &str,
    seed: u64,
    wildcards: &dyn Wildcards,
) -> Result<String, ExpansionError> {
    let mut choices = Choices::new(seed);
    let mut out = String::new();
    // Sources that are being expanded, the innermost last.
    let mut sources = vec![Source::new(Arc::from(prompt))];
    let mut replacements = 0;
    while let Some(source) = sources.last_mut() {
        let Some(name) = source.advance(&mut choices, &mut out) else {
            sources.pop();
            continue;
        };
        if out.len() > MAX_LENGTH {
            return Err(ExpansionError::TooLong);
        }
        replacements += 1;
        if sources.len() >= MAX_DEPTH || replacements > MAX_REPLACEMENTS {
            return Err(ExpansionError::TooDeep { name });
        }
        let lines = wildcards.lines(&name)?;
        let line = &lines[choices.below(lines.len())];
        sources.push(Source::new(Arc::from(line.as_str())));
    }
    if out.len() > MAX_LENGTH {
        return Err(ExpansionError::TooLong);
    }
    // What nothing was chosen in stays as it is written.
    Ok(if choices.are_untouched(seed) { prompt.to_owned() } else { without_chances(out) })
}

/// Escapes alternatives and wildcards that only came about where pieces were joined.
fn without_chances(text: String) -> String {
    let source = Source::new(Arc::from(text.as_str()));
    let mut chances: Vec<usize> = source.groups.into_values().flatten().collect();
    let mut place = 0;
    while let Some(rest) = text.get(place..).filter(|rest| !rest.is_empty()) {
        match rest.find(['\\', '_']) {
            None => break,
            Some(length) => place += length,
        }
        if text.as_bytes()[place] == b'\\' {
            // What is escaped may be longer than a byte.
            place += 1 + text[place + 1..].chars().next().map_or(0, char::len_utf8);
        } else {
            if wildcard_name(&text[place..]).is_some() {
                chances.push(place);
            }
            place += 1;
        }
    }
    chances.sort_unstable();
    let mut escaped = String::with_capacity(text.len() + chances.len());
    let mut begin = 0;
    for place in chances {
        escaped.push_str(&text[begin..place]);
        escaped.push('\\');
        begin = place;
    }
    escaped.push_str(&text[begin..]);
    escaped
}

/// A text with its braces matched.
struct Source {
    text: Arc<str>,
    /// For each `{` that has alternatives, by place: where the alternatives are.
    groups: HashMap<usize, Vec<usize>>,
    /// Braces that belong to nothing.
    stray: Vec<usize>,
    /// What is left to do, the next last.
    ranges: Vec<(usize, usize)>,
}

impl Source {
    fn new(text: Arc<str>) -> Self {
        let mut groups = HashMap::new();
        let mut stray = Vec::new();
        // The places of `{` and then of each `|` of an open group.
        let mut open: Vec<Vec<usize>> = Vec::new();
        let mut escaped = false;
        for (place, byte) in text.bytes().enumerate() {
            if std::mem::take(&mut escaped) {
                continue;
            }
            match byte {
                b'\\' => escaped = true,
                b'{' => open.push(vec![place]),
                b'|' => {
                    if let Some(group) = open.last_mut() {
                        group.push(place);
                    }
                }
                b'}' => match open.pop() {
                    Some(mut group) if group.len() > 1 => {
                        group.push(place);
                        groups.insert(group[0], group);
                    }
                    Some(_) => {}
                    None => stray.push(place),
                },
                _ => {}
            }
        }
        stray.extend(open.iter().map(|group| group[0]));
        stray.sort_unstable();
        let ranges = vec![(0, text.len())];
        Self { text, groups, stray, ranges }
    }

    /// Writes text until a wildcard comes, and gives its name; `None` at the end.
    fn advance(&mut self, choices: &mut Choices, out: &mut String) -> Option<String> {
        while let Some((begin, end)) = self.ranges.pop() {
            let bytes = self.text.as_bytes();
            let mut place = begin;
            let mut written = begin;
            while place < end {
                match bytes[place] {
                    b'\\' => place += 2,
                    b'{' if self.groups.contains_key(&place) => {
                        out.push_str(&self.text[written..place]);
                        let group = &self.groups[&place];
                        let choice = choices.below(group.len() - 1);
                        let after = group.last().map_or(end, |close| close + 1);
                        self.ranges.push((after, end));
                        self.ranges.push((group[choice] + 1, group[choice + 1]));
                        written = end;
                        break;
                    }
                    b'{' | b'}' if self.stray.binary_search(&place).is_ok() => {
                        // Escaped, so that it stays alone whatever comes beside it.
                        out.push_str(&self.text[written..place]);
                        out.push('\\');
                        written = place;
                        place += 1;
                    }
                    b'_' => match wildcard_name(&self.text[place..end]) {
                        Some(name) => {
                            let after = place + name.len() + 4;
                            let name = name.to_owned();
                            out.push_str(&self.text[written..place]);
                            self.ranges.push((after, end));
                            return Some(name);
                        }
                        None => place += 1,
                    },
                    _ => place += 1,
                }
            }
            out.push_str(&self.text[written..end]);
        }
        None
    }
}

/// The name of a wildcard at the beginning of a text.
fn wildcard_name(text: &str) -> Option<&str> {
    /// Longer names are no files, and looking for their ends would take long.
    const MAX_NAME: usize = 200;
    let rest = text.strip_prefix("__")?;
    let mut previous = b'/';
    for (place, byte) in rest.bytes().take(MAX_NAME).enumerate() {
        match byte {
            b'_' if previous == b'_' && place > 1 => return Some(&rest[..place - 1]),
            b'_' if place == 0 => return None,
            b'_' | b'-' | b'/' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => {}
            _ => return None,
        }
        previous = byte;
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[derive(Debug)]
    struct Lists(&'static [(&'static str, &'static [&'static str])]);

    impl Wildcards for Lists {
        fn lines(&self, name: &str) -> Result<Arc<[String]>, ExpansionError> {
            let list = self.0.iter().find(|(known, _)| *known == name);
            let (_, lines) = list.ok_or_else(|| ExpansionError::Empty { name: name.to_owned() })?;
            Ok(lines.iter().map(|line| (*line).to_owned()).collect())
        }
    }

    const LISTS: Lists = Lists(&[
        ("colour", &["red", "{light|dark} blue"]),
        ("thing", &["__colour__ house", "stray } brace"]),
        ("self", &["a __self__"]),
        ("a_b/c-d", &["deep"]),
        ("bar", &["a|b", "c_"]),
    ]);

    fn all(prompt: &str) -> BTreeSet<String> {
        (0..200).map(|seed| expand(prompt, seed, &LISTS).unwrap()).collect()
    }

    #[test]
    fn every_alternative_comes_up() {
        let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(all("a {red|blue|} x"), set(&["a red x", "a blue x", "a  x"]));
        assert_eq!(all("{a|{b|c}d}"), set(&["a", "bd", "cd"]));
        assert_eq!(all("__colour__!"), set(&["red!", "light blue!", "dark blue!"]));
        assert_eq!(
            all("{__thing__"),
            set(&[
                r"\{red house",
                r"\{light blue house",
                r"\{dark blue house",
                r"\{stray \} brace"
            ])
        );
        assert_eq!(all("__a_b/c-d__"), set(&["deep"]));
    }

    #[test]
    fn what_is_joined_by_chance_is_no_choice() {
        assert_eq!(expand("{_|_}_thing__", 0, &LISTS).unwrap(), r"\__thing__");
        assert_eq!(all("{__bar__}"), BTreeSet::from([r"\{a\|b\}".to_owned(), "{c_}".to_owned()]));
    }

    #[test]
    fn what_is_no_alternative_stays() {
        for text in [
            "{a cat}",
            "a|b",
            "{a|b",
            "a}",
            "[{a|b:3]",
            r"\{a|b\}",
            "a_b __ c ___",
            "(a:1.2) \\__colour\\__",
            "é{é}é",
        ] {
            assert_eq!(expand(text, 7, &LISTS).unwrap(), text);
        }
    }

    #[test]
    fn seeds_choose_the_same_everywhere() {
        // SplitMix64 of seed 0 begins with 0xE220A8397B1DCDAF: the last of three.
        assert_eq!(expand("{a|b|c}", 0, &NoWildcards).unwrap(), "c");
        for seed in 0..50 {
            let once = expand("{a|b|c} {d|e}", seed, &NoWildcards).unwrap();
            assert_eq!(expand("{a|b|c} {d|e}", seed, &NoWildcards).unwrap(), once);
        }
    }

    #[test]
    fn wildcards_that_cannot_be_are_errors() {
        let expand = |text: &str| expand(text, 0, &LISTS).unwrap_err();
        assert!(matches!(expand("__self__"), ExpansionError::TooDeep { .. }));
        assert!(matches!(expand("__none__"), ExpansionError::Empty { .. }));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thing.txt"), "\u{FEFF}# a comment\n\n  house \n")
            .unwrap();
        let wildcards = WildcardFolder::new(folder.path());
        assert_eq!(super::expand("a __thing__", 0, &wildcards).unwrap(), "a house");
        let outside = super::expand("__../thing__", 0, &wildcards).unwrap_err();
        assert!(matches!(outside, ExpansionError::Outside { .. }), "{outside}");
        let absent = super::expand("__absent__", 0, &wildcards).unwrap_err();
        assert!(absent.to_string().contains("absent.txt"), "{absent}");
        let none = super::expand("__thing__", 0, &NoWildcards).unwrap_err();
        assert!(none.to_string().contains("__thing__"), "{none}");
    }

    #[test]
    fn the_wildcards_of_a_folder_have_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("animals/wild")).unwrap();
        for file in ["thing.txt", "animals/cats.txt", "animals/wild/lions.txt", "readme.md"] {
            std::fs::write(folder.path().join(file), "a").unwrap();
        }
        let wildcards = WildcardFolder::new(folder.path());
        let names = wildcards.names();
        assert_eq!(names, ["animals/cats", "animals/wild/lions", "thing"]);
        for name in names {
            assert!(wildcards.lines(&name).is_ok(), "{name} can be used");
        }
        assert_eq!(WildcardFolder::new("/nowhere").names(), [""; 0]);
    }

    #[test]
    fn hostile_prompts_end() {
        const LENGTH: usize = 10_000_000;
        for unit in ["{", "}", "|", "{a|", "|b}", "{a|b}", "__", "_", "\\", "__a", "{__x|", "{a|{"]
        {
            let _ = expand(&unit.repeat(LENGTH / unit.len()), 1, &NoWildcards);
        }
    }

    #[test]
    fn what_was_expanded_expands_to_itself() {
        let units =
            ["{", "}", "|", "\\", "_", "a", " ", "__thing__", "{a|", "|b}", "{_|", "_}", "__bar__"];
        let mut choices = Choices::new(3);
        for seed in 0..2000 {
            let length = choices.below(30);
            let prompt: String = (0..length).map(|_| units[choices.below(units.len())]).collect();
            if let Ok(once) = expand(&prompt, seed, &LISTS) {
                assert_eq!(expand(&once, !seed, &LISTS).unwrap(), once, "{prompt}");
            }
        }
    }
}
