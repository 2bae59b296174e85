//! The text of AUTOMATIC1111's web UI and Forge: prompt, negative prompt, and a last line of
//! `Key: value` pairs (`modules/infotext_utils.py`, `parse_generation_parameters`).

use std::sync::LazyLock;

use regex::Regex;

use super::{
    ImageSettings, Program, control,
    write::{
        COMPAT, DEEP_CACHE, GUIDANCE_RESCALE, INPAINT_NOT_MASKED, ONLY_MASKED,
        REUSE_CROSS_ATTENTION_AFTER, SKIP_NEGATIVE_AFTER, TOKEN_MERGING,
    },
};
use crate::{
    diffusion::SoftInpainting,
    request::{HiresUpscaler, MaskedContent},
    schedulers::{Compat, Schedule},
};

/// `re_param` of A1111. A pattern that did not compile would read no pairs.
static PAIR: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)"#).ok());

/// With fewer pairs than this the last line is a part of the prompt.
const FEWEST_PAIRS: usize = 3;

/// Whether a text is of this kind: it has a line of pairs.
pub(super) fn recognise(text: &str) -> bool {
    text.trim().lines().last().is_some_and(|line| pairs(line).len() >= FEWEST_PAIRS)
}

fn pairs(line: &str) -> Vec<(String, String)> {
    let Some(pattern) = PAIR.as_ref() else { return Vec::new() };
    pattern
        .captures_iter(line)
        .map(|found| {
            let value = found[2].trim();
            let value = match serde_json::from_str::<String>(value) {
                Ok(unquoted) if value.starts_with('"') => unquoted,
                _ => value.to_owned(),
            };
            (found[1].to_owned(), value)
        })
        .collect()
}

/// Reads settings. Text without a line of pairs is a prompt.
pub(super) fn read(text: &str) -> ImageSettings {
    let mut lines: Vec<&str> = text.trim().split('\n').collect();
    let mut found = lines.last().map(|line| pairs(line)).unwrap_or_default();
    if found.len() < FEWEST_PAIRS {
        found.clear();
    } else {
        lines.pop();
    }
    let (mut prompt, mut negative) = (Vec::new(), Vec::new());
    let mut in_negative = false;
    for line in lines {
        let mut line = line.trim();
        if let Some(rest) = line.strip_prefix("Negative prompt:") {
            in_negative = true;
            line = rest.trim();
        }
        if in_negative { &mut negative } else { &mut prompt }.push(line);
    }

    let version = found.iter().find(|(key, _)| key == "Version").map(|(_, value)| value.as_str());
    let program = match version {
        Some(version) if version.starts_with("emberbrush") => Program::Emberbrush,
        Some(version) if version.starts_with('f') => Program::Forge,
        _ => Program::Automatic1111,
    };
    let mut settings = ImageSettings::new(program);
    settings.set("prompt", prompt.join("\n"));
    settings.set("negative", negative.join("\n"));
    // A1111 takes its numbers from the GPU unless it says otherwise, and Philox imitates them.
    if program != Program::Emberbrush && !found.is_empty() {
        settings.set("rng", "philox");
        settings.set("compat", Compat::A1111.name());
    }
    for (key, value) in found {
        read_pair(&mut settings, &key, &value);
    }
    if settings.fields.contains_key("hires") {
        second_pass(&mut settings);
    }
    settings
}

/// A1111 has one key for the strength of whichever pass starts from a picture, counts the steps
/// that the second pass makes, and repeats those of the first where it is told none.
fn second_pass(settings: &mut ImageSettings) {
    let strength = settings.fields.remove("strength").and_then(|strength| strength.as_f64());
    let strength = strength.unwrap_or(0.75);
    settings.set("hires-strength", strength);
    let made = settings.fields.get("hires-steps").or_else(|| settings.fields.get("steps"));
    if let Some(made) = made.and_then(serde_json::Value::as_u64)
        && strength > 0.0
    {
        settings.set("hires-steps", (made as f64 / strength.min(1.0)).round() as u64);
    }
}

fn read_pair(settings: &mut ImageSettings, key: &str, value: &str) {
    match key {
        "Steps" => settings.set_integer("steps", key, value),
        "CFG scale" => settings.set_number("cfg", key, value),
        "Seed" => settings.set_integer("seed", key, value),
        "Denoising strength" => settings.set_number("strength", key, value),
        "Model" => settings.set("model", value),
        "Size" => match value.split_once('x') {
            Some((width, height)) => {
                settings.set_integer("width", key, width);
                settings.set_integer("height", key, height);
            }
            None => settings.not_read(key, value),
        },
        "Sampler" => {
            // Before version 1.9 the schedule was a part of the sampler's name.
            let names = [Schedule::Karras, Schedule::Exponential];
            let suffix = names.into_iter().find_map(|schedule| {
                let sampler = value.strip_suffix(schedule.display_name())?.trim_end();
                (!sampler.is_empty()).then_some((sampler, schedule))
            });
            match suffix {
                Some((sampler, schedule)) => {
                    settings.set("schedule", schedule.name());
                    settings.set_sampler(key, sampler);
                }
                None => settings.set_sampler(key, value),
            }
        }
        "Schedule type" => settings.set_schedule(key, value),
        "RNG" => match value {
            "CPU" => settings.set("rng", "torch"),
            "NV" | "GPU" => settings.set("rng", "philox"),
            _ => settings.not_read(key, value),
        },
        "Hires upscale" => settings.set_number("hires", key, value),
        "Hires steps" => settings.set_integer("hires-steps", key, value),
        "Hires upscaler" => match HiresUpscaler::from_display_name(value) {
            Some(upscaler) => settings.set("hires-upscaler", upscaler.to_string()),
            None => settings.not_read(key, value),
        },
        "Mask blur" => settings.set_number("mask-blur", key, value),
        "Masked area padding" | "Inpaint area padding" => {
            settings.set_integer("mask-padding", key, value);
        }
        "Inpaint area" if value == ONLY_MASKED => settings.set("mask-area", "masked"),
        "Mask mode" if value == INPAINT_NOT_MASKED => settings.set("invert-mask", true),
        "Masked content" => match value.replace(' ', "-").parse::<MaskedContent>() {
            Ok(content) => settings.set("masked-content", content.to_string()),
            Err(_) => settings.not_read(key, value),
        },
        "Soft inpainting enabled" if value == "True" => settings.set("mask-mode", "soft"),
        "Soft inpainting schedule bias" => {
            soft(settings, key, value, SoftInpainting::default().schedule_bias);
        }
        "Soft inpainting preservation strength" => {
            soft(settings, key, value, SoftInpainting::default().preservation_strength);
        }
        "Soft inpainting transition contrast boost" => {
            soft(settings, key, value, SoftInpainting::default().transition_contrast_boost);
        }
        key if key.starts_with(control::KEY) => control::read(settings, key, value),
        "Model hash" => settings.set("model-hash", value),
        "Clip skip" => settings.set_integer("clip-skip", key, value),
        "Variation seed" => settings.set_integer("variation-seed", key, value),
        "Variation seed strength" => settings.set_number("variation-strength", key, value),
        GUIDANCE_RESCALE => settings.set_number("guidance-rescale", key, value),
        SKIP_NEGATIVE_AFTER => settings.set_number("skip-negative-after", key, value),
        DEEP_CACHE => settings.set_integer("deep-cache", key, value),
        TOKEN_MERGING => settings.set_number("token-merging", key, value),
        REUSE_CROSS_ATTENTION_AFTER => {
            settings.set_number("reuse-cross-attention-after", key, value);
        }
        COMPAT => match value.parse::<Compat>() {
            Ok(compat) => settings.set("compat", compat.name()),
            Err(_) => settings.not_read(key, value),
        },
        // A1111's words for the checkpoint's own.
        "VAE" if matches!(value, "Automatic" | "None") => {}
        "VAE" => settings.set("vae", value),
        "VAE hash" => settings.set("vae-hash", value),
        // These say where the image comes from and do not change it.
        "Version" | "User" | "Lora hashes" | "TI hashes" | "Batch size" | "Batch pos" => {}
        _ => settings.not_read(key, value),
    }
}

/// What cannot be set here is told where it is not as it is here.
fn soft(settings: &mut ImageSettings, key: &str, value: &str, here: f64) {
    if value.trim().parse() != Ok(here) {
        settings.not_read(key, value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_of_a1111_is_read() {
        let settings = read(
            "a cat, (sharp:1.2)\nsecond line\nNegative prompt: blurry,\nugly\n\
             Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 965400086, Size: 512x768, \
             Model hash: 0123abcdef, Model: \"v1-5, pruned: ema\", Denoising strength: 0.75, \
             Clip skip: 2, Variation seed: 8, Variation seed strength: 0.25, ENSD: 31337, \
             Version: v1.6.0",
        );
        assert_eq!(settings.program, Program::Automatic1111);
        assert_eq!(
            serde_json::Value::from(settings.fields),
            json!({
                "prompt": "a cat, (sharp:1.2)\nsecond line", "negative": "blurry,\nugly",
                "steps": 20, "sampler": "dpmpp-2m", "schedule": "karras", "cfg": 7.0,
                "seed": 965400086, "width": 512, "height": 768, "model": "v1-5, pruned: ema",
                "strength": 0.75, "rng": "philox", "model-hash": "0123abcdef", "compat": "a1111",
                "clip-skip": 2, "variation-seed": 8, "variation-strength": 0.25,
            })
        );
        assert_eq!(settings.unread, ["ENSD: 31337"]);
    }

    #[test]
    fn second_passes_are_read() {
        let settings = read(
            "a\nNegative prompt: \nSteps: 20, Sampler: Euler, Seed: 1, Denoising strength: 0.5, \
             Hires upscale: 2, Hires steps: 10, Hires upscaler: Latent (bicubic antialiased)",
        );
        let hires = [
            ("hires", json!(2.0)),
            ("hires-strength", json!(0.5)),
            ("hires-steps", json!(20)),
            ("hires-upscaler", json!("latent-bicubic-antialiased")),
        ];
        for (field, value) in hires {
            assert_eq!(settings.fields[field], value, "{field}");
        }
        assert!(!settings.fields.contains_key("strength"));
        let settings = read(
            "a\nNegative prompt: \nSteps: 20, Sampler: Euler, Denoising strength: 0.4, \
             Hires upscale: 1.5, Hires upscaler: R-ESRGAN 4x+",
        );
        assert_eq!(settings.fields["hires-steps"], 50, "the first pass's steps, all made");
        assert_eq!(settings.unread, ["Hires upscaler: R-ESRGAN 4x+"]);
    }

    #[test]
    fn masks_are_read() {
        let settings = read(
            "a\nNegative prompt: \nSteps: 20, Sampler: Euler, Denoising strength: 1, Mask blur: 8, \
             Mask mode: Inpaint not masked, Inpaint area: Only masked, Masked area padding: 64, \
             Masked content: latent nothing, Soft inpainting enabled: True, \
             Soft inpainting schedule bias: 2, Soft inpainting preservation strength: 0.5",
        );
        let mask = [
            ("strength", json!(1.0)),
            ("mask-blur", json!(8.0)),
            ("invert-mask", json!(true)),
            ("mask-area", json!("masked")),
            ("mask-padding", json!(64)),
            ("masked-content", json!("latent-nothing")),
            ("mask-mode", json!("soft")),
        ];
        for (field, value) in mask {
            assert_eq!(settings.fields[field], value, "{field}");
        }
        assert_eq!(settings.unread, ["Soft inpainting schedule bias: 2"]);
    }

    #[test]
    fn fewer_than_three_pairs_are_prompt() {
        let settings = read("a sign that says\nSteps: 20, Sampler: Euler");
        assert_eq!(settings.fields["prompt"], "a sign that says\nSteps: 20, Sampler: Euler");
        assert!(!settings.fields.contains_key("steps"));
    }

    #[test]
    fn what_is_unknown_is_told() {
        let settings = read(
            "a\nNegative prompt: \nSteps: 9x, Sampler: DPM adaptive, Schedule type: Turbo, CFG scale: 1, \
             Version: f2.0.1v1.10.1",
        );
        assert_eq!(settings.program, Program::Forge);
        assert_eq!(settings.unread, ["Steps: 9x", "Sampler: DPM adaptive", "Schedule type: Turbo"]);
        assert!(!settings.fields.contains_key("sampler"));
    }
}
