//! Settings as they are written into an image.

use serde_json::{Value, json};

use crate::{prompt::PromptSyntax, request::GenerationRequest, rng::RngSource};

/// The keyword of the PNG text chunk that AUTOMATIC1111 and its readers use.
pub const PARAMETERS: &str = "parameters";

/// The keyword of the PNG text chunk that holds this program's own JSON.
pub const EMBERBRUSH: &str = "emberbrush";

/// What this program is, in the texts that it writes.
const VERSION: &str = concat!("emberbrush ", env!("CARGO_PKG_VERSION"));

/// The texts of image `index` of a request, counted from 0, made with the checkpoint `model` in
/// `dtype` with prompts read by `syntax`: keyword and content, AUTOMATIC1111's text for other programs and the whole request as
/// JSON for this one.
pub fn texts(
    request: &GenerationRequest,
    index: u32,
    model: &str,
    dtype: &str,
    syntax: PromptSyntax,
) -> Vec<(&'static str, String)> {
    let mut single = request.clone();
    single.seed = request.seed_of(index);
    single.count = 1;
    let mut complete = serde_json::to_value(&single).unwrap_or_default();
    if let Value::Object(fields) = &mut complete {
        fields.insert("model".to_owned(), json!(model));
        fields.insert("dtype".to_owned(), json!(dtype));
        fields.insert("prompt-syntax".to_owned(), json!(syntax));
        fields.insert("version".to_owned(), json!(VERSION));
    }
    vec![(PARAMETERS, parameters(request, single.seed, model)), (EMBERBRUSH, complete.to_string())]
}

/// The settings of one image as AUTOMATIC1111 writes them: the prompt, `Negative prompt:` on a
/// line of its own (always, since ComfyUI's importer needs it), then `Key: value` pairs.
///
/// `seed` is the image's own; the request's may be the first of several.
pub fn parameters(request: &GenerationRequest, seed: u64, model: &str) -> String {
    let mut pairs = vec![
        ("Steps", request.steps.to_string()),
        ("Sampler", request.sampler.display_name().to_owned()),
        ("Schedule type", request.schedule.display_name().to_owned()),
        ("CFG scale", request.guidance_scale.to_string()),
        ("Seed", seed.to_string()),
        ("Size", format!("{}x{}", request.width, request.height)),
        ("Model", quoted(model)),
        ("RNG", random_number_source(request.rng).to_owned()),
    ];
    if let Some(init) = request.mode.init() {
        pairs.push(("Denoising strength", init.strength.to_string()));
    }
    pairs.push(("Version", VERSION.to_owned()));
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
    if value.contains([',', '\n', ':', '"']) {
        serde_json::Value::from(value).to_string()
    } else {
        value.to_owned()
    }
}
