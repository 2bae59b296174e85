//! Latents from a picture: image to image, and fill.

use burn::tensor::{DType, Tensor, TensorData};
use emberbrush_layers::interrupt::Checkpoint;
use emberbrush_vae::{AnyEncoder, AutoencoderConfig};
use image::Rgb32FImage;

use super::{
    DiffusionPipeline, NoiseSource,
    latent_blending::{Known, LatentBlending},
    load,
    vae_tiling::Encoded,
};
use crate::{
    error::PipelineError,
    picture::Mask,
    picture_tensor,
    request::{GenerationRequest, LATENT_CELL, RequestError},
    schedulers::{Compat, Sampler, Scheduler},
};

/// The picture that a run starts from, of the request's size.
#[derive(Debug, Clone)]
pub struct ImageInput {
    /// What it shows.
    pub image: StartingImage,
    /// The share of the noise that is added and of the steps that are made, above 0 and up to 1
    /// (diffusers `strength`).
    pub strength: f64,
    /// What is repainted; `None` repaints everything.
    pub mask: Option<MaskInput>,
    /// The steps of the run that made the picture, where this is its second pass.
    pub first_pass: Option<u32>,
}

/// What a run starts from.
#[derive(Debug, Clone)]
pub enum StartingImage {
    /// sRGB values from 0 to 1, of the request's size.
    Pixels(Rgb32FImage),
    /// Latents, scaled for the UNet, `[1, 4, height / 8, width / 8]`.
    Latents(Box<Tensor<4>>),
}

/// What is repainted, and how the rest is held.
#[derive(Debug, Clone)]
pub struct MaskInput {
    /// 0 keeps, 1 repaints; of the image's size.
    pub mask: Mask,
    /// What lies under the mask before noise is added.
    pub content: LatentContent,
    /// How the mask becomes one of latents.
    pub blending: LatentBlending,
}

/// What lies under the mask before noise is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LatentContent {
    /// What the image has there.
    #[default]
    Image,
    /// Noise in place of latents.
    Noise,
    /// Latents of zero.
    Nothing,
}

/// Where denoising starts.
#[derive(Debug, Clone)]
pub struct DenoisingStart {
    /// Noise, or an image with noise, `[1, 4, height / 8, width / 8]` in f32.
    pub latents: Tensor<4>,
    /// The first evaluation of the scheduler.
    pub evaluation: usize,
    /// What is blended in after each step.
    pub(super) known: Option<Known>,
    /// Mask and latents of the masked image, the UNet's last five of nine channels.
    pub(super) inpainting: Option<Tensor<4>>,
    /// What each ControlNet is shown, `[1, 3, height, width]` in f32.
    pub(super) control_maps: Vec<Tensor<4>>,
}

impl DenoisingStart {
    /// A run over the whole schedule.
    pub fn noise(latents: Tensor<4>) -> Self {
        Self { latents, evaluation: 0, known: None, inpainting: None, control_maps: Vec::new() }
    }
}

impl DiffusionPipeline {
    /// Whether the UNet was trained to fill: it takes a mask and a masked image beside latents.
    pub fn is_inpainting_model(&self) -> bool {
        self.inpainting
    }

    /// Starts from noise alone. A model that was trained to fill is given a grey picture of which
    /// all is to be painted.
    ///
    /// # Errors
    ///
    /// For such a model those of [`start_from_image`](Self::start_from_image).
    pub fn start_from_noise(
        &mut self,
        request: &GenerationRequest,
        scheduler: &dyn Scheduler,
        noise: &mut dyn NoiseSource,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<DenoisingStart, PipelineError> {
        if self.inpainting {
            let grey = Rgb32FImage::from_pixel(request.width, request.height, image::Rgb([0.5; 3]));
            let image = StartingImage::Pixels(grey);
            let input = ImageInput { image, strength: 1.0, mask: None, first_pass: None };
            return self.start_from_image(request, &input, scheduler, noise, checkpoint);
        }
        Ok(DenoisingStart::noise(self.prepare_latents(request, scheduler, noise)))
    }

    /// Starts from a picture with noise added, drawn in the order of diffusers: the image's
    /// posterior, the run's noise, the masked image's posterior.
    ///
    /// # Errors
    ///
    /// Where the picture does not have the request's size, the strength leaves no step, or the
    /// encoder cannot be loaded.
    pub fn start_from_image(
        &mut self,
        request: &GenerationRequest,
        input: &ImageInput,
        scheduler: &dyn Scheduler,
        noise: &mut dyn NoiseSource,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<DenoisingStart, PipelineError> {
        let size = (request.width, request.height);
        let side = |pixels: u32| (pixels / LATENT_CELL) as usize;
        let shape = [1, self.latent_channels, side(size.1), side(size.0)];
        let fits = match &input.image {
            StartingImage::Pixels(image) => image.dimensions() == size,
            StartingImage::Latents(latents) => latents.dims() == shape,
        };
        let mask_size = input.mask.as_ref().map(|mask| mask.mask.dimensions());
        if !fits || mask_size.is_some_and(|mask| mask != size) {
            let (width, height) = size;
            return Err(RequestError::PictureSize { width, height }.into());
        }
        let steps = scheduler.steps();
        let made = made_steps(request, input, steps);
        let evaluation = scheduler.start_after(steps - made)?;

        let masked = self.inpainting || input.mask.is_some();
        let from_noise = masked && input.strength >= 1.0;
        let original = match &input.image {
            StartingImage::Pixels(_) if self.inpainting && from_noise => None,
            StartingImage::Pixels(image) => {
                // A1111's image has a seed for the noise of runs alone.
                let posterior = match request.compat {
                    Compat::Diffusers => self.posterior(shape, noise),
                    Compat::A1111 => None,
                };
                let image = self.image_tensor(image);
                Some(self.encode_image(image, posterior, checkpoint)?)
            }
            StartingImage::Latents(latents) => Some(Tensor::clone(latents)),
        };
        let drawn = noise.initial(shape);
        let latent_mask = input
            .mask
            .as_ref()
            .map(|mask| self.mask_tensor(&latent_mask(&mask.mask, mask.blending)));
        let inpainting = if masked {
            let posterior = self.posterior(shape, noise);
            if self.inpainting {
                Some(self.masked_image(input, size, posterior, checkpoint)?)
            } else {
                None
            }
        } else {
            None
        };
        let latents = match &original {
            Some(original) if !from_noise => {
                let content = input.mask.as_ref().map(|mask| mask.content).unwrap_or_default();
                let original = match (&latent_mask, content) {
                    (None, _) | (_, LatentContent::Image) => original.clone(),
                    (Some(mask), LatentContent::Nothing) => {
                        original.clone() * (mask.clone().neg() + 1.0)
                    }
                    (Some(mask), LatentContent::Noise) => {
                        original.clone() * (mask.clone().neg() + 1.0)
                            + noise.next(shape) * mask.clone()
                    }
                };
                scheduler.add_noise(original, drawn.clone(), evaluation)
            }
            _ => drawn.clone() * scheduler.init_noise_sigma(),
        };
        let known = match (original, latent_mask, &input.mask) {
            (Some(latents), Some(mask), Some(input)) if !self.inpainting => Some(Known {
                latents,
                noise: drawn,
                mask,
                blending: input.blending,
                start: evaluation,
            }),
            _ => None,
        };
        Ok(DenoisingStart { latents, evaluation, known, inpainting, control_maps: Vec::new() })
    }

    /// The last five channels of a nine-channel UNet: the mask, and the latents of the picture
    /// with mid-grey under the mask. Latents without a mask show nothing but grey.
    fn masked_image(
        &mut self,
        input: &ImageInput,
        size: (u32, u32),
        posterior: Option<Tensor<4>>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, PipelineError> {
        let all = Mask::from_pixel(size.0, size.1, image::Luma([1.0]));
        let (mask, blending) = input
            .mask
            .as_ref()
            .map_or((&all, LatentBlending::Nearest), |mask| (&mask.mask, mask.blending));
        let threshold = if blending == LatentBlending::Nearest { 0.5 } else { f32::MIN_POSITIVE };
        let binary = binarised(mask, threshold);
        let blending = match blending {
            LatentBlending::Nearest => LatentBlending::Nearest,
            _ => LatentBlending::Covering,
        };
        let mask = self.mask_tensor(&latent_mask(&binary, blending));
        let kept = self.mask_tensor(&binary).neg() + 1.0;
        let seen = match (&input.image, &input.mask) {
            (StartingImage::Pixels(image), _) => self.image_tensor(image) * kept,
            (StartingImage::Latents(_), None) => Tensor::cat(vec![kept; 3], 1),
            (StartingImage::Latents(_), Some(_)) => {
                return Err(RequestError::LatentsAroundMask.into());
            }
        };
        let latents = self.encode_image(seen, posterior, checkpoint)?;
        Ok(Tensor::cat(vec![mask, latents], 1))
    }

    /// The noise that decides which latents stand for a picture; `None` where the autoencoder has
    /// but one answer, and diffusers draws none.
    fn posterior(&self, shape: [usize; 4], noise: &mut dyn NoiseSource) -> Option<Tensor<4>> {
        match self.vae_config {
            AutoencoderConfig::Kl(_) => Some(noise.next(shape)),
            AutoencoderConfig::Tiny(_) => None,
        }
    }

    /// The latents of pictures in −1..=1, scaled for the UNet, from the posterior's noise; without
    /// it the most likely ones.
    ///
    /// # Shapes
    ///
    /// - image: `[1, 3, height, width]`
    /// - posterior and output: `[1, 4, height / 8, width / 8]`
    pub fn encode_image(
        &mut self,
        image: Tensor<4>,
        posterior: Option<Tensor<4>>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, PipelineError> {
        if self.vae_encoder.is_none() {
            let mut encoder = load::encoder(&self.components, &self.vae_config)?;
            encoder.set_attention_slicing(self.attention_slicing());
            self.vae_encoder = Some(encoder);
        }
        let Some(encoder): Option<&AnyEncoder> = self.vae_encoder.as_ref() else {
            return Err(PipelineError::NotANumber);
        };
        let latents = match (self.encode_tensor(encoder, image, checkpoint)?, posterior) {
            (Encoded::Distribution(moments), Some(posterior)) => moments.sample(posterior),
            (Encoded::Distribution(moments), None) => moments.mode(),
            (Encoded::Latents(latents), _) => *latents,
        };
        Ok(self.vae_config.scale(latents))
    }

    /// Pixels in −1..=1, `[1, 3, height, width]` in f32.
    fn image_tensor(&self, image: &Rgb32FImage) -> Tensor<4> {
        self.unit_tensor(image) * 2.0 - 1.0
    }

    /// Pixels in 0..=1, `[1, 3, height, width]` in f32.
    pub(super) fn unit_tensor(&self, image: &Rgb32FImage) -> Tensor<4> {
        picture_tensor::to_tensor(image, &self.device.device)
    }

    /// `[1, 1, height, width]` in f32.
    fn mask_tensor(&self, mask: &Mask) -> Tensor<4> {
        let shape = [1, 1, mask.height() as usize, mask.width() as usize];
        let data = TensorData::new(mask.as_raw().clone(), shape);
        Tensor::from_data(data, (&self.device.device, DType::F32))
    }
}

/// The steps of `steps` that a run over a picture makes: diffusers' share of them, or A1111's,
/// which is one more (`modules/sd_samplers_common.py`, `setup_img2img_steps`). Second passes make
/// as many as they are told to, there as here.
pub(super) fn made_steps(request: &GenerationRequest, input: &ImageInput, steps: usize) -> usize {
    let share = |strength: f64, steps: f64| (strength * steps) as usize;
    let made = match (request.compat, request.sampler) {
        (Compat::A1111, sampler) if input.first_pass.is_none() => {
            let strength = input.strength.min(0.999);
            match sampler {
                // These lose one at either end.
                Sampler::Ddim | Sampler::Pndm => {
                    share(strength, f64::from(request.steps)).saturating_sub(1)
                }
                _ => share(strength, steps as f64) + 1,
            }
        }
        _ => share(input.strength, steps as f64),
    };
    made.min(steps)
}

/// 1 where the mask has `threshold` or more.
fn binarised(mask: &Mask, threshold: f32) -> Mask {
    let mut binary = mask.clone();
    for value in binary.iter_mut() {
        *value = f32::from(u8::from(*value >= threshold));
    }
    binary
}

/// The mask at one value for each [`LATENT_CELL`].
fn latent_mask(mask: &Mask, blending: LatentBlending) -> Mask {
    let cell = LATENT_CELL;
    let (width, height) = (mask.width() / cell, mask.height() / cell);
    if blending == LatentBlending::Nearest {
        let nearest = |x, y| *mask.get_pixel(x * cell, y * cell);
        return binarised(&Mask::from_fn(width, height, nearest), 0.5);
    }
    let cell_maximum = |x: u32, y: u32| {
        let pixels = (0..cell * cell)
            .map(|pixel| mask.get_pixel(x * cell + pixel % cell, y * cell + pixel / cell).0[0]);
        image::Luma([pixels.fold(0.0, f32::max)])
    };
    let maxima = Mask::from_fn(width, height, cell_maximum);
    if blending != LatentBlending::Covering {
        return maxima;
    }
    let maxima = binarised(&maxima, f32::MIN_POSITIVE);
    Mask::from_fn(width, height, |x, y| {
        let rows = y.saturating_sub(1)..=(y + 1).min(height - 1);
        let near =
            rows.flat_map(|y| (x.saturating_sub(1)..=(x + 1).min(width - 1)).map(move |x| (x, y)));
        image::Luma([near.map(|(x, y)| maxima.get_pixel(x, y).0[0]).fold(0.0, f32::max)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_covering_mask_reaches_one_cell_around_every_touched_one() {
        let mask = Mask::from_fn(40, 40, |x, y| {
            image::Luma([if (x, y) == (17, 23) { 0.01 } else { 0.0 }])
        });
        let covering = latent_mask(&mask, LatentBlending::Covering);
        let expected = Mask::from_fn(5, 5, |x, y| {
            image::Luma([f32::from(u8::from((1..=3).contains(&x) && (1..=3).contains(&y)))])
        });
        assert_eq!(covering, expected);
        assert!(latent_mask(&mask, LatentBlending::Nearest).iter().all(|&value| value == 0.0));
    }
}
