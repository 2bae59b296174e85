//! The settings that an image carries, in the text that other programs read.

use crate::{request::GenerationRequest, rng::RngSource};

/// The keyword of the PNG text chunk that AUTOMATIC1111 and its readers use.
pub const PARAMETERS: &str = "parameters";

/// The settings of one image as AUTOMATIC1111 writes them: the prompt, `Negative prompt:` on a
/// line of its own (always, since ComfyUI's importer needs it), then `Key: value` pairs.
///
/// `seed` is the image's own; the request's may be the first of several.
pub fn parameters(request: &GenerationRequest, seed: u64, model: &str) -> String {
    let pairs = [
        ("Steps", request.steps.to_string()),
        ("Sampler", request.sampler.display_name().to_owned()),
        ("Schedule type", request.schedule.display_name().to_owned()),
        ("CFG scale", request.guidance_scale.to_string()),
        ("Seed", seed.to_string()),
        ("Size", format!("{}x{}", request.width, request.height)),
        ("Model", quoted(model)),
        ("RNG", random_number_source(request.rng).to_owned()),
        ("Version", concat!("emberbrush ", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!(
        "{}\nNegative prompt: {}\n{}",
        request.prompt,
        request.negative_prompt,
        pairs.join(", ")
    )
}

/// A1111's names for the sources of random numbers.
fn random_number_source(rng: RngSource) -> &'static str {
    match rng {
        RngSource::Torch => "CPU",
        RngSource::Philox => "NV",
    }
}

/// A value that would break the list of pairs is written as a JSON string.
fn quoted(value: &str) -> String {
    if value.contains([',', '\n', ':']) {
        serde_json::Value::from(value).to_string()
    } else {
        value.to_owned()
    }
}
