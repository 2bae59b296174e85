//! What an image starts from.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::Upscaler;

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
    /// Another picture, which goes on beyond its edges.
    Outpaint(Outpaint),
    /// Another picture, which is made larger in tiles of the request's size.
    Upscale(Upscale),
    /// A picture of the request's size that is made first, enlarged and painted over.
    HiresFix(HiresFix),
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

impl InitImage {
    /// A picture that is cropped to the request's proportions.
    pub fn new(init: impl Into<PathBuf>, strength: f64) -> Self {
        Self { init: init.into(), strength, resize: ResizeMode::Crop, raw: false }
    }
}

impl Inpaint {
    /// What generative fill means: the masked part and its surroundings are painted at the model's
    /// size, from colours that flow in, and meet the picture in a soft edge.
    pub fn new(image: InitImage, mask: impl Into<PathBuf>) -> Self {
        Self {
            image,
            mask: mask.into(),
            invert_mask: false,
            mask_mode: MaskMode::Hard,
            mask_grow: 4,
            feather: 0,
            mask_blur: 4.0,
            masked_content: MaskedContent::Fill,
            mask_area: MaskArea::Masked,
            mask_padding: 32,
            match_colours: true,
        }
    }
}

/// What is added to a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outpaint {
    /// The picture.
    #[serde(flatten)]
    pub image: InitImage,
    /// By how much it grows.
    pub extend: Extension,
}

/// Pixels that are added on each side of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Extension {
    /// On the left.
    #[serde(default)]
    pub left: u32,
    /// At the top.
    #[serde(default)]
    pub top: u32,
    /// On the right.
    #[serde(default)]
    pub right: u32,
    /// At the bottom.
    #[serde(default)]
    pub bottom: u32,
}

/// Text that does not say how a picture grows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no extension; write sides with pixels, such as left=128,bottom=64")]
pub struct BadExtension(String);

impl FromStr for Extension {
    type Err = BadExtension;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadExtension(text.to_owned());
        let mut extension = Self::default();
        for part in text.split(',') {
            let (side, pixels) = part.split_once('=').ok_or_else(bad)?;
            let side = match side.trim() {
                "left" => &mut extension.left,
                "top" => &mut extension.top,
                "right" => &mut extension.right,
                "bottom" => &mut extension.bottom,
                _ => return Err(bad()),
            };
            if *side != 0 {
                return Err(bad());
            }
            *side = pixels.trim().parse().map_err(|_| bad())?;
        }
        Ok(extension)
    }
}

/// How a picture is made larger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Upscale {
    /// The picture, and the strength with which each tile is painted over.
    #[serde(flatten)]
    pub image: InitImage,
    /// By how much.
    pub scale: f64,
    /// The file of the network that enlarges it first (ESRGAN); without one it is Lanczos' kernel.
    #[serde(default)]
    pub upscaler: Option<PathBuf>,
}

/// The second pass over a picture that was just made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HiresFix {
    /// By how much the picture is enlarged.
    #[serde(rename = "hires")]
    pub scale: f64,
    /// The strength of the second pass.
    #[serde(rename = "hires-strength")]
    pub strength: f64,
    /// The steps of the second pass, of which it makes the share of its strength.
    #[serde(rename = "hires-steps")]
    pub steps: u32,
    /// What makes the first picture larger.
    #[serde(rename = "hires-upscaler", default)]
    pub upscaler: Upscaler,
}

impl Mode {
    /// The picture that is started from.
    pub fn init(&self) -> Option<&InitImage> {
        match self {
            Self::TextToImage | Self::HiresFix(_) => None,
            Self::ImageToImage(image) => Some(image),
            Self::Inpaint(inpaint) => Some(&inpaint.image),
            Self::Outpaint(outpaint) => Some(&outpaint.image),
            Self::Upscale(upscale) => Some(&upscale.image),
        }
    }

    /// The file of the network that makes a picture larger.
    pub fn upscaler(&self) -> Option<&Path> {
        match self {
            Self::Upscale(upscale) => upscale.upscaler.as_deref(),
            Self::HiresFix(hires) => hires.upscaler.network(),
            _ => None,
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
        /// Greys hold on to the picture less and less as noise vanishes (soft inpainting).
        Soft = "soft",
        /// Greys are held for a part of the steps (Differential Diffusion).
        Differential = "differential",
    }
}

named_choice! {
    /// What makes the picture of a first pass larger: its pixels, or its latents, which are not
    /// decoded then. A1111's names, as [`HiresUpscaler::display_name`] gives them.
    HiresUpscaler, "upscaler" {
        /// Pixels, with Lanczos' kernel.
        #[default]
        Lanczos = "lanczos",
        /// Latents, bilinear.
        Latent = "latent",
        /// Latents, bilinear with the kernel widened where they shrink.
        LatentAntialiased = "latent-antialiased",
        /// Latents, bicubic.
        LatentBicubic = "latent-bicubic",
        /// Latents, bicubic with the kernel widened where they shrink.
        LatentBicubicAntialiased = "latent-bicubic-antialiased",
        /// Latents, the nearest by torch's old rule.
        LatentNearest = "latent-nearest",
        /// Latents, the nearest to the middle of each.
        LatentNearestExact = "latent-nearest-exact",
    }
}

impl HiresUpscaler {
    /// Every upscaler.
    pub const ALL: [Self; 7] = [
        Self::Lanczos,
        Self::Latent,
        Self::LatentAntialiased,
        Self::LatentBicubic,
        Self::LatentBicubicAntialiased,
        Self::LatentNearest,
        Self::LatentNearestExact,
    ];

    /// A1111's name.
    pub fn display_name(self) -> &'static str {
        match self {
            Self::Lanczos => "Lanczos",
            Self::Latent => "Latent",
            Self::LatentAntialiased => "Latent (antialiased)",
            Self::LatentBicubic => "Latent (bicubic)",
            Self::LatentBicubicAntialiased => "Latent (bicubic antialiased)",
            Self::LatentNearest => "Latent (nearest)",
            Self::LatentNearestExact => "Latent (nearest-exact)",
        }
    }

    /// The upscaler with a [`display_name`](Self::display_name).
    pub fn from_display_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|upscaler| upscaler.display_name() == name)
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
        let extend = "left=8,bottom=16".parse().unwrap();
        let others = [
            Mode::Outpaint(Outpaint { image: image.clone(), extend }),
            Mode::Upscale(Upscale { image: image.clone(), scale: 2.0, upscaler: None }),
            Mode::HiresFix(HiresFix {
                scale: 1.5,
                strength: 0.5,
                steps: 10,
                upscaler: HiresUpscaler::LatentBicubic.into(),
            }),
            Mode::TextToImage,
            Mode::ImageToImage(image),
            inpaint.clone(),
        ];
        for mode in others {
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

    #[test]
    fn a_second_pass_without_an_upscaler_enlarges_pixels() {
        let json = r#"{"mode":"hires-fix","hires":2,"hires-strength":0.5,"hires-steps":9}"#;
        let Mode::HiresFix(hires) = serde_json::from_str(json).unwrap() else { unreachable!() };
        assert_eq!(hires.upscaler, HiresUpscaler::Lanczos.into());
        for upscaler in HiresUpscaler::ALL {
            assert_eq!(upscaler.to_string().parse(), Ok(upscaler));
            assert_eq!(HiresUpscaler::from_display_name(upscaler.display_name()), Some(upscaler));
        }
    }

    #[test]
    fn extensions_name_each_side_once() {
        let extension: Extension = "right=3, top=5".parse().unwrap();
        assert_eq!(extension, Extension { right: 3, top: 5, ..Extension::default() });
        for bad in ["", "left", "left=", "left=-1", "up=3", "left=1,left=2", "left=1 top=2"] {
            assert!(bad.parse::<Extension>().unwrap_err().to_string().contains("left=128"));
        }
    }
}
