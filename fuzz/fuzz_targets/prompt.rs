//! Every reading of a prompt, of any text, and what must hold of it. See `docs/prompts.md`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use text_encoder::prompt::{
    MAX_WEIGHT, NoWildcards, Prompt, RunSteps, Section, expand, schedule, sections,
};

// The parser alone, without the networks that its crate builds on.
#[path = "../../text-encoder/src"]
#[allow(dead_code)]
mod text_encoder {
    pub mod prompt;
}

fuzz_target!(|data: (&str, u8, u8)| {
    let (text, steps, first_pass) = data;
    let expanded = expand(text, u64::from(first_pass), &NoWildcards);
    if let Ok(once) = &expanded {
        assert_eq!(expand(once, 1, &NoWildcards).ok().as_ref(), Some(once));
    }
    let text = expanded.as_deref().unwrap_or(text);
    let Ok(prompt) = Prompt::read(text) else { return };
    assert!(!prompt.subprompts.is_empty());
    let first_pass = (first_pass > 0).then_some(u32::from(first_pass));
    let steps = RunSteps { steps: u32::from(steps), first_pass };
    for part in &prompt.subprompts {
        assert!(part.weight.abs() <= MAX_WEIGHT);
        let Ok(texts) = schedule(&part.text, steps) else { continue };
        assert!(texts.windows(2).all(|pair| pair[0].until < pair[1].until));
        assert_eq!(texts.last().map(|last| last.until.max(1)), Some(steps.steps.max(1)));
        for text in texts {
            assert!(text.text.len() <= part.text.len());
            let read = sections(&text.text);
            assert!(!read.is_empty());
            assert!(read.iter().all(is_merged));
        }
    }
});

/// Whether neighbours differ, and every weight is a number within bounds.
fn is_merged(section: &Section) -> bool {
    section.windows(2).all(|pair| pair[0].weight != pair[1].weight)
        && section.iter().all(|part| !part.text.is_empty() && part.weight.abs() <= MAX_WEIGHT)
}
