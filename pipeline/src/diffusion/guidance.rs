//! How strongly pictures follow their prompts, and from what the UNet predicts for several prompts
//! to one prediction.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};

use super::{Conditioning, DiffusionPipeline};
use crate::request::GenerationRequest;

/// What the guidance scales of pictures become in an evaluation of the UNet.
#[derive(Debug, Clone, Default)]
pub(super) struct Guidance {
    pub(super) classifier_free: Option<ClassifierFreeGuidance>,
    /// For UNets that are told the scale because guidance was distilled into them,
    /// `[pictures, time_cond_proj_dim]`.
    pub(super) embedding: Option<Tensor<2>>,
}

impl DiffusionPipeline {
    /// Whether the UNet is told the guidance scale, so that it evaluates prompts alone.
    pub(super) fn is_told_guidance(&self) -> bool {
        self.unet.config().time_cond_proj_dim.is_some()
    }

    /// Whether each step of the request also evaluates the negative prompt.
    pub(super) fn uses_negative_prompt(&self, request: &GenerationRequest) -> bool {
        request.uses_guidance() && !self.is_told_guidance()
    }

    /// The guidance of `requests`, of which all use classifier-free guidance or none.
    /// `conditioning` is that of their prompts.
    pub(super) fn guidance(
        &self,
        requests: &[&GenerationRequest],
        conditioning: &Conditioning,
        device: &Device,
    ) -> Guidance {
        let of_each = || requests.iter().map(|request| request.guidance_scale);
        let embedding = self.unet.config().time_cond_proj_dim.map(|dim| {
            // Networks were distilled with the weight of Ho and Salimans, one less than the scale.
            let weights: Vec<f64> = of_each().map(|scale| scale - 1.0).collect();
            embedding(&weights, dim, device, self.device.activation_dtype(self.dtype))
        });
        let weights = conditioning.guided_weights();
        let classifier_free =
            weights.map(|weights| ClassifierFreeGuidance::new(requests, &weights, device));
        Guidance { classifier_free, embedding }
    }
}

/// Guidance away from a negative prompt towards one or several prompts.
#[derive(Debug, Clone)]
pub(super) struct ClassifierFreeGuidance {
    /// For each of the prompts that `AND` joins its weight times the guidance scale,
    /// `[pictures, 1, 1, 1]`.
    scales: Vec<Tensor<4>>,
    /// How much of the standard deviation is brought back, `[pictures, 1, 1, 1]`.
    rescale: Option<Tensor<4>>,
}

impl ClassifierFreeGuidance {
    /// `weights` holds for each picture the weights of its prompts, of which all pictures have as
    /// many.
    fn new(requests: &[&GenerationRequest], weights: &[Vec<f64>], device: &Device) -> Self {
        let tensor = |values: Vec<f32>| {
            let data = TensorData::new(values, [requests.len(), 1, 1, 1]);
            Tensor::<4>::from_data(data, (device, DType::F32))
        };
        let prompts = weights.iter().map(Vec::len).min().unwrap_or(0);
        let scales = (0..prompts).map(|prompt| {
            let of_pictures = requests.iter().zip(weights);
            tensor(
                of_pictures
                    .map(|(request, weights)| (weights[prompt] * request.guidance_scale) as f32)
                    .collect(),
            )
        });
        let scales = scales.collect();
        let shares = requests.iter().map(|request| request.conditioning.guidance_rescale as f32);
        let shares: Vec<f32> = shares.collect();
        let rescale = shares.iter().any(|&share| share > 0.0).then(|| tensor(shares));
        Self { scales, rescale }
    }

    /// `e = u + Σ w g (c − u)` (Ho and Salimans, arXiv:2207.12598, equation 6; for several
    /// prompts Liu et al., arXiv:2206.01714, equation 11), and then Lin et al.'s rescale
    /// (arXiv:2305.08891, equations 15 and 16) by the deviation of the first prompt.
    ///
    /// # Shapes
    ///
    /// - all: `[pictures, channels, height, width]`
    pub(super) fn of(&self, negative: Tensor<4>, positives: &[Tensor<4>]) -> Tensor<4> {
        let guided =
            self.scales.iter().zip(positives).fold(negative.clone(), |sum, (scale, positive)| {
                sum + (positive.clone() - negative.clone()) * scale.clone()
            });
        match (&self.rescale, positives.first()) {
            (Some(share), Some(positive)) => {
                let ratio = deviation(positive) / deviation(&guided);
                let rescaled = guided.clone() * ratio;
                rescaled * share.clone() + guided * (share.clone().neg() + 1.0)
            }
            _ => guided,
        }
    }
}

/// The standard deviation over channels and pixels, unbiased: `[pictures, 1, 1, 1]`.
fn deviation(tensor: &Tensor<4>) -> Tensor<4> {
    let pictures = tensor.dims()[0];
    let flat: Tensor<2> = tensor.clone().flatten(1, 3);
    flat.var(1).sqrt().reshape([pictures, 1, 1, 1])
}

/// Sines and cosines of guidance weights, `[weights, dim]` (diffusers
/// `pipelines/latent_consistency_models/pipeline_latent_consistency_text2img.py`,
/// `get_guidance_scale_embedding`).
fn embedding(weights: &[f64], dim: usize, device: &Device, dtype: FloatDType) -> Tensor<2> {
    let half = dim / 2;
    let step = 10_000_f64.ln() / (half.saturating_sub(1).max(1)) as f64;
    let mut values = Vec::with_capacity(weights.len() * dim);
    for weight in weights {
        let angles = (0..half).map(|index| weight * 1000.0 * (-step * index as f64).exp());
        values.extend(angles.clone().map(|angle| angle.sin() as f32));
        values.extend(angles.map(|angle| angle.cos() as f32));
        // An odd width ends with a zero.
        values.extend((2 * half..dim).map(|_| 0.0));
    }
    let data = TensorData::new(values, [weights.len(), dim]);
    Tensor::<2>::from_data(data, (device, DType::F32)).cast(DType::from(dtype))
}
