//! Runs of diffusers that goldens hold: what was asked for, and what came out.

use emberbrush_pipeline::{
    diffusion::{LatentBlending, LatentContent, MaskInput},
    picture::{self, MaskSource, Picture},
    request::{
        ConditioningOptions, GenerationRequest, InitImage, Inpaint, MaskArea, MaskedContent, Mode,
        ResizeMode, SizeConditions,
    },
    schedulers::{Sampler, Schedule},
};
use image::{DynamicImage, GenericImageView, GrayImage, RgbImage};
use serde_json::Value;

use crate::{Golden, fixtures};

/// Width and height of every picture.
const SIDE: u32 = 64;

/// The cases of `fixtures/goldens/{file}.json`.
pub fn cases(file: &str) -> Vec<Value> {
    let path = fixtures().join("goldens").join(format!("{file}.json"));
    let text = std::fs::read(path).expect("index of goldens");
    let index: Value = serde_json::from_slice(&text).expect("JSON");
    index["cases"].as_array().expect("cases").clone()
}

/// The case `name` of `fixtures/goldens/{file}.json`.
pub fn case(file: &str, name: &str) -> Value {
    let is_meant = |case: &Value| case["name"] == name;
    cases(file).into_iter().find(is_meant).unwrap_or_else(|| panic!("no case `{name}` in {file}"))
}

/// The name of a case.
pub fn name(case: &Value) -> &str {
    text(case, "name")
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

/// What a case starts from. The pictures are not files: tests have them in memory.
pub fn mode(case: &Value) -> Mode {
    let pipeline = text(case, "pipeline");
    let init = || InitImage {
        resize: ResizeMode::Stretch,
        raw: true,
        ..InitImage::new("image.png", case["strength"].as_f64().expect("strength"))
    };
    if pipeline.contains("Inpaint") {
        Mode::Inpaint(Inpaint {
            mask_grow: 0,
            mask_blur: 0.0,
            masked_content: MaskedContent::Original,
            mask_area: MaskArea::Whole,
            mask_padding: 0,
            match_colours: false,
            ..Inpaint::new(init(), "mask.png")
        })
    } else if pipeline.contains("Img2Img") {
        Mode::ImageToImage(init())
    } else {
        Mode::TextToImage
    }
}

/// The request for picture `index` of a case's batch, with seed 0.
pub fn request(case: &Value, index: usize) -> GenerationRequest {
    let text = |key: &str| match &case[key] {
        Value::Array(each) => each[index].as_str().unwrap_or_default(),
        one => one.as_str().unwrap_or_default(),
    };
    let side = |key: &str| case[key].as_u64().map_or(SIDE, |side| side as u32);
    let karras = case["scheduler_overrides"]["use_karras_sigmas"] == Value::Bool(true);
    GenerationRequest {
        mode: mode(case),
        negative_prompt: text("negative_prompt").to_owned(),
        width: side("width"),
        height: side("height"),
        steps: case["num_inference_steps"].as_u64().expect("steps") as u32,
        guidance_scale: case["guidance_scale"].as_f64().expect("guidance_scale"),
        sampler: sampler(case),
        schedule: if karras { Schedule::Karras } else { Schedule::Automatic },
        conditioning: conditioning(case),
        ..GenerationRequest::new(text("prompt"))
    }
}

/// The sampler of a case, which names diffusers' class.
pub fn sampler(case: &Value) -> Sampler {
    Sampler::from_class_name(text(case, "scheduler")).expect("a scheduler that is known")
}

/// What diffusers' pipelines take beside the prompts.
fn conditioning(case: &Value) -> ConditioningOptions {
    let text = |key: &str| case[key].as_str().map(str::to_owned);
    let pair = |key: &str| -> Option<(u32, u32)> {
        let number = |place: usize| case[key][place].as_u64().map(|number| number as u32);
        // Heights and tops come first there.
        Some((number(1)?, number(0)?))
    };
    let sizes = pair("original_size").map(|original| SizeConditions {
        original,
        crop: pair("crops_coords_top_left").expect("crop"),
        target: pair("target_size").expect("target"),
    });
    ConditioningOptions {
        prompt_2: text("prompt_2"),
        negative_2: text("negative_prompt_2"),
        clip_skip: case["clip_skip"].as_u64().unwrap_or(0) as u32 + 1,
        guidance_rescale: case["guidance_rescale"].as_f64().unwrap_or(0.0),
        size_conditions: sizes,
        ..ConditioningOptions::default()
    }
}

/// A mask as diffusers' inpainting takes it.
pub fn mask_input(mask: &Picture) -> MaskInput {
    let size = mask.pixels.dimensions();
    let mask = picture::mask_from(mask, size, false, MaskSource::Grey).expect("mask");
    MaskInput { mask, content: LatentContent::Image, blending: LatentBlending::Nearest }
}

impl Golden {
    /// Numbers from 0 to 255.
    pub fn bytes(&self, key: &str) -> Vec<u8> {
        self.data(key).convert::<u8>().try_to_vec().expect("bytes")
    }

    /// A picture of bytes.
    pub fn colours(&self, key: &str) -> RgbImage {
        RgbImage::from_raw(SIDE, SIDE, self.bytes(key)).expect("three bytes for each pixel")
    }

    /// A mask of bytes.
    pub fn greys(&self, key: &str) -> GrayImage {
        GrayImage::from_raw(SIDE, SIDE, self.bytes(key)).expect("a byte for each pixel")
    }

    /// [`colours`](Self::colours) as a picture to start from.
    pub fn picture(&self, key: &str) -> Picture {
        Picture::new(DynamicImage::ImageRgb8(self.colours(key)))
    }

    /// [`greys`](Self::greys) as a picture.
    pub fn mask(&self, key: &str) -> Picture {
        Picture::new(DynamicImage::ImageLuma8(self.greys(key)))
    }
}

/// The largest difference of two pictures of one size, in grey levels.
#[track_caller]
pub fn furthest(one: &[u8], other: &[u8]) -> u8 {
    assert_eq!(one.len(), other.len(), "size");
    one.iter().zip(other).map(|(one, other)| one.abs_diff(*other)).max().unwrap_or(0)
}
