//! `emberbrush prompt`

use std::io::Read;

use anyhow::Context;
use emberbrush_pipeline::{
    adapters::Embedding,
    diffusion::{CheckpointDefaults, load_tokenizer},
    prompt::{PromptReading, RunSteps, expand},
};
use serde_json::json;

use crate::{cli::PromptArguments, commands::generate::wildcards, model, report};

/// Steps where neither the arguments nor the checkpoint state them.
const STEPS: u32 = 20;

pub(crate) fn run(arguments: &PromptArguments) -> anyhow::Result<()> {
    let mut text = arguments.text.clone();
    if text == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
    }
    let files = model::files(arguments.model.as_deref())?;
    let mut tokenizer = load_tokenizer(&files, "tokenizer")?;
    let steps = match arguments.steps {
        Some(steps) => steps,
        None => CheckpointDefaults::read(&files)?.recommended.steps.unwrap_or(STEPS),
    };
    let text = expand(&text, arguments.seed, wildcards(arguments.wildcards.as_deref()).as_ref())?;
    for file in arguments.embeddings.of_prompt(&text)? {
        Embedding::open(file)?.add_names(&mut tokenizer);
    }
    let steps = RunSteps { steps: steps.max(1), first_pass: arguments.after };
    let reading = tokenizer.read_prompt(&text, steps)?;
    if arguments.json {
        report::object(&json!(reading));
    } else {
        print(&reading);
    }
    Ok(())
}

fn print(reading: &PromptReading) {
    let PromptReading { tokens, chunks, room, loras, embeddings, parts, .. } = reading;
    report::println(&format!("{tokens} tokens in {chunks} × {}", room / (*chunks).max(1)));
    if parts.is_empty() {
        print_part(&reading.spans, &reading.schedule);
    }
    for part in parts {
        report::println(&format!("guided by {}:", part.weight));
        print_part(&part.spans, &part.schedule);
    }
    for lora in loras {
        let (name, unet, text_encoder) = (&lora.name, lora.unet, lora.text_encoder);
        report::println(&format!("LoRA {name}: UNet {unet}, text encoder {text_encoder}"));
    }
    if !embeddings.is_empty() {
        report::println(&format!("embeddings {}", embeddings.join(", ")));
    }
}

fn print_part(spans: &[(String, f64)], schedule: &[(u32, String)]) {
    for (text, weight) in spans {
        report::println(&format!("{weight:>8.3}  {}", shown(text)));
    }
    if schedule.len() > 1 {
        for (until, text) in schedule {
            report::println(&format!("{:>8}  {}", format!("to {until}"), shown(text)));
        }
    }
}

/// The text without what would move the cursor.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
