//! The configuration files that a single file lacks: those that its family is published with, for
//! the shapes that it has.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    arrangement::{Arrangement, TextEncoder, TextNames, VAE},
    unet_shape::UNetShape,
};
use crate::checkpoint::{few_steps::FewSteps, folder::Family, tensor_file::TensorFile};

/// Width of a head of every CLIP text encoder.
const HEAD_WIDTH: usize = 64;

/// Levels or layers beyond which nothing is looked for.
const MAX_ENTRIES: usize = 64;

/// The standard deviation of one norm's biases above which Stable Diffusion 2 was trained to
/// predict the velocity, as ComfyUI tells (`comfy/supported_models.py`, `SD20.model_type`): the
/// published networks have 0.04 to 0.06 (epsilon) and 0.13 (velocity).
const VELOCITY_DEVIATION: f64 = 0.09;

/// The training step after which Stable Diffusion 2 was published as a base that predicts noise.
const STEP_OF_SD2_BASE: i64 = 875_000;

/// Files by their paths in a folder in Hugging Face layout.
pub(super) type Configs = BTreeMap<String, String>;

/// Writes the configuration files for a checkpoint of `family`; `name` is that of the file.
pub(super) fn write(
    file: &TensorFile,
    arrangement: &Arrangement,
    unet: &UNetShape,
    family: Family,
    name: &str,
) -> Configs {
    let few_steps = FewSteps::of_name(name);
    let velocity = predicts_velocity(file, family, unet);
    let side = native_side(family, few_steps, velocity, unet);
    let mut configs = Configs::new();
    let mut add = |path: &str, value: Value| {
        configs.insert(path.to_owned(), format!("{value:#}\n"));
    };
    add("model_index.json", model_index(family, unet.in_channels));
    add("unet/config.json", unet.config(family, side));
    if let Some(vae) = autoencoder(file, family, side) {
        add("vae/config.json", vae);
    }
    add("scheduler/scheduler_config.json", scheduler(file, family, few_steps, velocity));
    for (component, encoder) in arrangement.text_encoders(family) {
        if let Some(config) = text_encoder(file, encoder, family) {
            add(&format!("{component}/config.json"), config);
        }
    }
    configs
}

fn model_index(family: Family, in_channels: usize) -> Value {
    let fills = in_channels == 9;
    let class = match (family, fills) {
        (Family::StableDiffusion1 | Family::StableDiffusion2, false) => "StableDiffusionPipeline",
        (Family::StableDiffusion1 | Family::StableDiffusion2, true) => {
            "StableDiffusionInpaintPipeline"
        }
        (Family::StableDiffusionXl, false) => "StableDiffusionXLPipeline",
        (Family::StableDiffusionXl, true) => "StableDiffusionXLInpaintPipeline",
        (Family::StableDiffusionXlRefiner, _) => "StableDiffusionXLImg2ImgPipeline",
    };
    let text = json!(["transformers", "CLIPTextModel"]);
    let projected = json!(["transformers", "CLIPTextModelWithProjection"]);
    let tokenizer = json!(["transformers", "CLIPTokenizer"]);
    let mut index = json!({
        "_class_name": class,
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    });
    let more = match family {
        Family::StableDiffusion1 | Family::StableDiffusion2 => json!({
            "text_encoder": text, "tokenizer": tokenizer, "safety_checker": [null, null],
            "feature_extractor": [null, null],
        }),
        Family::StableDiffusionXl => json!({
            "text_encoder": text, "tokenizer": tokenizer, "text_encoder_2": projected,
            "tokenizer_2": tokenizer, "force_zeros_for_empty_prompt": true,
        }),
        Family::StableDiffusionXlRefiner => json!({
            "text_encoder": [null, null], "tokenizer": [null, null], "text_encoder_2": projected,
            "tokenizer_2": tokenizer, "force_zeros_for_empty_prompt": false,
            "requires_aesthetics_score": true,
        }),
    };
    if let (Value::Object(index), Value::Object(more)) = (&mut index, more) {
        index.extend(more);
    }
    index
}

/// Side length in pixels of the pictures that it was trained on.
fn native_side(
    family: Family,
    few_steps: Option<FewSteps>,
    velocity: bool,
    unet: &UNetShape,
) -> usize {
    match family {
        Family::StableDiffusion1 => 512,
        // The inpainting model predicts noise at 512 pixels.
        Family::StableDiffusion2 if velocity && unet.in_channels == 4 => 768,
        Family::StableDiffusion2 => 512,
        Family::StableDiffusionXl if few_steps == Some(FewSteps::Turbo) => 512,
        Family::StableDiffusionXl | Family::StableDiffusionXlRefiner => 1024,
    }
}

/// Whether the UNet predicts the velocity and not the noise: what the file says, or for Stable
/// Diffusion 2, which never says, what its training step or its numbers tell.
fn predicts_velocity(file: &TensorFile, family: Family, unet: &UNetShape) -> bool {
    if file.contains("v_pred") {
        return true;
    }
    if family != Family::StableDiffusion2 || unet.in_channels != 4 {
        return false;
    }
    if file.integer("global_step") == Some(STEP_OF_SD2_BASE) {
        return false;
    }
    let key = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias";
    deviation(file, key).is_some_and(|deviation| deviation > VELOCITY_DEVIATION)
}

fn deviation(file: &TensorFile, key: &str) -> Option<f64> {
    use emberbrush_layers::weights::WeightSource;

    let values = file.read(key).ok()?.convert::<f32>().try_to_vec::<f32>().ok()?;
    let count = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let squares = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
    Some((squares / count).sqrt())
}

fn scheduler(
    file: &TensorFile,
    family: Family,
    few_steps: Option<FewSteps>,
    velocity: bool,
) -> Value {
    let zero_terminal_snr = file.contains("ztsnr");
    let (class, spacing) = match (few_steps, family) {
        (Some(few_steps), _) => few_steps.scheduler(),
        (None, Family::StableDiffusion1) => ("PNDMScheduler", "leading"),
        (None, Family::StableDiffusion2) => ("DDIMScheduler", "leading"),
        (None, Family::StableDiffusionXl | Family::StableDiffusionXlRefiner) => {
            ("EulerDiscreteScheduler", "leading")
        }
    };
    json!({
        "_class_name": class,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": false,
        "interpolation_type": "linear",
        "num_train_timesteps": 1000,
        "prediction_type": if velocity { "v_prediction" } else { "epsilon" },
        "rescale_betas_zero_snr": zero_terminal_snr,
        "set_alpha_to_one": false,
        "skip_prk_steps": true,
        "steps_offset": 1,
        // The last noise level is pure noise only where the first step visits it.
        "timestep_spacing": if zero_terminal_snr { "trailing" } else { spacing },
        "trained_betas": null,
        "use_karras_sigmas": false,
    })
}

fn autoencoder(file: &TensorFile, family: Family, side: usize) -> Option<Value> {
    let shape = |name: String| Some(file.info(&format!("{VAE}{name}"))?.shape);
    let channels: Vec<usize> = (0..MAX_ENTRIES)
        .map_while(|level| shape(format!("decoder.up.{level}.block.0.conv2.weight")))
        .filter_map(|shape| shape.first().copied())
        .collect();
    let blocks = (0..MAX_ENTRIES)
        .take_while(|block| shape(format!("decoder.up.0.block.{block}.conv2.weight")).is_some())
        .count();
    let latent_channels = shape("decoder.conv_in.weight".to_owned())?.get(1).copied()?;
    Some(json!({
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": channels,
        "down_block_types": vec!["DownEncoderBlock2D"; channels.len()],
        "force_upcast": family.is_xl(),
        "in_channels": 3,
        "latent_channels": latent_channels,
        "layers_per_block": blocks.saturating_sub(1),
        "norm_num_groups": 32,
        "out_channels": 3,
        "sample_size": side,
        "scaling_factor": if family.is_xl() { 0.13025 } else { 0.18215 },
        "up_block_types": vec!["UpDecoderBlock2D"; channels.len()],
    }))
}

fn text_encoder(file: &TensorFile, encoder: &TextEncoder, family: Family) -> Option<Value> {
    let shape = |published: &str| Some(file.info(&encoder.stored_name(published)?)?.shape);
    let embedding = shape("text_model.embeddings.token_embedding.weight")?;
    let (vocabulary, hidden) = (*embedding.first()?, *embedding.get(1)?);
    let positions = shape("text_model.embeddings.position_embedding.weight")?;
    let inner = shape("text_model.encoder.layers.0.mlp.fc1.weight")?;
    let layers = (0..MAX_ENTRIES)
        .take_while(|layer| {
            shape(&format!("text_model.encoder.layers.{layer}.layer_norm1.weight")).is_some()
        })
        .count();
    // OpenCLIP stores a projection as [channels, projected], transformers as [projected, channels].
    let projection = shape("text_projection.weight").and_then(|shape| match encoder.names {
        TextNames::OpenClip => shape.get(1).copied(),
        TextNames::Transformers => shape.first().copied(),
    });
    let is_projected = family.is_xl() && encoder.names == TextNames::OpenClip;
    // Stable Diffusion 2 is conditioned on the penultimate layer, so it is published without the
    // last one.
    let dropped = usize::from(
        family == Family::StableDiffusion2 && encoder.names == TextNames::OpenClip && layers > 1,
    );
    Some(json!({
        "architectures": [if is_projected { "CLIPTextModelWithProjection" } else { "CLIPTextModel" }],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "dropout": 0.0,
        "eos_token_id": 2,
        "hidden_act": match encoder.names {
            TextNames::Transformers => "quick_gelu",
            TextNames::OpenClip => "gelu",
        },
        "hidden_size": hidden,
        "intermediate_size": inner.first()?,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": positions.first()?,
        "model_type": "clip_text_model",
        "num_attention_heads": (hidden / HEAD_WIDTH).max(1),
        "num_hidden_layers": layers - dropped,
        "pad_token_id": 1,
        "projection_dim": projection.unwrap_or(hidden),
        "vocab_size": vocabulary,
    }))
}
