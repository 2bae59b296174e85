//! What an image starts from.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// What an image starts from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Mode {
    /// Noise alone.
    #[default]
    TextToImage,
    /// Another picture.
    ImageToImage(InitImage),
    /// Another picture, of which a part is painted anew.
    Inpaint(Inpaint),
}

/// The picture that an image starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InitImage {
    /// Its file.
    pub init: PathBuf,
    /// How much is painted anew: the share of the noise that is added and of the steps that are
    /// made, above 0 and up to 1.
    pub strength: f64,
    /// How it comes to the request's size.
    pub resize: ResizeMode,
    /// Whether it is taken as diffusers takes it: alpha and colour profile left out, the mask at
    /// every 8th pixel, and no pasting.
    pub raw: bool,
}

/// What is painted anew in a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inpaint {
    /// The picture.
    #[serde(flatten)]
    pub image: InitImage,
    /// The mask's file, of the picture's size: white is repainted.
    pub mask: PathBuf,
    /// Whether black is repainted instead.
    #[serde(rename = "invert-mask")]
    pub invert_mask: bool,
    /// How the mask's greys are used.
    #[serde(rename = "mask-mode")]
    pub mask_mode: MaskMode,
    /// Pixels by which the mask grows; it shrinks where negative.
    #[serde(rename = "mask-grow")]
    pub mask_grow: i32,
    /// Pixels over which the result fades into the picture outside of the mask.
    pub feather: u32,
    /// Standard deviation in pixels of the blur of the mask.
    #[serde(rename = "mask-blur")]
    pub mask_blur: f64,
    /// What lies under the mask before noise is added.
    #[serde(rename = "masked-content")]
    pub masked_content: MaskedContent,
    /// How much of the picture the model sees.
    #[serde(rename = "mask-area")]
    pub mask_area: MaskArea,
    /// Pixels around the mask that the model sees with [`MaskArea::Masked`].
    #[serde(rename = "mask-padding")]
    pub mask_padding: u32,
    /// Whether colours are shifted to meet the picture's at the border of the mask.
    #[serde(rename = "match-colours")]
    pub match_colours: bool,
}

impl Mode {
    /// The picture that is started from.
    pub fn init(&self) -> Option<&InitImage> {
        match self {
            Self::TextToImage => None,
            Self::ImageToImage(image) => Some(image),
            Self::Inpaint(inpaint) => Some(&inpaint.image),
        }
    }
}

/// A name that a choice does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{name}`; there are {}", known.join(", "))]
pub struct UnknownChoice {
    what: &'static str,
    name: String,
    known: &'static [&'static str],
}

/// A choice that has names on the command line and in a request.
macro_rules! named_choice {
    ($(#[$about:meta])* $name:ident, $what:literal {
        $($(#[$doc:meta])* $variant:ident = $text:literal,)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(match self { $(Self::$variant => $text,)* })
            }
        }

        impl FromStr for $name {
            type Err = UnknownChoice;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(UnknownChoice {
                        what: $what,
                        name: name.to_owned(),
                        known: &[$($text),*],
                    }),
                }
            }
        }
    };
}

named_choice! {
    /// How a picture is brought to a size with other proportions.
    ResizeMode, "resize mode" {
        /// The largest part around the middle with the right proportions.
        #[default]
        Crop = "crop",
        /// The whole picture, with its edges drawn out where it is too narrow.
        Fit = "fit",
        /// The whole picture, distorted.
        Stretch = "stretch",
    }
}

named_choice! {
    /// What lies under the mask before noise is added.
    MaskedContent, "masked content" {
        /// Colours that flow in from the surroundings.
        #[default]
        Fill = "fill",
        /// What the picture has there.
        Original = "original",
        /// Noise in place of latents.
        LatentNoise = "latent-noise",
        /// Latents of zero.
        LatentNothing = "latent-nothing",
    }
}

named_choice! {
    /// How the greys of a mask are used.
    MaskMode, "mask mode" {
        /// Above 128 of 255 is repainted, all else is kept.
        #[default]
        Hard = "hard",
        /// Greys hold on to the picture more and more as noise vanishes (soft inpainting).
        Soft = "soft",
        /// Greys are held for a part of the steps (Differential Diffusion).
        Differential = "differential",
    }
}

named_choice! {
    /// How much of the picture the model sees.
    MaskArea, "mask area" {
        /// All of it, brought to the model's size.
        Whole = "whole",
        /// The masked part with padding, brought to the model's size.
        #[default]
        Masked = "masked",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_by_the_names_of_the_flags_and_read_back() {
        let image = InitImage {
            init: PathBuf::from("cat.png"),
            strength: 0.75,
            resize: ResizeMode::Fit,
            raw: false,
        };
        let inpaint = Mode::Inpaint(Inpaint {
            image: image.clone(),
            mask: PathBuf::from("mask.png"),
            invert_mask: true,
            mask_mode: MaskMode::Soft,
            mask_grow: -2,
            feather: 8,
            mask_blur: 1.5,
            masked_content: MaskedContent::LatentNoise,
            mask_area: MaskArea::Whole,
            mask_padding: 32,
            match_colours: true,
        });
        for mode in [Mode::TextToImage, Mode::ImageToImage(image), inpaint.clone()] {
            let json = serde_json::to_string(&mode).unwrap();
            assert_eq!(serde_json::from_str::<Mode>(&json).unwrap(), mode);
        }
        let json = serde_json::to_value(&inpaint).unwrap();
        assert_eq!(json["mode"], "inpaint");
        assert_eq!(json["masked-content"], "latent-noise");
        assert_eq!(json["init"], "cat.png");
    }

    #[test]
    fn an_unknown_name_is_told_with_those_that_exist() {
        let error = "round".parse::<ResizeMode>().unwrap_err();
        assert_eq!(error.to_string(), "unknown resize mode `round`; there are crop, fit, stretch");
    }
}
