//! Changing the weight of a part of a prompt by keys: `(words:1.2)`.

use std::ops::Range;

/// How much one press changes a weight.
pub const STEP: f64 = 0.1;

/// The range of weights that keys reach.
const RANGE: std::ops::RangeInclusive<f64> = 0.0..=2.0;

/// Changes the weight of a part of a prompt by `change`: of what is selected, of the parentheses
/// that it lies in or is, or of the word at the cursor. `selection` counts characters. Gives the
/// new prompt and the part of it that is now selected.
pub fn change_weight(
    prompt: &str,
    selection: Range<usize>,
    change: f64,
) -> Option<(String, Range<usize>)> {
    let letters: Vec<char> = prompt.chars().collect();
    let mut selection = selection.start.min(letters.len())..selection.end.min(letters.len());
    if selection.is_empty() {
        selection = word_at(&letters, selection.start);
    }
    while selection.start < selection.end && letters[selection.start].is_whitespace() {
        selection.start += 1;
    }
    while selection.start < selection.end && letters[selection.end - 1].is_whitespace() {
        selection.end -= 1;
    }
    if selection.is_empty() {
        return None;
    }
    let weighted = weighted_around(&letters, &selection);
    let (outer, inner, weight) = match weighted {
        Some(found) => found,
        None => (selection.clone(), selection, 1.0),
    };
    let next = ((weight + change) * 100.0).round() / 100.0;
    let next = next.clamp(*RANGE.start(), *RANGE.end());
    let words: String = letters[inner].iter().collect();
    let before: String = letters[..outer.start].iter().collect();
    let after: String = letters[outer.end..].iter().collect();
    let (middle, offset) =
        if next == 1.0 { (words.clone(), 0) } else { (format!("({words}:{next})"), 1) };
    let start = outer.start + offset;
    Some((format!("{before}{middle}{after}"), start..start + words.chars().count()))
}

fn word_at(letters: &[char], place: usize) -> Range<usize> {
    let is_word = |letter: &char| !letter.is_whitespace() && !"(),:[]{}|".contains(*letter);
    let start = letters[..place].iter().rposition(|letter| !is_word(letter)).map_or(0, |at| at + 1);
    let end = letters[place..]
        .iter()
        .position(|letter| !is_word(letter))
        .map_or(letters.len(), |at| place + at);
    start..end
}

/// The `(words:1.2)` that the selection lies in: all of it, its words, its weight.
fn weighted_around(
    letters: &[char],
    selection: &Range<usize>,
) -> Option<(Range<usize>, Range<usize>, f64)> {
    let mut depth = 0;
    let mut open = selection.start + usize::from(letters.get(selection.start) == Some(&'('));
    let open = loop {
        open = open.checked_sub(1)?;
        let escaped = open > 0 && letters[open - 1] == '\\';
        match letters[open] {
            ')' if !escaped => depth += 1,
            '(' if !escaped && depth == 0 => break open,
            '(' if !escaped => depth -= 1,
            _ => {}
        }
    };
    let mut depth = 0;
    let close = (open + 1..letters.len()).find(|&place| {
        let escaped = letters[place - 1] == '\\';
        match letters[place] {
            '(' if !escaped => depth += 1,
            ')' if !escaped && depth == 0 => return true,
            ')' if !escaped => depth -= 1,
            _ => {}
        }
        false
    })?;
    let colon = (open + 1..close).rev().find(|&place| letters[place] == ':')?;
    let weight: String = letters[colon + 1..close].iter().collect();
    let weight: f64 = weight.trim().parse().ok()?;
    (selection.end <= close + 1).then_some((open..close + 1, open + 1..colon, weight))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn changed(prompt: &str, selected: &str, change: f64) -> String {
        let byte = prompt.find(selected).unwrap();
        let start = prompt[..byte].chars().count();
        let selection = start..start + selected.chars().count();
        change_weight(prompt, selection, change).unwrap().0
    }

    #[test]
    fn words_get_weights_and_lose_them() {
        assert_eq!(changed("a red cat", "red", STEP), "a (red:1.1) cat");
        assert_eq!(changed("a (red:1.1) cat", "red", STEP), "a (red:1.2) cat");
        assert_eq!(changed("a (red:1.1) cat", "(red:1.1)", -STEP), "a red cat");
        assert_eq!(changed("a red cat ", "red cat ", -STEP), "a (red cat:0.9) ");
        assert_eq!(changed("빨간 고양이", "고양이", STEP), "빨간 (고양이:1.1)");
        assert_eq!(changed("a (red:2) cat", "red", STEP), "a (red:2) cat");
    }

    #[test]
    fn the_word_at_the_cursor_is_taken() {
        assert_eq!(change_weight("a red cat", 3..3, STEP).unwrap().0, "a (red:1.1) cat");
        assert_eq!(change_weight("a red cat", 9..9, STEP).unwrap().0, "a red (cat:1.1)");
        assert_eq!(change_weight("a, ", 2..2, STEP), None);
        assert_eq!(change_weight("", 0..0, STEP), None);
    }

    #[test]
    fn the_words_stay_selected_so_that_keys_can_be_pressed_again() {
        let (mut prompt, mut selection) = ("a red cat".to_owned(), 2..5);
        for _ in 0..3 {
            (prompt, selection) = change_weight(&prompt, selection, STEP).unwrap();
        }
        assert_eq!(prompt, "a (red:1.3) cat");
        for _ in 0..3 {
            (prompt, selection) = change_weight(&prompt, selection, -STEP).unwrap();
        }
        assert_eq!((prompt.as_str(), selection), ("a red cat", 2..5));
    }
}
