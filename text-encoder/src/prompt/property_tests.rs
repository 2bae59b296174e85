//! What holds of every text, however hostile.

use proptest::prelude::*;

use super::{MAX_WEIGHT, NoWildcards, Prompt, RunSteps, expand, schedule, sections};

/// Texts in which syntax is as likely as words.
fn texts() -> impl Strategy<Value = String> {
    let unit = prop_oneof![
        "[\\[\\]():|\\\\{}_<>]",
        Just("[a:".to_owned()),
        Just(":2]".to_owned()),
        Just(":.5]".to_owned()),
        Just("|b]".to_owned()),
        Just(":1.2)".to_owned()),
        Just(" AND ".to_owned()),
        Just(" BREAK ".to_owned()),
        Just("<lora:x:".to_owned()),
        Just("{a|b}".to_owned()),
        "\\PC{0,3}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(unit, 0..40).prop_map(|units| units.concat())
}

proptest! {
    #[test]
    fn texts_are_read_over_all_steps(text in texts(), steps in 0_u32..40, first in 0_u32..40) {
        let steps = RunSteps { steps, first_pass: (first > 0).then_some(first) };
        let Ok(prompt) = Prompt::read(&text) else { return Ok(()) };
        prop_assert!(!prompt.subprompts.is_empty());
        for part in &prompt.subprompts {
            let texts = schedule(&part.text, steps).unwrap_or_default();
            prop_assert!(texts.windows(2).all(|pair| pair[0].until < pair[1].until));
            for text in texts {
                prop_assert!(text.text.len() <= part.text.len());
                for section in sections(&text.text) {
                    prop_assert!(section.windows(2).all(|pair| pair[0].weight != pair[1].weight));
                    prop_assert!(section.iter().all(|part| part.weight.abs() <= MAX_WEIGHT));
                }
            }
        }
    }

    #[test]
    fn what_was_expanded_expands_to_itself(text in texts(), seed: u64) {
        if let Ok(once) = expand(&text, seed, &NoWildcards) {
            prop_assert_eq!(expand(&once, !seed, &NoWildcards).ok(), Some(once));
        }
    }

    #[test]
    fn escaped_texts_are_themselves(text in "[a-z ()\\[\\]{}|_\\\\]{0,30}") {
        let escaped: String = text
            .chars()
            .flat_map(|c| [Some('\\').filter(|_| !c.is_ascii_lowercase() && c != ' '), Some(c)])
            .flatten()
            .collect();
        let read: String = sections(&escaped).concat().into_iter().map(|part| part.text).collect();
        prop_assert_eq!(read, text);
    }
}
