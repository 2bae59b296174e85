//! Settings as they are written into an image.

use serde_json::{Value, json};

use super::{
    VaeRecord,
    adapters::{self, AdapterHashes},
    control,
};
use crate::{
    diffusion::SoftInpainting,
    prompt::PromptSyntax,
    request::{
        ConditioningOptions, FewerOperations, GenerationRequest, HiresFix, Inpaint, MaskArea,
        MaskMode, MaskedContent, Mode, Upscale, network_name,
    },
    rng::RngSource,
    schedulers::Compat,
};

/// The keyword of the PNG text chunk that AUTOMATIC1111 and its readers use.
pub const PARAMETERS: &str = "parameters";

/// The keyword of the PNG text chunk that holds this program's own JSON.
pub const EMBERBRUSH: &str = "emberbrush";

/// A1111's value of `Inpaint area` for the masked part alone; the whole picture goes unsaid.
pub(super) const ONLY_MASKED: &str = "Only masked";

/// A1111's value of `Mask mode` for a mask that is inverted.
pub(super) const INPAINT_NOT_MASKED: &str = "Inpaint not masked";

/// This program's key for whose meaning samplers have, where it is not that of diffusers.
pub(super) const COMPAT: &str = "Compat";

/// This program's key for the rescale of guidance.
pub(super) const GUIDANCE_RESCALE: &str = "Guidance rescale";

/// The key of the share of a run after which the negative prompt is left out.
pub(super) const SKIP_NEGATIVE_AFTER: &str = "Skip negative after";

/// This program's key of the evaluations of which one runs the deep part of the UNet.
pub(super) const DEEP_CACHE: &str = "Deep cache";

/// A1111's key of the share of tokens that are merged.
pub(super) const TOKEN_MERGING: &str = "Token merging ratio";

/// This program's key of the share of a run after which cross-attention is reused.
pub(super) const REUSE_CROSS_ATTENTION_AFTER: &str = "Reuse cross attention after";

/// What this program is, in the texts that it writes.
const VERSION: &str = concat!("emberbrush ", env!("CARGO_PKG_VERSION"));

/// What a request does not say and an image depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeWith {
    /// The checkpoint's name.
    pub model: String,
    /// The first digits of the hash of its weights, as [`ModelHash`](super::ModelHash) gives them.
    pub model_hash: Option<String>,
    /// The type of weights and activations.
    pub dtype: String,
    /// How prompts were read.
    pub prompt_syntax: PromptSyntax,
    /// The adapters.
    pub adapter_hashes: AdapterHashes,
    /// The autoencoder that stands in for the checkpoint's own.
    pub vae: Option<VaeRecord>,
}

/// Where an image was among those that went through the UNet at once, which changes rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlace {
    /// The number of images, from 1.
    pub size: usize,
    /// The image's place among them, from 0.
    pub position: usize,
}

impl BatchPlace {
    /// An image that was made by itself.
    pub const ALONE: Self = Self { size: 1, position: 0 };
}

/// The texts of image `index` of a request, counted from 0: keyword and content, AUTOMATIC1111's
/// text for other programs and the whole request as JSON for this one.
pub fn texts(
    request: &GenerationRequest,
    index: u32,
    with: &MadeWith,
) -> Vec<(&'static str, String)> {
    texts_of_batch(request, index, with, BatchPlace::ALONE)
}

/// [`texts`] of an image that may have gone through the UNet with others.
pub fn texts_of_batch(
    request: &GenerationRequest,
    index: u32,
    with: &MadeWith,
    batch: BatchPlace,
) -> Vec<(&'static str, String)> {
    let single = request.image(index);
    let mut complete = serde_json::to_value(&single).unwrap_or_default();
    if let Value::Object(fields) = &mut complete {
        let says_nothing = |value: &Value| match value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        fields.retain(|_, value| !says_nothing(value));
        fields.insert("model".to_owned(), json!(with.model));
        if let Some(hash) = &with.model_hash {
            fields.insert("model-hash".to_owned(), json!(hash));
        }
        if let Some(VaeRecord { name, hash }) = &with.vae {
            fields.insert("vae".to_owned(), json!(name));
            fields.insert("vae-hash".to_owned(), json!(hash));
        }
        fields.insert("dtype".to_owned(), json!(with.dtype));
        fields.insert("prompt-syntax".to_owned(), json!(with.prompt_syntax));
        if batch.size > 1 {
            fields.insert("batch-size".to_owned(), json!(batch.size));
            fields.insert("batch-pos".to_owned(), json!(batch.position));
        }
        fields.insert("version".to_owned(), json!(VERSION));
    }
    let parameters = parameters_of_batch(&single, single.seed, with, batch);
    vec![(PARAMETERS, parameters), (EMBERBRUSH, complete.to_string())]
}

/// The settings of one image as AUTOMATIC1111 writes them: the prompt, `Negative prompt:` on a
/// line of its own (always, since ComfyUI's importer needs it), then `Key: value` pairs.
///
/// `seed` is the image's own; the request's may be the first of several.
pub fn parameters(request: &GenerationRequest, seed: u64, with: &MadeWith) -> String {
    parameters_of_batch(request, seed, with, BatchPlace::ALONE)
}

fn parameters_of_batch(
    request: &GenerationRequest,
    seed: u64,
    with: &MadeWith,
    batch: BatchPlace,
) -> String {
    let mut pairs = vec![
        ("Steps", request.steps.to_string()),
        ("Sampler", request.sampler.display_name().to_owned()),
        ("Schedule type", request.schedule.display_name().to_owned()),
        ("CFG scale", request.guidance_scale.to_string()),
        ("Seed", seed.to_string()),
        ("Size", format!("{}x{}", request.width, request.height)),
    ];
    if let Some(hash) = &with.model_hash {
        pairs.push(("Model hash", hash.clone()));
    }
    pairs.push(("Model", quoted(&with.model)));
    if let Some(VaeRecord { name, hash }) = &with.vae {
        pairs.extend(hash.clone().map(|hash| ("VAE hash", hash)));
        pairs.push(("VAE", quoted(name)));
    }
    pairs.push(("RNG", random_number_source(request.rng).to_owned()));
    pairs.extend(of_mode(&request.mode));
    let hashes = with.adapter_hashes.pairs().into_iter();
    pairs.extend(hashes.map(|(key, hashes)| (key, quoted(&hashes))));
    pairs.extend(of_conditioning(&request.conditioning));
    pairs.extend(of_fewer_operations(&request.fewer_operations));
    if request.compat != Compat::default() {
        pairs.push((COMPAT, request.compat.to_string()));
    }
    if batch.size > 1 {
        pairs.push(("Batch size", batch.size.to_string()));
        pairs.push(("Batch pos", batch.position.to_string()));
    }
    pairs.push(("Version", VERSION.to_owned()));
    let mut pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let control = control::pairs(&request.control);
    // Before the version, which stands last.
    let last = pairs.len() - 1;
    pairs.splice(last..last, control.iter().map(|(key, value)| format!("{key}: {value}")));
    format!(
        "{}{}\nNegative prompt: {}\n{}",
        request.prompt,
        adapters::tags(&request.adapters),
        request.negative_prompt,
        pairs.join(", ")
    )
}

/// What A1111 says of how the model is guided, where it is not as ever (`processing.py`); the
/// rescale of guidance is no part of A1111. SDXL's second prompts are in this program's own JSON
/// only.
fn of_conditioning(options: &ConditioningOptions) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    if options.clip_skip > 1 {
        pairs.push(("Clip skip", options.clip_skip.to_string()));
    }
    if options.varies() {
        pairs.push(("Variation seed", options.variation_seed.to_string()));
        pairs.push(("Variation seed strength", options.variation_strength.to_string()));
    }
    if options.guidance_rescale > 0.0 {
        pairs.push((GUIDANCE_RESCALE, options.guidance_rescale.to_string()));
    }
    pairs
}

/// What of the operations is left out, where something is; of this A1111 has the merging of tokens.
fn of_fewer_operations(fewer: &FewerOperations) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    if fewer.skip_negative_after < 1.0 {
        pairs.push((SKIP_NEGATIVE_AFTER, fewer.skip_negative_after.to_string()));
    }
    if fewer.deep_cache > 1 {
        pairs.push((DEEP_CACHE, fewer.deep_cache.to_string()));
    }
    if fewer.token_merging > 0.0 {
        pairs.push((TOKEN_MERGING, fewer.token_merging.to_string()));
    }
    if fewer.reuse_cross_attention_after < 1.0 {
        let share = fewer.reuse_cross_attention_after.to_string();
        pairs.push((REUSE_CROSS_ATTENTION_AFTER, share));
    }
    pairs
}

/// What A1111 says of pictures that do not start from noise alone (`processing.py`,
/// `soft_inpainting.py`). What it has no key for is in this program's own JSON only.
fn of_mode(mode: &Mode) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    if let Some(init) = mode.init() {
        pairs.push(("Denoising strength", init.strength.to_string()));
    }
    match mode {
        Mode::Inpaint(inpaint) => of_mask(inpaint, &mut pairs),
        Mode::HiresFix(HiresFix { scale, strength, steps, upscaler }) => {
            // A1111 counts the steps that the second pass makes.
            let made = (f64::from(*steps) * strength) as u32;
            pairs.push(("Denoising strength", strength.to_string()));
            pairs.push(("Hires upscale", scale.to_string()));
            pairs.push(("Hires steps", made.to_string()));
            pairs.push(("Hires upscaler", quoted(&upscaler.display_name())));
        }
        Mode::Upscale(Upscale { upscaler: Some(path), .. }) => {
            pairs.push(("SD upscale upscaler", quoted(&network_name(path))));
        }
        Mode::TextToImage | Mode::ImageToImage(_) | Mode::Outpaint(_) | Mode::Upscale(_) => {}
    }
    pairs
}

fn of_mask(inpaint: &Inpaint, pairs: &mut Vec<(&'static str, String)>) {
    if inpaint.mask_blur > 0.0 {
        pairs.push(("Mask blur", inpaint.mask_blur.to_string()));
    }
    if inpaint.invert_mask {
        pairs.push(("Mask mode", INPAINT_NOT_MASKED.to_owned()));
    }
    if inpaint.mask_area == MaskArea::Masked {
        pairs.push(("Inpaint area", ONLY_MASKED.to_owned()));
        pairs.push(("Masked area padding", inpaint.mask_padding.to_string()));
    }
    if inpaint.masked_content != MaskedContent::Original {
        pairs.push(("Masked content", inpaint.masked_content.to_string().replace('-', " ")));
    }
    if inpaint.mask_mode == MaskMode::Soft {
        let soft = SoftInpainting::default();
        pairs.push(("Soft inpainting enabled", "True".to_owned()));
        pairs.push(("Soft inpainting schedule bias", soft.schedule_bias.to_string()));
        pairs.push((
            "Soft inpainting preservation strength",
            soft.preservation_strength.to_string(),
        ));
        pairs.push((
            "Soft inpainting transition contrast boost",
            soft.transition_contrast_boost.to_string(),
        ));
    }
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
