//! Files that are no checkpoint this program can draw with, told by the names of their tensors.

/// What a file is when one of its tensors has a name that holds the text.
struct Trait {
    /// The text.
    text: &'static str,
    /// What the file is, and what to do.
    reason: &'static str,
}

macro_rules! other_family {
    ($name:literal) => {
        concat!(
            "this is a ",
            $name,
            " checkpoint, which is not supported. Give one of Stable Diffusion 1.x, 2.x or XL"
        )
    };
}

const LORA: &str = "this is a LoRA, which changes a checkpoint and cannot draw alone. Give it with \
                    --lora, beside --model";
const EMBEDDING: &str = "this is a textual inversion embedding, which a prompt speaks of and which \
                         cannot draw alone. Give it with --embedding, beside --model";
const CONTROL_NET: &str = "this is a ControlNet, which guides a checkpoint and cannot draw alone. \
                           Give it with --control, beside --model";
const UPSCALER: &str = "this is an upscaler, which enlarges pictures and cannot draw. Give it with \
                        --upscaler, beside --upscale";
const MOTION: &str = "this is a motion module for films, which is not supported";
const UNET: &str = "this is a UNet alone, without text encoder and autoencoder. Put it into the \
                    folder unet of a checkpoint in Hugging Face layout, or give a whole checkpoint";
const AUTOENCODER: &str = "this is an autoencoder alone. Give it with --vae, beside --model";
const TEXT_ENCODER: &str = "this is a text encoder alone. Give a whole checkpoint";

/// In the order in which they are looked for: parts have names that whole checkpoints hold, too.
const TRAITS: &[Trait] = &[
    Trait { text: "lora_down.", reason: LORA },
    Trait { text: "lora_up.", reason: LORA },
    Trait { text: "lora_A.", reason: LORA },
    Trait { text: "lora_B.", reason: LORA },
    Trait { text: "lora.down.", reason: LORA },
    Trait { text: "hada_w1_", reason: LORA },
    Trait { text: "lokr_w", reason: LORA },
    Trait { text: "emb_params", reason: EMBEDDING },
    Trait { text: "string_to_param", reason: EMBEDDING },
    Trait { text: "input_hint_block.", reason: CONTROL_NET },
    Trait { text: "controlnet_cond_embedding.", reason: CONTROL_NET },
    Trait { text: "motion_modules.", reason: MOTION },
    // In the names of single files, and then in those of diffusers, of which AuraFlow shares some
    // with Flux, and Flux with Stable Diffusion 3.
    Trait { text: "double_layers.", reason: other_family!("AuraFlow") },
    Trait { text: "joint_transformer_blocks.", reason: other_family!("AuraFlow") },
    Trait { text: "double_blocks.", reason: other_family!("Flux") },
    Trait { text: "single_transformer_blocks.", reason: other_family!("Flux") },
    Trait { text: "joint_blocks.", reason: other_family!("Stable Diffusion 3") },
    Trait { text: ".norm1_context.", reason: other_family!("Stable Diffusion 3") },
    Trait { text: "adaln_single.", reason: other_family!("PixArt") },
    Trait { text: "effnet_mapper.", reason: other_family!("Stable Cascade") },
    Trait { text: "clip_txt_pooled_mapper.", reason: other_family!("Stable Cascade") },
    Trait { text: ".time_stack.", reason: other_family!("Stable Video Diffusion") },
    Trait { text: "mlp_t5.", reason: other_family!("Hunyuan-DiT") },
    Trait { text: "cap_embedder.", reason: other_family!("Lumina") },
    Trait { text: ".img_mod.", reason: other_family!("Qwen-Image") },
    Trait { text: "patch_embedding.", reason: other_family!("Wan") },
    Trait { text: "body.0.rdb1.", reason: UPSCALER },
    Trait { text: ".RDB1.", reason: UPSCALER },
];

/// Parts of checkpoints in files of their own, by how the name of a tensor begins.
const PARTS: &[Trait] = &[
    Trait { text: "down_blocks.", reason: UNET },
    Trait { text: "input_blocks.", reason: UNET },
    Trait { text: "encoder.conv_in.", reason: AUTOENCODER },
    Trait { text: "decoder.conv_in.", reason: AUTOENCODER },
    Trait { text: "first_stage_model.", reason: AUTOENCODER },
    Trait { text: "text_model.", reason: TEXT_ENCODER },
];

/// What a file with tensors of these names is and what to do, where it is known to be no
/// checkpoint to draw with.
pub(super) fn reason(names: &[String]) -> Option<&'static str> {
    TRAITS
        .iter()
        .find(|found| names.iter().any(|name| name.contains(found.text)))
        .map(|found| found.reason)
}

/// What a file without a UNet at the usual place is.
pub(super) fn part(names: &[String]) -> Option<&'static str> {
    if names.len() <= 2 && names.iter().any(|name| matches!(name.as_str(), "clip_g" | "clip_l")) {
        return Some(EMBEDDING);
    }
    PARTS
        .iter()
        .find(|found| names.iter().any(|name| name.starts_with(found.text)))
        .map(|found| found.reason)
}
