//! How a prompt is read, in words: weights, changes over the steps, LoRAs and embeddings.

use emberbrush_pipeline::prompt::{LoraReference, PromptReading};

use super::words::Words;

/// The most lines of one kind; prompts that alternate have one for each step.
const MOST_LINES: usize = 12;

/// The longest piece of a prompt that is shown, in characters.
const MOST_CHARACTERS: usize = 60;

/// What is to be said of a prompt beside its tokens, a line each: nothing of plain words.
pub(super) fn lines(words: &Words, reading: &PromptReading) -> Vec<String> {
    let mut lines = Vec::new();
    if reading.parts.is_empty() {
        lines.extend(of_part(words, &reading.spans, &reading.schedule));
    }
    for part in &reading.parts {
        lines.push(words.with("reading-part", [("weight", part.weight.into())]));
        lines.extend(of_part(words, &part.spans, &part.schedule));
    }
    for LoraReference { name, unet, text_encoder } in &reading.loras {
        let arguments = [
            ("name", name.as_str().into()),
            ("unet", (*unet).into()),
            ("text", (*text_encoder).into()),
        ];
        lines.push(words.with("reading-lora", arguments));
    }
    for name in &reading.embeddings {
        lines.push(words.with("reading-embedding", [("name", name.as_str().into())]));
    }
    lines
}

fn of_part(words: &Words, spans: &[(String, f64)], schedule: &[(u32, String)]) -> Vec<String> {
    let weighted = spans.iter().filter(|(_, weight)| *weight != 1.0).map(|(text, weight)| {
        match weight {
            // A break between two chunks, as A1111 writes it.
            weight if *weight < 0.0 && text == "BREAK" => text.clone(),
            weight => format!("{} × {}", (weight * 100.0).round() / 100.0, shortened(text)),
        }
    });
    let changes = schedule.iter().filter(|_| schedule.len() > 1).map(|(until, text)| {
        let arguments = [("step", (*until).into()), ("text", shortened(text).into())];
        words.with("reading-until", arguments)
    });
    limited(weighted).into_iter().chain(limited(changes)).collect()
}

/// The first lines, and a sign that there are more.
fn limited(mut lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut first: Vec<String> = lines.by_ref().take(MOST_LINES).collect();
    if lines.next().is_some() {
        first.push("…".to_owned());
    }
    first
}

fn shortened(text: &str) -> String {
    let mut characters = text.trim().chars();
    let mut short: String = characters.by_ref().take(MOST_CHARACTERS).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::words::Language;

    #[test]
    fn what_is_said_of_a_prompt_is_short() {
        let words = Words::new(Language::English);
        let plain = PromptReading { spans: vec![("a cat".to_owned(), 1.0)], ..Default::default() };
        assert!(lines(&words, &plain).is_empty());
        let reading = PromptReading {
            spans: vec![("a cat".to_owned(), 1.0), (" red".to_owned(), 1.2100000000000002)],
            schedule: (1..=20).map(|step| (step, "x".repeat(100))).collect(),
            loras: vec![LoraReference { name: "ink".to_owned(), unet: 0.5, text_encoder: 1.0 }],
            embeddings: vec!["toy".to_owned()],
            ..Default::default()
        };
        let lines = lines(&words, &reading);
        assert_eq!(lines[0], "1.21 × red");
        assert_eq!(lines[1], format!("To step 1: {}…", "x".repeat(60)));
        assert_eq!(lines[13], "…");
        assert_eq!(
            lines[14..],
            ["LoRA ink: 0.5 in the UNet, 1 in the text encoder", "Embedding toy"]
        );
    }
}
