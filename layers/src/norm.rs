//! Normalisation.

use burn::tensor::{Tensor, module};

use crate::{
    activation::Activation,
    kernels::{Affine, Finish},
    weights::{WeightError, Weights},
};

/// Layer normalisation over the last dimension (Ba et al. 2016).
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    affine: Option<Affine>,
    epsilon: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, both `[channels]`.
    pub fn new(weights: &Weights<'_>, channels: usize, epsilon: f64) -> Result<Self, WeightError> {
        let weight = weights.tensor("weight", [channels])?;
        let bias = weights.tensor("bias", [channels])?;
        Ok(Self { affine: Affine::new(&weight, &bias), weight, bias, epsilon })
    }

    /// # Shapes
    ///
    /// - x and output: `[..., channels]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let normalised = match &self.affine {
            Some(affine) => affine.layer_norm(x, self.epsilon),
            None => Err(x),
        };
        normalised.unwrap_or_else(|x| {
            module::layer_norm(x, self.weight.clone(), Some(self.bias.clone()), self.epsilon)
        })
    }
}

/// Group normalisation (Wu and He 2018).
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor<4>,
    bias: Tensor<4>,
    affine: Option<Affine>,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// Reads `weight` and `bias`, both `[channels]`.
    ///
    /// # Errors
    ///
    /// Besides those of the source: `channels` must be a multiple of `groups`.
    pub fn new(
        weights: &Weights<'_>,
        groups: usize,
        channels: usize,
        epsilon: f64,
    ) -> Result<Self, WeightError> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(WeightError::Config(format!(
                "config.json: {channels} channels cannot be split into {groups} normalisation groups"
            )));
        }
        let per_channel = [1, channels, 1, 1];
        let weight = weights.tensor::<1>("weight", [channels])?;
        let bias = weights.tensor::<1>("bias", [channels])?;
        Ok(Self {
            affine: Affine::new(&weight, &bias),
            weight: weight.reshape(per_channel),
            bias: bias.reshape(per_channel),
            groups,
            epsilon,
        })
    }

    /// # Shapes
    ///
    /// - x and output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.fused(x, Finish::Keep).unwrap_or_else(|x| self.plain(x))
    }

    // A tensor that is given back is no failure, and moving it costs less than a box.
    #[allow(clippy::result_large_err)]
    fn fused(&self, x: Tensor<4>, finish: Finish) -> Result<Tensor<4>, Tensor<4>> {
        match &self.affine {
            Some(affine) => affine.group_norm(x, self.groups, self.epsilon, finish),
            None => Err(x),
        }
    }

    fn plain(&self, x: Tensor<4>) -> Tensor<4> {
        let shape = x.dims();
        let [batch, channels, height, width] = shape;
        let grouped = x.reshape([batch, self.groups, channels / self.groups * height * width]);
        let mean = grouped.clone().mean_dim(2);
        let centred = grouped - mean;
        let variance = centred.clone().square().mean_dim(2);
        let scale = (variance + self.epsilon).sqrt().recip();
        (centred * scale).reshape(shape) * self.weight.clone() + self.bias.clone()
    }

    /// [`GroupNorm::forward`] by the statistics of a whole of which `x` is a part, where there are
    /// any.
    ///
    /// # Shapes
    ///
    /// - x and output: `[1, channels, height, width]`
    pub fn forward_pooled(
        &self,
        x: Tensor<4>,
        statistics: Option<&mut PooledStatistics>,
    ) -> Tensor<4> {
        let Some(statistics) = statistics else { return self.forward(x) };
        let shape = x.dims();
        let [batch, channels, height, width] = shape;
        let grouped = x.reshape([batch, self.groups, channels / self.groups * height * width]);
        let mean = grouped.clone().mean_dim(2);
        let variance = (grouped.clone() - mean.clone()).square().mean_dim(2);
        let Moments { mean, variance } = statistics.exchange(Moments { mean, variance });
        let scale = (variance + self.epsilon).sqrt().recip();
        ((grouped - mean) * scale).reshape(shape) * self.weight.clone() + self.bias.clone()
    }

    /// [`GroupNorm::forward_activated`] by the statistics of a whole of which `x` is a part, where
    /// there are any.
    ///
    /// # Shapes
    ///
    /// - x and output: `[1, channels, height, width]`
    pub fn forward_activated_pooled(
        &self,
        x: Tensor<4>,
        activation: Activation,
        statistics: Option<&mut PooledStatistics>,
    ) -> Tensor<4> {
        match statistics {
            Some(statistics) => activation.forward(self.forward_pooled(x, Some(statistics))),
            None => self.forward_activated(x, activation),
        }
    }

    /// Normalisation followed by an activation, the pair that precedes every convolution of a
    /// residual block.
    ///
    /// # Shapes
    ///
    /// - x and output: `[batch, channels, height, width]`
    pub fn forward_activated(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        self.fused(x, activation.into()).unwrap_or_else(|x| activation.forward(self.plain(x)))
    }
}

/// Mean and variance of each group, `[1, groups, 1]`.
#[derive(Debug, Clone)]
struct Moments {
    mean: Tensor<3>,
    variance: Tensor<3>,
}

/// Statistics of all group normalisations of a network that runs over the parts of one picture,
/// by the order in which they run.
///
/// A part alone has other means and variances than the whole, which shifts its colours. So the
/// network runs over all parts more than once: each pass normalises with what the pass before has
/// gathered, the first with each part's own.
#[derive(Debug, Default)]
pub struct PooledStatistics {
    /// What the last pass has gathered.
    known: Vec<Moments>,
    /// For each normalisation: sums over parts of the means and of the mean squares, each times
    /// the part's weight.
    sums: Vec<(Tensor<3>, Tensor<3>)>,
    /// The present part's weight.
    weight: f64,
    /// That of all parts of this pass.
    weights: f64,
    next: usize,
}

impl PooledStatistics {
    /// To be called before the network runs over a part, which counts by `weight`: its area.
    pub fn begin_part(&mut self, weight: f64) {
        self.weight = weight;
        self.weights += weight;
        self.next = 0;
    }

    /// To be called after all parts.
    pub fn finish_pass(&mut self) {
        let weights = self.weights.max(f64::MIN_POSITIVE);
        self.known = std::mem::take(&mut self.sums)
            .into_iter()
            .map(|(means, squares)| {
                let mean = means / weights;
                let variance = (squares / weights - mean.clone().square()).clamp_min(0.0);
                Moments { mean, variance }
            })
            .collect();
        self.weights = 0.0;
    }

    /// Takes the moments of a part, and gives those to normalise it by.
    fn exchange(&mut self, part: Moments) -> Moments {
        let square = (part.variance.clone() + part.mean.clone().square()) * self.weight;
        let mean = part.mean.clone() * self.weight;
        match self.sums.get_mut(self.next) {
            Some((means, squares)) => {
                *means = means.clone() + mean;
                *squares = squares.clone() + square;
            }
            None => self.sums.push((mean, square)),
        }
        let known = self.known.get(self.next).cloned();
        self.next += 1;
        known.unwrap_or(part)
    }
}
