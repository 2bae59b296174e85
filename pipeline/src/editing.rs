//! Changing pictures: from files to the model's size, and back into the picture.

mod control;
mod group;
mod image_upscaler;
mod latent_upscaling;
mod outpaint;
mod upscale;

use std::ops::ControlFlow;

use control::ControlPictures;
pub use group::{GroupPicture, edit_group};
use image::{DynamicImage, GenericImageView, Rgb32FImage};
pub(crate) use image_upscaler::TILE;
pub use image_upscaler::{ImageUpscaler, UpscalerFile};
pub use latent_upscaling::{LatentInterpolation, upscale_latents};
pub(crate) use upscale::enlarged;

use crate::{
    diffusion::{
        DiffusionPipeline, ImageInput, LatentBlending, LatentContent, MaskInput, NoiseSource,
        SeededNoise, SoftInpainting, StartingImage,
    },
    error::PipelineError,
    picture::{self, Mask, MaskEdge, MaskSource, Picture, PictureError, Recount, Rectangle},
    progress::ProgressEvent,
    request::{
        GenerationRequest, Inpaint, MaskArea, MaskMode, MaskedContent, Mode, RequestError,
        ResizeMode,
    },
};

/// Pictures of up to this many times the native area are worked on at their own size.
const LARGEST_OWN_AREA: f64 = 2.25;

/// The proportions that the model's view of a masked part has at most.
const LARGEST_ASPECT: f64 = 2.0;

/// The pictures that a request names, read.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The picture to start from.
    pub init: Picture,
    /// Where it is repainted, softened and at its size.
    mask: Option<PreparedMask>,
}

#[derive(Debug, Clone)]
struct PreparedMask {
    /// What the model repaints.
    repaint: Mask,
    /// By what weight the result replaces the picture.
    composite: Mask,
    /// Whether nothing is pasted.
    raw: bool,
}

/// A finished picture.
#[derive(Debug, Clone)]
pub struct Edited {
    /// The pixels: of the picture's own size and kind where a part was repainted, else 8-bit
    /// colours of the request's size.
    pub picture: Picture,
}

impl Sources {
    /// Reads the files that the request's mode names; `None` where it needs none.
    ///
    /// # Errors
    ///
    /// A [`PictureError`] where a file cannot be read or the mask does not fit the picture.
    pub fn read(mode: &Mode) -> Result<Option<Self>, PictureError> {
        let Some(init) = mode.init() else { return Ok(None) };
        let picture = picture::read(&init.init)?;
        let mask = match mode {
            Mode::Inpaint(inpaint) => Some(picture::read(&inpaint.mask)?),
            _ => None,
        };
        Self::new(mode, picture, mask.as_ref()).map(Some)
    }

    /// Takes pictures that are in memory. `mask` is needed for [`Mode::Inpaint`] and else not
    /// looked at.
    ///
    /// # Errors
    ///
    /// A [`PictureError`] where the mask does not fit the picture or repaints nothing.
    pub fn new(mode: &Mode, init: Picture, mask: Option<&Picture>) -> Result<Self, PictureError> {
        if let Mode::Outpaint(outpaint) = mode {
            let (init, mask) = outpaint::canvas(&init, outpaint.extend);
            let mask = PreparedMask { repaint: mask.clone(), composite: mask, raw: false };
            return Ok(Self { init, mask: Some(mask) });
        }
        let Mode::Inpaint(inpaint) = mode else { return Ok(Self { init, mask: None }) };
        let mask = mask.ok_or(PictureError::EmptyMask)?;
        let size = init.pixels.dimensions();
        let source = match inpaint.mask_mode {
            MaskMode::Hard if !inpaint.image.raw => MaskSource::Binary,
            _ => MaskSource::Grey,
        };
        let mask = picture::mask_from(mask, size, inpaint.invert_mask, source)?;
        let mask = if inpaint.image.raw {
            PreparedMask { composite: mask.clone(), repaint: mask, raw: true }
        } else {
            let edge = MaskEdge {
                grow: inpaint.mask_grow,
                feather: inpaint.feather,
                blur: inpaint.mask_blur as f32,
            };
            let softened = edge.apply(&mask)?;
            let mut composite = softened.clone();
            if inpaint.mask_mode != MaskMode::Hard {
                // A grey of the mask says how much changes, which is the model's part; pasting by
                // the same grey would weaken it twice.
                for value in composite.iter_mut() {
                    *value = (*value * 2.0).min(1.0);
                }
            }
            PreparedMask { repaint: softened, composite, raw: false }
        };
        Ok(Self { init, mask: Some(mask) })
    }

    /// The size in pixels at which a model for squares of `native_side` best works on this.
    pub fn working_size(&self, mode: &Mode, native_side: u32) -> (u32, u32) {
        let size = self.init.pixels.dimensions();
        if matches!(mode, Mode::Upscale(_) | Mode::Outpaint(_)) {
            return (native_side, native_side);
        }
        if mode.init().is_some_and(|init| init.raw) {
            let cells = |side: u32| (side / 8).max(1) * 8;
            return (cells(size.0), cells(size.1));
        }
        if let (Mode::Inpaint(inpaint), Some(mask)) = (mode, &self.mask)
            && inpaint.mask_area == MaskArea::Masked
            && let Some(bounds) = Rectangle::around(&mask.composite, inpaint.mask_padding)
        {
            let aspect = f64::from(bounds.width) / f64::from(bounds.height);
            let view = bounds.grown_to(aspect.clamp(1.0 / LARGEST_ASPECT, LARGEST_ASPECT), size);
            // The masked part is brought to the model's own size, smaller or larger.
            return picture::native_size((view.width, view.height), native_side);
        }
        picture::fitted_size(size, native_side, LARGEST_OWN_AREA)
    }

    /// Compares a finished picture with the one it was made from, outside of what was repainted.
    /// `None` where all of it was.
    pub fn recount(&self, finished: &Picture) -> Option<Recount> {
        self.mask.as_ref().map(|mask| picture::recount(&self.init, finished, &mask.composite))
    }

    /// By what weight, from 0 to 1, the result replaces each pixel of the picture; `None` where all
    /// of it is new.
    pub fn weights(&self) -> Option<&Mask> {
        self.mask.as_ref().map(|mask| &mask.composite)
    }

    /// Whether a finished picture is the one to start from with a part painted anew, and not a
    /// new one.
    pub fn is_pasted(&self, finished: &Picture) -> bool {
        self.mask.as_ref().is_some_and(|mask| !mask.raw)
            && finished.pixels.dimensions() == self.init.pixels.dimensions()
    }

    /// What the model sees of the picture.
    ///
    /// # Errors
    ///
    /// [`PictureError::MaskCropped`] where a part of the mask lies outside of it.
    pub fn rectangle(&self, request: &GenerationRequest) -> Result<Rectangle, PictureError> {
        let size = self.init.pixels.dimensions();
        let target = (request.width, request.height);
        let resize = request.mode.init().map_or(ResizeMode::default(), |init| init.resize);
        let (Mode::Inpaint(inpaint), Some(mask)) = (&request.mode, &self.mask) else {
            return Ok(Rectangle::for_mode(size, target, resize));
        };
        let bounds = Rectangle::around(&mask.composite, inpaint.mask_padding)
            .ok_or(PictureError::EmptyMask)?;
        if inpaint.mask_area == MaskArea::Masked {
            return Ok(bounds.grown_to(f64::from(target.0) / f64::from(target.1), size));
        }
        let rectangle = Rectangle::for_mode(size, target, resize);
        let hidden = mask
            .composite
            .enumerate_pixels()
            .any(|(x, y, weight)| weight.0[0] > 0.0 && rectangle.position(x, y).is_none());
        if hidden && !inpaint.image.raw {
            return Err(PictureError::MaskCropped);
        }
        Ok(rectangle)
    }
}

/// Makes image `index` of any request, from the pictures that [`Sources::read`] gives for it, with
/// as much memory as [`DiffusionPipeline::plan_memory`] settles.
///
/// # Errors
///
/// Where the request cannot be met, and [`PipelineError::Cancelled`] where `on_event` breaks.
pub fn edit(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
    sources: Option<&Sources>,
    index: u32,
    on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
) -> Result<Edited, PipelineError> {
    let device = pipeline.device().device.clone();
    pipeline.within_memory(request, sources, 1, on_event, |pipeline, _, on_event| {
        let noise = &mut SeededNoise::new(request, index, &device);
        edit_from(pipeline, request, sources, noise, on_event)
    })
}

/// [`edit`] from noise that is given.
///
/// # Errors
///
/// Those of [`edit`].
pub fn edit_from(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
    sources: Option<&Sources>,
    noise: &mut dyn NoiseSource,
    on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
) -> Result<Edited, PipelineError> {
    request.check()?;
    let control = ControlPictures::read(request, sources)?;
    edit_controlled(pipeline, request, sources, &control, noise, on_event)
}

/// Whether the pictures that the request's ControlNets are shown can be read.
///
/// # Errors
///
/// The [`PictureError`] of the first that cannot.
pub fn check_control(
    request: &GenerationRequest,
    sources: Option<&Sources>,
) -> Result<(), PictureError> {
    ControlPictures::read(request, sources).map(drop)
}

/// [`edit_from`] with the pictures that the request's ControlNets are shown.
fn edit_controlled(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
    sources: Option<&Sources>,
    control: &ControlPictures,
    noise: &mut dyn NoiseSource,
    on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
) -> Result<Edited, PipelineError> {
    let prepared = PreparedRun::new(request, sources, control)?;
    if let Some(prepared) = prepared {
        let (input, maps) = (prepared.input.as_ref(), &prepared.control_maps);
        let image = pipeline.generate_controlled(request, input, maps, noise, on_event)?;
        return Ok(prepared.finish(image));
    }
    let picture = match (&request.mode, sources) {
        (Mode::HiresFix(hires), _) => {
            let image = upscale::hires_fix(pipeline, request, hires, control, noise, on_event)?;
            eight_bit(&image, None)
        }
        (Mode::Outpaint(outpaint), Some(sources)) => {
            outpaint::outpaint(pipeline, request, outpaint, sources, control, noise, on_event)?
        }
        (Mode::Upscale(upscale), Some(sources)) => {
            let source = sources.init.to_srgb();
            let run = upscale::UpscaleRun { request, upscale, control };
            let image = upscale::upscale(pipeline, run, &source, noise, on_event)?;
            finished(&sources.init, image, false)
        }
        _ => return Err(unread()),
    };
    Ok(Edited { picture })
}

fn unread() -> PipelineError {
    RequestError::NoPicture.into()
}

/// An image that takes one run of the sampler: what the model is given, and what becomes of what
/// it paints.
struct PreparedRun<'a> {
    /// The picture to start from; `None` for noise alone.
    input: Option<ImageInput>,
    /// What each ControlNet is shown, of the request's size.
    control_maps: Vec<Rgb32FImage>,
    outcome: Outcome<'a>,
}

/// What becomes of a painted picture.
enum Outcome<'a> {
    /// It is the image.
    Whole,
    /// It is the image, in the colour profile of the picture that it was made from.
    Remade { init: &'a Picture, raw: bool },
    /// It is pasted into the picture that it was made from.
    Pasted {
        inpaint: &'a Inpaint,
        init: &'a Picture,
        /// `init` as the model is shown it.
        source: Rgb32FImage,
        rectangle: Rectangle,
        composite: &'a Mask,
    },
}

impl<'a> PreparedRun<'a> {
    /// `None` for images that take several runs.
    fn new(
        request: &'a GenerationRequest,
        sources: Option<&'a Sources>,
        control: &ControlPictures,
    ) -> Result<Option<Self>, PipelineError> {
        let size = (request.width, request.height);
        let init = match &request.mode {
            Mode::TextToImage => {
                let control_maps = control.whole(size);
                return Ok(Some(Self { input: None, control_maps, outcome: Outcome::Whole }));
            }
            Mode::ImageToImage(init) => init,
            Mode::Inpaint(inpaint) => &inpaint.image,
            Mode::Outpaint(_) | Mode::Upscale(_) | Mode::HiresFix(_) => return Ok(None),
        };
        let sources = sources.ok_or_else(unread)?;
        let rectangle = sources.rectangle(request)?;
        let control_maps = control.maps(rectangle, size);
        let source = if init.raw { sources.init.to_raw() } else { sources.init.to_srgb() };
        let seen = picture::view(&source, rectangle, size.0, size.1);
        let remade = Outcome::Remade { init: &sources.init, raw: init.raw };
        let (Mode::Inpaint(inpaint), Some(mask)) = (&request.mode, &sources.mask) else {
            let image = StartingImage::Pixels(seen);
            let strength = init.strength;
            let input = ImageInput { image, strength, mask: None, first_pass: None };
            return Ok(Some(Self { input: Some(input), control_maps, outcome: remade }));
        };
        let input = masked_input(inpaint, mask, seen, rectangle, size);
        let (init, composite) = (&sources.init, &mask.composite);
        let outcome = match inpaint.image.raw {
            true => remade,
            false => Outcome::Pasted { inpaint, init, source, rectangle, composite },
        };
        Ok(Some(Self { input: Some(input), control_maps, outcome }))
    }

    /// The image, from what the model painted.
    fn finish(&self, image: Rgb32FImage) -> Edited {
        let picture = match &self.outcome {
            Outcome::Whole => eight_bit(&image, None),
            Outcome::Remade { init, raw } => finished(init, image, *raw),
            Outcome::Pasted { inpaint, init, source, rectangle, composite } => {
                let (width, height) = (rectangle.width, rectangle.height);
                let mut painted = picture::resized(&image, width, height);
                if inpaint.match_colours {
                    let original = picture::view(source, *rectangle, width, height);
                    let composite = picture::view_mask(composite, *rectangle, width, height);
                    painted = picture::match_colours(&original, &painted, &composite);
                }
                picture::paste(init, painted, *rectangle, composite)
            }
        };
        Edited { picture }
    }
}

/// What the model is given for a fill.
fn masked_input(
    inpaint: &Inpaint,
    mask: &PreparedMask,
    seen: Rgb32FImage,
    rectangle: Rectangle,
    size: (u32, u32),
) -> ImageInput {
    let repaint = picture::view_mask(&mask.repaint, rectangle, size.0, size.1);
    let blending = match inpaint.mask_mode {
        MaskMode::Hard if inpaint.image.raw => LatentBlending::Nearest,
        MaskMode::Hard => LatentBlending::Covering,
        MaskMode::Soft => LatentBlending::Soft(SoftInpainting::default()),
        MaskMode::Differential => LatentBlending::Differential,
    };
    let content = match inpaint.masked_content {
        MaskedContent::Fill | MaskedContent::Original => LatentContent::Image,
        MaskedContent::LatentNoise => LatentContent::Noise,
        MaskedContent::LatentNothing => LatentContent::Nothing,
    };
    let image = match inpaint.masked_content {
        MaskedContent::Fill => picture::filled_from_surroundings(&seen, &repaint),
        _ => seen,
    };
    let mask = Some(MaskInput { mask: repaint, content, blending });
    let image = StartingImage::Pixels(image);
    ImageInput { image, strength: inpaint.image.strength, mask, first_pass: None }
}

/// A whole new picture with 8-bit colours, in the colour profile of the one it was made from.
fn finished(init: &Picture, image: Rgb32FImage, raw: bool) -> Picture {
    let image = if raw { image } else { init.from_srgb(image) };
    eight_bit(&image, init.icc_profile.clone().filter(|_| !raw))
}

fn eight_bit(image: &Rgb32FImage, icc_profile: Option<Vec<u8>>) -> Picture {
    let pixels = image::RgbImage::from_fn(image.width(), image.height(), |x, y| {
        image::Rgb(image.get_pixel(x, y).0.map(eight_bit_value))
    });
    Picture { pixels: DynamicImage::ImageRgb8(pixels), icc_profile }
}

/// A value from 0 to 1 in 8 bits, as NumPy rounds.
fn eight_bit_value(value: f32) -> u8 {
    (value * 255.0).round_ties_even() as u8
}
