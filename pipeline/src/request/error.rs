//! Why a request cannot be met.

use std::fmt;

use thiserror::Error;

use super::{LATENT_CELL, MAX_EDGE, MAX_PROMPT_BYTES, MAX_SCALE, MAX_SIDE, MaskMode};

/// Why a request cannot be met.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RequestError {
    /// A side is no multiple of [`LATENT_CELL`].
    #[error(
        "the {side} must be a multiple of {LATENT_CELL} pixels, but is {pixels}; use {} or {}",
        nearest_sides(*pixels).0, nearest_sides(*pixels).1
    )]
    UnevenSide {
        /// Which side.
        side: Side,
        /// Its length.
        pixels: u32,
    },
    /// A side is too long.
    #[error("the {side} may be {MAX_SIDE} pixels at most, but is {pixels}")]
    LongSide {
        /// Which side.
        side: Side,
        /// Its length.
        pixels: u32,
    },
    /// A prompt is too long to be read.
    #[error("the {prompt} is {bytes} bytes long; at most {MAX_PROMPT_BYTES} are read")]
    LongPrompt {
        /// Which prompt.
        prompt: PromptPart,
        /// Its length in UTF-8.
        bytes: usize,
    },
    /// No step is asked for.
    #[error("at least 1 step is needed, but 0 were asked for")]
    NoSteps,
    /// The second pass of a hires fix has no step.
    #[error("the second pass needs at least 1 step")]
    NoStepsInSecondPass,
    /// No image is asked for.
    #[error("at least 1 image must be asked for")]
    NoImages,
    /// The guidance scale is not finite.
    #[error("the guidance scale must be a number, but is {0}")]
    Guidance(f64),
    /// A picture is made smaller, or larger than it can be.
    #[error("pictures are made 1 to {MAX_SCALE} times as large, but {0} was asked for")]
    Scale(f64),
    /// A strength is outside of its range.
    #[error("the {strength} must be above 0 and at most 1, but is {value}")]
    Strength {
        /// Which strength.
        strength: StrengthKind,
        /// Its value.
        value: f64,
    },
    /// A share is outside of its range.
    #[error("the {share} must be from 0 to 1, but is {value}")]
    Share {
        /// Which share.
        share: Share,
        /// Its value.
        value: f64,
    },
    /// More tokens are merged than can be, or fewer than none.
    #[error(
        "the share of merged tokens must be from 0 to {most}, since of each square of four tokens \
         one remains, but is {value}"
    )]
    TokenMerging {
        /// The largest share.
        most: f64,
        /// The share.
        value: f64,
    },
    /// The text encoder has no layer for this clip skip.
    #[error("the clip skip must be from 1, which skips nothing, to {most}, but is {value}")]
    ClipSkip {
        /// The largest that is accepted.
        most: u32,
        /// Its value.
        value: u32,
    },
    /// The deep part of the UNet is run too rarely, or never.
    #[error(
        "the deep part of the UNet is run once in 1 to {most} evaluations, where 1 is each time, \
         but {value} were asked for"
    )]
    DeepCache {
        /// The largest interval that is accepted.
        most: u32,
        /// The interval.
        value: u32,
    },
    /// A picture is extended by nothing or too much.
    #[error("a picture is extended by 1 to {MAX_SIDE} pixels on a side")]
    Extension,
    /// A mask's edge is moved or softened too far.
    #[error("the mask may be blurred, grown, shrunk and feathered by {MAX_EDGE} pixels at most")]
    MaskEdge,
    /// The edge of a mask with greys is moved or softened.
    #[error("a mask in mode {0} has its own greys: it can be blurred, but not grown or feathered")]
    MaskOfGreys(MaskMode),
    /// What is to be as in diffusers has what diffusers has not.
    #[error("raw inpainting is that of diffusers: the whole picture with a hard mask")]
    RawInpainting,
    /// There are too many ControlNets.
    #[error("at most {most} ControlNets steer a picture")]
    TooManyControlNets {
        /// The most that are accepted.
        most: usize,
    },
    /// A ControlNet cannot act as it is set.
    #[error("ControlNet {number}: {source}")]
    ControlNet {
        /// Its place among those of the request, from 1.
        number: usize,
        /// What is wrong.
        source: ControlError,
    },
    /// A second prompt is given to a checkpoint with one text encoder.
    #[error("{model} has one text encoder, so there is no place for a second prompt")]
    SecondPrompt {
        /// The checkpoint.
        model: String,
    },
    /// `AND` is used with a checkpoint that is told its guidance.
    #[error("guidance was distilled into {model}, so it follows one prompt; write it without AND")]
    JoinedPrompts {
        /// The checkpoint.
        model: String,
    },
    /// The picture to start from, or its mask, has another size than the request.
    #[error("the picture and its mask must be {width}×{height} pixels, as the request is")]
    PictureSize {
        /// The request's width in pixels.
        width: u32,
        /// The request's height in pixels.
        height: u32,
    },
    /// A checkpoint that fills is given latents instead of the picture around the mask.
    #[error("a model that was trained to fill needs a picture around the mask, not latents")]
    LatentsAroundMask,
    /// The picture that the mode starts from was not given.
    #[error("the picture to start from was not read")]
    NoPicture,
    /// What ControlNets are shown was not given, or has another size.
    #[error("each of the {count} ControlNets needs a map of {width}×{height} pixels")]
    ControlMaps {
        /// Number of ControlNets.
        count: usize,
        /// The request's width in pixels.
        width: u32,
        /// The request's height in pixels.
        height: u32,
    },
}

/// Why a ControlNet cannot act as it is set.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum ControlError {
    /// The weight is outside of its range.
    #[error("the weight must be 0 to {most}, but is {value}")]
    Weight {
        /// The largest that is accepted.
        most: f64,
        /// Its value.
        value: f64,
    },
    /// It acts over no share of the steps.
    #[error("it must begin before it ends, between 0 and 1, but acts from {start} to {end}")]
    Steps {
        /// The share after which it begins.
        start: f64,
        /// The share after which it ends.
        end: f64,
    },
    /// The thresholds of the edges are wrong.
    #[error("canny-low must be from 0 to canny-high, but they are {low} and {high}")]
    Canny {
        /// The lower threshold.
        low: f64,
        /// The upper threshold.
        high: f64,
    },
    /// A picture that is extended needs an image of what is to come.
    #[error(
        "give a control-image of the extended picture, which shows what is to come beyond its edges"
    )]
    NoImageOfExtended,
    /// There is no image to be steered by.
    #[error("give a control-image; only pictures that start from one have another")]
    NoImage,
}

/// A side of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From left to right.
    Width,
    /// From top to bottom.
    Height,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Width => "width",
            Self::Height => "height",
        })
    }
}

/// One of the prompts of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptPart {
    /// What to draw.
    Prompt,
    /// What to keep away from.
    Negative,
    /// What the second text encoder reads.
    Second,
    /// What the second text encoder is to keep away from.
    SecondNegative,
}

impl fmt::Display for PromptPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Prompt => "prompt",
            Self::Negative => "negative prompt",
            Self::Second => "second prompt",
            Self::SecondNegative => "second negative prompt",
        })
    }
}

/// What a strength is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrengthKind {
    /// Of the picture that is started from.
    Picture,
    /// Of the second pass of a hires fix.
    SecondPass,
}

impl fmt::Display for StrengthKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Picture => "strength",
            Self::SecondPass => "strength of the second pass",
        })
    }
}

/// A setting that is a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// After which the negative prompt is left out.
    SkipNegativeAfter,
    /// After which cross-attention is reused.
    ReuseCrossAttentionAfter,
    /// Of the contrast that guidance adds.
    GuidanceRescale,
    /// Of the way to another seed's noise.
    VariationStrength,
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SkipNegativeAfter => "share after which the negative prompt is left out",
            Self::ReuseCrossAttentionAfter => "share after which cross-attention is reused",
            Self::GuidanceRescale => "guidance rescale",
            Self::VariationStrength => "variation strength",
        })
    }
}

/// The nearest lengths of a side that can be: the longest that is not longer, or the shortest there
/// is, and the next.
pub fn nearest_sides(pixels: u32) -> (u32, u32) {
    let below = (pixels / LATENT_CELL).max(1) * LATENT_CELL;
    (below, below.saturating_add(LATENT_CELL))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::request::{
        Control, ControlPreprocess, ControlUnit, GenerationRequest, InitImage, Inpaint, Mode,
    };

    type Change = fn(&mut GenerationRequest);

    fn unit() -> ControlUnit {
        ControlUnit {
            model: "model".into(),
            image: Some("lines.png".into()),
            preprocess: ControlPreprocess::None,
            weight: 1.0,
            start: 0.0,
            end: 1.0,
            guess: false,
        }
    }

    fn inpaint() -> Inpaint {
        Inpaint::new(InitImage::new("", 0.5), "")
    }

    #[test]
    fn each_wrong_setting_is_named() {
        let share = |share, value| RequestError::Share { share, value };
        let wrong_control = |source| RequestError::ControlNet { number: 2, source };
        let too_long = |prompt| RequestError::LongPrompt { prompt, bytes: MAX_PROMPT_BYTES + 1 };
        let cases: [(Change, RequestError); 15] = [
            (|r| r.width = 60, RequestError::UnevenSide { side: Side::Width, pixels: 60 }),
            (|r| r.height = 0, RequestError::UnevenSide { side: Side::Height, pixels: 0 }),
            (|r| r.height = 16_392, RequestError::LongSide { side: Side::Height, pixels: 16_392 }),
            (
                |r| r.width = u32::MAX,
                RequestError::LongSide { side: Side::Width, pixels: u32::MAX },
            ),
            (
                |r| r.negative_prompt = "x".repeat(MAX_PROMPT_BYTES + 1),
                too_long(PromptPart::Negative),
            ),
            (
                |r| r.conditioning.prompt_2 = Some("x".repeat(MAX_PROMPT_BYTES + 1)),
                too_long(PromptPart::Second),
            ),
            (|r| r.guidance_scale = f64::INFINITY, RequestError::Guidance(f64::INFINITY)),
            (|r| r.conditioning.clip_skip = 13, RequestError::ClipSkip { most: 12, value: 13 }),
            (|r| r.conditioning.guidance_rescale = 1.5, share(Share::GuidanceRescale, 1.5)),
            (
                |r| r.fewer_operations.token_merging = 0.8,
                RequestError::TokenMerging { most: 0.75, value: 0.8 },
            ),
            (
                |r| r.fewer_operations.deep_cache = 0,
                RequestError::DeepCache { most: 100, value: 0 },
            ),
            (
                |r| r.control = Control(vec![unit(), ControlUnit { weight: -1.0, ..unit() }]),
                wrong_control(ControlError::Weight { most: 10.0, value: -1.0 }),
            ),
            (
                |r| r.control = Control(vec![unit(), ControlUnit { end: 0.0, ..unit() }]),
                wrong_control(ControlError::Steps { start: 0.0, end: 0.0 }),
            ),
            (
                |r| {
                    r.mode = Mode::Inpaint(Inpaint {
                        mask_mode: MaskMode::Soft,
                        feather: 3,
                        ..inpaint()
                    })
                },
                RequestError::MaskOfGreys(MaskMode::Soft),
            ),
            (
                |r| r.mode = Mode::Inpaint(Inpaint { mask_blur: 2000.0, ..inpaint() }),
                RequestError::MaskEdge,
            ),
        ];
        let right = GenerationRequest::new("a cat");
        right.check().unwrap();
        for (change, error) in cases {
            let mut wrong = right.clone();
            change(&mut wrong);
            assert_eq!(wrong.check(), Err(error));
        }
    }

    #[test]
    fn sides_that_could_be_are_told() {
        let message = |pixels| RequestError::UnevenSide { side: Side::Width, pixels }.to_string();
        assert!(message(60).ends_with("but is 60; use 56 or 64"));
        assert!(message(0).ends_with("but is 0; use 8 or 16"));
    }
}
