//! From what is painted to a request, and from its pictures to a layer.

use std::sync::Arc;

use emberbrush_pipeline::{
    diffusion::CheckpointDefaults,
    editing::Sources,
    picture::{Picture, PictureError},
    request::{
        Extension, GenerationRequest, InitImage, Inpaint, MaskMode, MaskedContent, Mode, Outpaint,
    },
};
use image::GenericImageView;
use thiserror::Error;

use super::{
    document::Document,
    geometry::PixelRectangle,
    layer::{FillLayer, LayerError, LayerId, Patch, Variation},
    mask::{self, MaskTiles},
};
use crate::engine::SourcePictures;

/// How many variations a fill has.
pub const VARIATIONS: u32 = 3;

/// Share of the steps that are made over a sketch, which should be recognised in the result.
const SKETCH_STRENGTH: f64 = 0.6;

/// Pixels around a mask that the model sees.
const PADDING: u32 = 32;

/// What is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// What is under the mask, as a new layer. Without a mask, all of the picture under a sketch.
    Mask,
    /// More variations of a layer.
    Layer(LayerId),
    /// What is added on the sides, as a new layer.
    Extension(Extension),
}

/// Whose colours a fill takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FillColours {
    /// What the model recommends, or those of the surroundings; those of a sketch where there is
    /// one.
    #[default]
    Usual,
    /// Those of the surroundings.
    Matched,
    /// Those that the model gives it.
    Own,
}

/// How a fill is made and joined to what is around it; see [`Inpaint`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FillOptions {
    /// Share of the steps that are made, above 0 and up to 1; `None` for the usual one.
    pub strength: Option<f64>,
    /// Whose colours the fill takes.
    pub colours: FillColours,
    /// How greys of the mask are used.
    pub mask_mode: MaskMode,
    /// Pixels by which the mask grows. Only for [`MaskMode::Hard`].
    pub grow: i32,
    /// Pixels over which the result fades out. Only for [`MaskMode::Hard`].
    pub feather: u32,
    /// Standard deviation of the blur of the mask in pixels.
    pub blur: f64,
}

impl Default for FillOptions {
    fn default() -> Self {
        Self {
            strength: None,
            colours: FillColours::Usual,
            mask_mode: MaskMode::Hard,
            grow: 4,
            feather: 0,
            blur: 4.0,
        }
    }
}

/// Why a fill cannot be asked for, or its result not be used.
#[derive(Debug, Error)]
pub enum FillError {
    /// Nothing says where to paint.
    #[error("paint a mask first: it says what is filled. Or sketch with the colour brush")]
    NothingPainted,
    /// The layer is gone.
    #[error("the layer was deleted")]
    NoLayer,
    /// The document has another size than when the fill was asked for.
    #[error("the document was extended since the fill was started; fill again")]
    Changed,
    /// The mask cannot be used.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The result is no layer for this document.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// A fill that is asked for.
#[derive(Debug, Clone)]
pub struct FillJob {
    /// What the engine is asked: prompt, seed, settings, and [`VARIATIONS`] pictures.
    pub request: GenerationRequest,
    /// The pictures for it.
    pub pictures: SourcePictures,
    sources: Sources,
    target: Target,
    size: (u32, u32),
    /// What the patch shows before.
    below: Arc<Picture>,
    mask: Arc<MaskTiles>,
    patch: Patch,
}

impl FillJob {
    /// Asks for `target` in `document` with the prompt, seed and sampler of `base`; its mode and
    /// size are replaced. For a layer that is made anew, prompt and settings are the layer's own
    /// and only the seed is that of `base`. `checkpoint` says how the model is used.
    ///
    /// Reads every pixel of the document several times: seconds for large ones.
    ///
    /// # Errors
    ///
    /// [`FillError::NothingPainted`], [`FillError::NoLayer`], and [`FillError::Picture`] for a mask
    /// of which nothing is left.
    pub fn new(
        document: &Document,
        target: Target,
        options: FillOptions,
        base: &GenerationRequest,
        checkpoint: &CheckpointDefaults,
    ) -> Result<Self, FillError> {
        let size = document.size();
        let mut request = GenerationRequest { count: VARIATIONS, ..base.clone() };
        let composite = match target {
            Target::Layer(id) => document.composite_below(id),
            Target::Mask | Target::Extension(_) => document.composite(),
        };
        let (mode, init, mask) = match target {
            Target::Mask => {
                let has_sketch = !document.sketch().is_all([0; 4]);
                let mask = match (mask::is_empty(document.mask()), has_sketch) {
                    (true, false) => return Err(FillError::NothingPainted),
                    (true, true) => MaskTiles::new(size.0, size.1, 255),
                    (false, _) => document.mask().clone(),
                };
                let mode = inpaint(options, &request.prompt, has_sketch, checkpoint);
                (mode, document.with_sketch(&composite), mask)
            }
            Target::Layer(id) => {
                let layer = document.layer(id).ok_or(FillError::NoLayer)?;
                let mut own = layer.request().clone();
                own.seed = base.seed;
                own.count = VARIATIONS;
                // What was added to the picture is a part of it by now.
                if !matches!(own.mode, Mode::Inpaint(_)) {
                    let edge = FillOptions { grow: 0, blur: 0.0, ..FillOptions::default() };
                    own.mode = inpaint(edge, &own.prompt, false, checkpoint);
                }
                request = own;
                (request.mode.clone(), composite.clone(), MaskTiles::clone(layer.mask()))
            }
            Target::Extension(extend) => {
                let image = init_image(options.strength, &request.prompt, checkpoint);
                let mode = Mode::Outpaint(Outpaint { image, extend });
                (mode, composite.clone(), MaskTiles::new(size.0, size.1, 0))
            }
        };
        let pictures =
            SourcePictures { init: Arc::new(init), mask: Some(Arc::new(mask::to_picture(&mask))) };
        let init = Picture::clone(&pictures.init);
        let sources = Sources::new(&mode, init, pictures.mask.as_deref())?;
        let (width, height) = sources.working_size(&mode, checkpoint.native_side);
        request = GenerationRequest { mode, width, height, ..request };
        let weights = sources.weights().ok_or(PictureError::EmptyMask)?;
        let patch = match target {
            Target::Layer(id) => document.layer(id).ok_or(FillError::NoLayer)?.patch().clone(),
            Target::Mask | Target::Extension(_) => Patch::of(weights)?,
        };
        let mask = match target {
            Target::Extension(Extension { left, top, right, bottom }) => {
                // The new part, so that it can be made anew later.
                let (width, height) = (size.0 + left + right, size.1 + top + bottom);
                MaskTiles::new(size.0, size.1, 0).placed(width, height, left, top, 255)
            }
            Target::Mask | Target::Layer(_) => mask,
        };
        let below = Arc::new(patch.cut(&sources.init));
        Ok(Self { request, pictures, sources, target, size, below, mask: Arc::new(mask), patch })
    }

    /// What is painted.
    pub fn target(&self) -> Target {
        self.target
    }

    /// The part of the document that the model sees and the part that is replaced; `None` where
    /// they are not parts of the document as it is.
    pub fn areas(&self) -> Option<(PixelRectangle, PixelRectangle)> {
        if matches!(self.target, Target::Extension(_)) {
            return None;
        }
        let seen = self.sources.rectangle(&self.request).ok()?;
        let (left, top) = (u32::try_from(seen.left).ok()?, u32::try_from(seen.top).ok()?);
        let seen = PixelRectangle {
            left,
            top,
            right: left.saturating_add(seen.width),
            bottom: top.saturating_add(seen.height),
        };
        Some((seen, self.patch.area()))
    }

    /// Picture `index` of the request as a variation.
    ///
    /// # Errors
    ///
    /// [`FillError::Layer`] where the picture does not have the size and kind of the one that was
    /// given.
    pub fn variation(&self, index: u32, picture: &Picture) -> Result<Variation, FillError> {
        let (needed, found) = (self.sources.init.pixels.dimensions(), picture.pixels.dimensions());
        if needed != found {
            return Err(FillError::Layer(LayerError::Size {
                found_width: found.0,
                found_height: found.1,
                width: needed.0,
                height: needed.1,
            }));
        }
        let painted = Arc::new(self.patch.cut(picture));
        Ok(Variation::new(self.request.seed_of(index), painted, Arc::clone(&self.below))?)
    }

    /// The document with these variations accepted, of which `chosen` is shown: as a layer on top,
    /// with mask and sketch used up, or as the last ones of the layer that was made anew.
    ///
    /// # Errors
    ///
    /// [`FillError::Changed`], [`FillError::NoLayer`], and [`FillError::Layer`] without variations.
    pub fn accept(
        &self,
        document: &Document,
        variations: Vec<Variation>,
        chosen: usize,
    ) -> Result<Document, FillError> {
        if document.size() != self.size {
            return Err(FillError::Changed);
        }
        let mut document = document.clone();
        match self.target {
            Target::Layer(id) => {
                let added = document.edit_layer(id, |layer| {
                    let first = layer.variations().len();
                    for variation in variations {
                        layer.add(variation)?;
                    }
                    layer.choose(first + chosen)
                });
                added.ok_or(FillError::NoLayer)??;
            }
            Target::Mask | Target::Extension(_) => {
                let mut layer = FillLayer::new(
                    document.new_layer_id(),
                    self.request.clone(),
                    Arc::clone(&self.mask),
                    self.patch.clone(),
                    variations,
                )?;
                layer.choose(chosen)?;
                match self.target {
                    Target::Extension(extension) => document.extend(extension),
                    _ => document.clear_surfaces(),
                }
                document.add_layer(layer)?;
            }
        }
        Ok(document)
    }
}

fn init_image(strength: Option<f64>, prompt: &str, checkpoint: &CheckpointDefaults) -> InitImage {
    InitImage::new("", strength.unwrap_or_else(|| checkpoint.fill_strength(prompt)))
}

fn inpaint(
    options: FillOptions,
    prompt: &str,
    has_sketch: bool,
    checkpoint: &CheckpointDefaults,
) -> Mode {
    let is_hard = options.mask_mode == MaskMode::Hard;
    let sketch_strength = has_sketch.then_some(SKETCH_STRENGTH);
    let match_colours = match options.colours {
        FillColours::Usual => !has_sketch && checkpoint.matches_colours(prompt),
        FillColours::Matched => true,
        FillColours::Own => false,
    };
    Mode::Inpaint(Inpaint {
        mask_mode: options.mask_mode,
        mask_grow: if is_hard { options.grow } else { 0 },
        feather: if is_hard { options.feather } else { 0 },
        mask_blur: options.blur,
        masked_content: match is_hard && !has_sketch {
            true => MaskedContent::Fill,
            false => MaskedContent::Original,
        },
        mask_padding: PADDING,
        match_colours,
        ..Inpaint::new(init_image(options.strength.or(sketch_strength), prompt, checkpoint), "")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use emberbrush_pipeline::{
        checkpoint::folder::RecommendedSettings,
        picture::{self, Rectangle, recount},
    };
    use image::{ColorType, Rgb, Rgb32FImage};

    use super::*;
    use crate::canvas::{
        brush::{Brush, Ink, Stroke, StrokePoint},
        document::tests::{picture as test_picture, request},
    };

    const CHECKPOINT: CheckpointDefaults =
        CheckpointDefaults { native_side: 64, ..CheckpointDefaults::UNKNOWN };

    const OPTIONS: FillOptions = FillOptions {
        strength: None,
        colours: FillColours::Usual,
        mask_mode: MaskMode::Hard,
        grow: 2,
        feather: 3,
        blur: 1.0,
    };

    fn painted_document(ink: Ink) -> Document {
        let mut document = Document::new("test", test_picture(ColorType::Rgb16, 1));
        let brush = Brush { size: 14.0, hardness: 1.0 };
        let mut stroke = Stroke::new(brush, ink, document.sketch());
        let (mask, sketch) = document.surfaces_mut();
        stroke.extend(StrokePoint::new(30.0, 20.0), mask, sketch);
        document
    }

    /// What the engine gives: a colour, pasted by the job's weights.
    fn result(job: &FillJob, index: u32) -> Picture {
        let (width, height) = job.sources.init.pixels.dimensions();
        let colours = Rgb32FImage::from_pixel(width, height, Rgb([index as f32 / 3.0, 0.5, 0.25]));
        let all = Rectangle { left: 0, top: 0, width, height };
        picture::paste(&job.sources.init, colours, all, job.sources.weights().unwrap())
    }

    fn variations(job: &FillJob) -> Vec<Variation> {
        (0..VARIATIONS).map(|index| job.variation(index, &result(job, index)).unwrap()).collect()
    }

    #[test]
    fn a_fill_becomes_a_layer_that_shows_the_engines_picture() {
        let document = painted_document(Ink::MaskPaint);
        let job = FillJob::new(&document, Target::Mask, OPTIONS, &request(), &CHECKPOINT).unwrap();
        assert!(matches!(&job.request.mode, Mode::Inpaint(inpaint) if inpaint.feather == 3));
        assert_eq!((job.request.count, job.request.prompt.as_str()), (3, "a red apple"));
        assert_eq!((job.request.width % 8, job.request.height % 8), (0, 0));
        job.request.check().unwrap();
        let accepted = job.accept(&document, variations(&job), 1).unwrap();
        assert_eq!(accepted.composite(), result(&job, 1));
        let outside =
            recount(document.picture(), &accepted.composite(), job.sources.weights().unwrap());
        assert!(outside.outside > 1000 && outside.changed == 0, "{outside:?}");
        let layer = &accepted.layers()[0];
        assert_eq!(layer.mask().to_vec(0), document.mask().to_vec(0));
        assert_eq!(layer.variations()[2].seed(), 7);
        assert!(mask::is_empty(accepted.mask()), "the mask is used up");
    }

    #[test]
    fn a_layer_is_made_anew_over_what_lies_below_it() {
        let document = painted_document(Ink::MaskPaint);
        let job = FillJob::new(&document, Target::Mask, OPTIONS, &request(), &CHECKPOINT).unwrap();
        let mut document = job.accept(&document, variations(&job), 0).unwrap();
        let id = document.layers()[0].id();
        let other = GenerationRequest { seed: 90, prompt: "other".to_owned(), ..request() };
        let again =
            FillJob::new(&document, Target::Layer(id), OPTIONS, &other, &CHECKPOINT).unwrap();
        assert_eq!(again.request, GenerationRequest { seed: 90, ..job.request.clone() });
        assert_eq!(&again.sources.init, document.picture().as_ref(), "without the layer itself");
        let accepted = again.accept(&document, variations(&again), 2).unwrap();
        let layer = accepted.layer(id).unwrap();
        assert_eq!((layer.variations().len(), layer.chosen()), (6, 5));
        assert_eq!(layer.shown().seed(), 92);
        assert_eq!(accepted.composite(), result(&again, 2));
        document.remove_layer(id);
        let gone = again.accept(&document, variations(&again), 0).unwrap_err();
        assert!(matches!(gone, FillError::NoLayer));
    }

    #[test]
    fn an_extension_makes_the_document_larger_and_can_be_made_anew() {
        let mut document = painted_document(Ink::MaskPaint);
        document.clear_surfaces();
        let extension = Extension { left: 20, bottom: 9, ..Extension::default() };
        let target = Target::Extension(extension);
        let job = FillJob::new(&document, target, OPTIONS, &request(), &CHECKPOINT).unwrap();
        let accepted = job.accept(&document, variations(&job), 1).unwrap();
        assert_eq!(accepted.size(), (81, 56));
        assert_eq!(accepted.composite(), result(&job, 1));
        let inside = accepted.composite().pixels.crop_imm(20, 0, 61, 47);
        assert_eq!(inside, document.picture().pixels);
        let late = job.accept(&accepted, variations(&job), 1).unwrap_err();
        assert!(matches!(late, FillError::Changed));

        let id = accepted.layers()[0].id();
        let again =
            FillJob::new(&accepted, Target::Layer(id), OPTIONS, &request(), &CHECKPOINT).unwrap();
        let accepted = again.accept(&accepted, variations(&again), 0).unwrap();
        assert_eq!(accepted.layer(id).unwrap().variations().len(), 6);
        assert_eq!(accepted.composite().pixels.crop_imm(20, 0, 61, 47), document.picture().pixels);
    }

    #[test]
    fn a_sketch_is_where_a_fill_starts() {
        let document = painted_document(Ink::SketchPaint([255, 0, 0]));
        let job = FillJob::new(&document, Target::Mask, OPTIONS, &request(), &CHECKPOINT).unwrap();
        let Mode::Inpaint(inpaint) = &job.request.mode else { unreachable!() };
        assert_eq!(inpaint.masked_content, MaskedContent::Original);
        assert_eq!(inpaint.image.strength, SKETCH_STRENGTH);
        let start = job.sources.init.pixels.to_rgb8();
        assert_eq!(start.get_pixel(30, 20).0, [255, 0, 0]);
        let weights = job.sources.weights().unwrap();
        assert!(weights.iter().all(|&weight| weight == 1.0), "without a mask all of it");
        let accepted = job.accept(&document, variations(&job), 0).unwrap();
        assert_eq!(accepted.composite(), result(&job, 0));
        assert!(accepted.sketch().is_all([0; 4]));
    }

    #[test]
    fn what_cannot_be_filled_says_why() {
        let document = Document::new("test", test_picture(ColorType::Rgb8, 1));
        let error =
            FillJob::new(&document, Target::Mask, OPTIONS, &request(), &CHECKPOINT).unwrap_err();
        assert!(error.to_string().contains("paint a mask first"), "{error}");
        let gone = Target::Layer(LayerId(9));
        let error = FillJob::new(&document, gone, OPTIONS, &request(), &CHECKPOINT).unwrap_err();
        assert!(matches!(error, FillError::NoLayer));
        let document = painted_document(Ink::MaskPaint);
        let shrunk = FillOptions { grow: -100, ..OPTIONS };
        let error =
            FillJob::new(&document, Target::Mask, shrunk, &request(), &CHECKPOINT).unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
        let job = FillJob::new(&document, Target::Mask, OPTIONS, &request(), &CHECKPOINT).unwrap();
        let small = Picture::new(image::DynamicImage::new_rgb8(8, 8));
        assert!(matches!(job.variation(0, &small), Err(FillError::Layer(_))));
        assert!(matches!(job.accept(&document, Vec::new(), 0), Err(FillError::Layer(_))));
    }

    #[test]
    fn without_a_prompt_the_surroundings_decide_more() {
        let document = painted_document(Ink::MaskPaint);
        let strength = |prompt: &str, strength: Option<f64>, is_inpainting_model: bool| {
            let base = GenerationRequest { prompt: prompt.to_owned(), ..request() };
            let options = FillOptions { strength, ..OPTIONS };
            let checkpoint = CheckpointDefaults { is_inpainting_model, ..CHECKPOINT };
            let job = FillJob::new(&document, Target::Mask, options, &base, &checkpoint).unwrap();
            job.request.mode.init().unwrap().strength
        };
        assert_eq!(strength("an apple", None, false), 0.75);
        assert_eq!(strength(" ", None, false), 0.5);
        assert_eq!(strength("an apple", None, true), 1.0);
        assert_eq!(strength(" ", None, true), 1.0);
        assert_eq!(strength("", Some(0.9), true), 0.9);
    }

    #[test]
    fn a_fill_keeps_its_colours_where_the_model_recommends_it_or_the_person_asks_for_it() {
        let matches = |ink, prompt: &str, recommended: Option<bool>, colours| {
            let document = painted_document(ink);
            let base = GenerationRequest { prompt: prompt.to_owned(), ..request() };
            let recommended =
                RecommendedSettings { match_colours: recommended, ..CHECKPOINT.recommended };
            let checkpoint = CheckpointDefaults { recommended, ..CHECKPOINT };
            let options = FillOptions { colours, ..OPTIONS };
            let job = FillJob::new(&document, Target::Mask, options, &base, &checkpoint).unwrap();
            match job.request.mode {
                Mode::Inpaint(inpaint) => Some(inpaint.match_colours),
                _ => None,
            }
        };
        let (mask, usual) = (Ink::MaskPaint, FillColours::Usual);
        assert_eq!(matches(mask, "an apple", None, usual), Some(true));
        assert_eq!(matches(mask, "an apple", Some(true), usual), Some(true));
        assert_eq!(matches(mask, "an apple", Some(false), usual), Some(false));
        assert_eq!(matches(mask, " ", Some(false), usual), Some(true));
        assert_eq!(matches(mask, "an apple", Some(false), FillColours::Matched), Some(true));
        assert_eq!(matches(mask, " ", Some(true), FillColours::Own), Some(false));
        let sketch = Ink::SketchPaint([255, 0, 0]);
        assert_eq!(matches(sketch, "an apple", Some(true), usual), Some(false));
        assert_eq!(matches(sketch, "an apple", None, FillColours::Matched), Some(true));
    }
}
