//! Latents from a picture: image to image, and fill.

use burn::tensor::{DType, Tensor, TensorData};
use emberbrush_layers::interrupt::Checkpoint;
use emberbrush_vae::{DiagonalGaussian, Encoder};
use image::Rgb32FImage;

use super::{DiffusionPipeline, NoiseSource, SoftInpainting, load};
use crate::{
    error::PipelineError,
    picture::Mask,
    request::{GenerationRequest, LATENT_CELL},
    schedulers::Scheduler,
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

/// How a mask of pixels becomes one of latents, and what it does at each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LatentBlending {
    /// Binarised at 1/2, every 8th pixel: diffusers (`pipeline_stable_diffusion_inpaint.py`,
    /// `prepare_mask_latents`).
    Nearest,
    /// A cell is repainted where one of its pixels is, or one of a neighbouring cell: no cell that
    /// is held then shows what lay under the mask.
    Covering,
    /// A pixel is held until the share of its value in the run is left (Differential Diffusion,
    /// Levin and Fried, arXiv:2306.00950, algorithm 1): greys change less than white.
    Differential,
    /// Greys hold what the model predicts to the picture, less and less as noise vanishes (soft
    /// inpainting).
    Soft(SoftInpainting),
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
}

/// The part of a picture that is held.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Its latents.
    latents: Tensor<4>,
    /// The noise that the run started with.
    noise: Tensor<4>,
    /// Latent mask, 1 repaints.
    mask: Tensor<4>,
    blending: LatentBlending,
    /// The first evaluation.
    start: usize,
}

impl DenoisingStart {
    /// A run over the whole schedule.
    pub fn noise(latents: Tensor<4>) -> Self {
        Self { latents, evaluation: 0, known: None, inpainting: None }
    }
}

impl Known {
    /// Puts the held part back into the sample that comes after `evaluation`: at that noise
    /// level, or clean after the last (diffusers `pipeline_stable_diffusion_inpaint.py`).
    pub(super) fn hold(
        &self,
        sample: Tensor<4>,
        scheduler: &dyn Scheduler,
        evaluation: usize,
    ) -> Tensor<4> {
        if let LatentBlending::Soft(_) = self.blending {
            return sample;
        }
        let known = scheduler.add_noise(self.latents.clone(), self.noise.clone(), evaluation + 1);
        let evaluations = scheduler.timesteps().len();
        let mask = match self.blending {
            LatentBlending::Nearest | LatentBlending::Covering | LatentBlending::Soft(_) => {
                self.mask.clone()
            }
            LatentBlending::Differential => {
                let done = evaluation + 1 - self.start;
                let left = 1.0 - done as f64 / (evaluations - self.start).max(1) as f64;
                self.mask.clone().greater_elem(left).float().cast(DType::F32)
            }
        };
        known * (mask.clone().neg() + 1.0) + sample * mask
    }

    /// The model's output with what it predicts held to the picture, where the blending does so
    /// with predictions and not with samples.
    ///
    /// Predictions are sums of output and sample, so a change of the one is a change of the other
    /// by a factor, whatever the model predicts.
    pub(super) fn hold_prediction(
        &self,
        output: Tensor<4>,
        sample: &Tensor<4>,
        scheduler: &dyn Scheduler,
        evaluation: usize,
    ) -> Tensor<4> {
        let LatentBlending::Soft(soft) = self.blending else { return output };
        let predicted = scheduler.predicted_original(evaluation, &output, sample);
        let weight = soft.weight(self.mask.clone(), sigma(scheduler, evaluation, &predicted));
        let held = soft.blend(self.latents.clone(), predicted.clone(), weight);
        output + (held - predicted) / prediction_of_output(scheduler, evaluation, sample)
    }
}

/// By how much the predicted image grows with the model's output. A small output is asked about,
/// since predictions may be clipped.
fn prediction_of_output(scheduler: &dyn Scheduler, evaluation: usize, like: &Tensor<4>) -> f64 {
    const SMALL: f64 = 1e-3;
    let place = (&like.device(), DType::F32);
    let (zero, small) = (Tensor::zeros([1; 4], place), Tensor::full([1; 4], SMALL, place));
    let factor = single(scheduler.predicted_original(evaluation, &small, &zero)) / SMALL;
    if factor.abs() > 1e-6 { factor } else { 1.0 }
}

/// The value of a tensor of one.
fn single(tensor: Tensor<4>) -> f64 {
    tensor.to_data().try_to_vec::<f32>().map_or(0.0, |values| f64::from(values[0]))
}

/// The noise level in units of the image's own scale, from what the scheduler does to noise.
fn sigma(scheduler: &dyn Scheduler, evaluation: usize, like: &Tensor<4>) -> f64 {
    let place = (&like.device(), DType::F32);
    let (zeros, ones) = (Tensor::zeros([1; 4], place), Tensor::ones([1; 4], place));
    let noise = single(scheduler.add_noise(Tensor::clone(&zeros), ones.clone(), evaluation));
    let image = single(scheduler.add_noise(ones, zeros, evaluation));
    noise / image.max(1e-6)
}

impl DiffusionPipeline {
    /// Whether the UNet was trained to fill: it takes a mask and a masked image beside latents.
    pub fn is_inpainting_model(&self) -> bool {
        self.inpainting
    }

    /// Starts from noise alone. A model that was trained to fill is given a grey picture of which
    /// all is to be painted.
    pub(super) fn start_from_noise(
        &mut self,
        request: &GenerationRequest,
        scheduler: &dyn Scheduler,
        noise: &mut dyn NoiseSource,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<DenoisingStart, PipelineError> {
        if self.inpainting {
            let grey = Rgb32FImage::from_pixel(request.width, request.height, image::Rgb([0.5; 3]));
            let image = StartingImage::Pixels(grey);
            let input = ImageInput { image, strength: 1.0, mask: None };
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
            return Err(PipelineError::Request(format!(
                "the picture and its mask must be {}×{} pixels, as the request is",
                size.0, size.1
            )));
        }
        let steps = scheduler.steps();
        let made = ((steps as f64 * input.strength) as usize).min(steps);
        let evaluation = scheduler.start_after(steps - made)?;

        let masked = self.inpainting || input.mask.is_some();
        let from_noise = masked && input.strength >= 1.0;
        let original = match &input.image {
            StartingImage::Pixels(_) if self.inpainting && from_noise => None,
            StartingImage::Pixels(image) => {
                let posterior = noise.next(shape);
                let image = self.image_tensor(image);
                Some(self.encode_image(image, posterior, checkpoint)?)
            }
            StartingImage::Latents(latents) => Some(Tensor::clone(latents)),
        };
        let drawn = noise.next(shape);
        let latent_mask = input
            .mask
            .as_ref()
            .map(|mask| self.mask_tensor(&latent_mask(&mask.mask, mask.blending)));
        let inpainting = if masked {
            let posterior = noise.next(shape);
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
        Ok(DenoisingStart { latents, evaluation, known, inpainting })
    }

    /// The last five channels of a nine-channel UNet: the mask, and the latents of the picture
    /// with mid-grey under the mask. Latents without a mask show nothing but grey.
    fn masked_image(
        &mut self,
        input: &ImageInput,
        size: (u32, u32),
        posterior: Tensor<4>,
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
                return Err(PipelineError::Request(
                    "a model that was trained to fill needs a picture around the mask, not latents"
                        .to_owned(),
                ));
            }
        };
        let latents = self.encode_image(seen, posterior, checkpoint)?;
        Ok(Tensor::cat(vec![mask, latents], 1))
    }

    /// The latents of pictures in −1..=1, scaled for the UNet, from the posterior's noise.
    ///
    /// # Shapes
    ///
    /// - image: `[1, 3, height, width]`
    /// - posterior and output: `[1, 4, height / 8, width / 8]`
    pub fn encode_image(
        &mut self,
        image: Tensor<4>,
        posterior: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, PipelineError> {
        if self.vae_encoder.is_none() {
            let mut encoder = load::encoder(&self.files, &self.device, &self.vae_config)?;
            encoder.set_attention_slicing(self.attention_slicing());
            self.vae_encoder = Some(encoder);
        }
        let Some(encoder): Option<&Encoder> = self.vae_encoder.as_ref() else {
            return Err(PipelineError::NotANumber);
        };
        let (mean, logvar) = self.encode_moments(encoder, image, checkpoint)?;
        let latents = DiagonalGaussian { mean, logvar }.sample(posterior);
        Ok(self.vae_config.scale(latents))
    }

    /// Pixels in −1..=1, `[1, 3, height, width]` in f32.
    fn image_tensor(&self, image: &Rgb32FImage) -> Tensor<4> {
        let shape = [1, image.height() as usize, image.width() as usize, 3];
        let data = TensorData::new(image.as_raw().clone(), shape);
        let pixels = Tensor::<4>::from_data(data, (&self.device.device, DType::F32));
        pixels.permute([0, 3, 1, 2]) * 2.0 - 1.0
    }

    /// `[1, 1, height, width]` in f32.
    fn mask_tensor(&self, mask: &Mask) -> Tensor<4> {
        let shape = [1, 1, mask.height() as usize, mask.width() as usize];
        let data = TensorData::new(mask.as_raw().clone(), shape);
        Tensor::from_data(data, (&self.device.device, DType::F32))
    }
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
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::schedulers::{Sampler, Schedule, SchedulerConfig, build};

    #[test]
    fn held_outputs_predict_what_is_held_whatever_the_sampler_and_the_prediction() {
        let random = || Tensor::<4>::random([1, 4, 4, 4], Distribution::Default, &Device::flex());
        let soft = SoftInpainting::default();
        let known = Known {
            latents: random(),
            noise: random(),
            mask: random().narrow(1, 0, 1),
            blending: LatentBlending::Soft(soft),
            start: 0,
        };
        let (output, sample) = (random(), random());
        for prediction in ["epsilon", "v_prediction"] {
            let config = format!(
                r#"{{"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
                    "prediction_type": "{prediction}", "clip_sample": false}}"#
            );
            let config = SchedulerConfig::from_json(&config).unwrap();
            for sampler in [Sampler::Ddim, Sampler::Euler, Sampler::Dpmpp2m, Sampler::Pndm] {
                let scheduler = build(sampler, Schedule::Automatic, &config, 8).unwrap();
                for evaluation in [0, 4, 7] {
                    let predict = |output: &Tensor<4>| {
                        scheduler.predicted_original(evaluation, output, &sample)
                    };
                    let level = sigma(scheduler.as_ref(), evaluation, &sample);
                    let weight = soft.weight(known.mask.clone(), level);
                    let wanted = soft.blend(known.latents.clone(), predict(&output), weight);
                    let held = known.hold_prediction(
                        output.clone(),
                        &sample,
                        scheduler.as_ref(),
                        evaluation,
                    );
                    let scale = wanted.clone().abs().max().into_scalar::<f32>();
                    let furthest = (predict(&held) - wanted).abs().max().into_scalar::<f32>();
                    assert!(
                        furthest < 1e-4 * scale.max(1.0),
                        "{sampler} {prediction} {evaluation}: {furthest}"
                    );
                }
            }
        }
    }

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
