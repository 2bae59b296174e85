//! What accompanies a forward pass: the question whether to go on, and a view of what is inside.

use std::fmt;

use burn::tensor::Tensor;

use crate::{
    attention::AttentionSlicing,
    interrupt::{Cancelled, Checkpoint, pass},
    norm::PooledStatistics,
};

/// Sees the output of inner blocks, by their published names (`down_blocks.0.resnets.1`).
///
/// Outputs of shape `[batch, channels]` are shown as `[batch, channels, 1, 1]`.
pub type Observe<'a> = dyn FnMut(&str, Tensor<4>) + 'a;

/// The company of one forward pass through a network.
pub struct ForwardPass<'a> {
    checkpoint: &'a mut Checkpoint<'a>,
    observe: Option<&'a mut Observe<'a>>,
    statistics: Option<&'a mut PooledStatistics>,
    attention_slicing: AttentionSlicing,
}

impl<'a> ForwardPass<'a> {
    /// A pass that `checkpoint` can stop.
    pub fn new(checkpoint: &'a mut Checkpoint<'_>) -> Self {
        Self {
            checkpoint,
            observe: None,
            statistics: None,
            attention_slicing: AttentionSlicing::Off,
        }
    }

    /// A pass that shows its inner activations to `observe` too.
    pub fn observed(checkpoint: &'a mut Checkpoint<'_>, observe: &'a mut Observe<'_>) -> Self {
        Self {
            checkpoint,
            observe: Some(observe),
            statistics: None,
            attention_slicing: AttentionSlicing::Off,
        }
    }

    /// A pass over a part of a picture, normalised by the statistics of the whole.
    pub fn pooled(
        checkpoint: &'a mut Checkpoint<'_>,
        statistics: &'a mut PooledStatistics,
    ) -> Self {
        Self {
            checkpoint,
            observe: None,
            statistics: Some(statistics),
            attention_slicing: AttentionSlicing::Off,
        }
    }

    /// The same pass with slices of attention.
    #[must_use]
    pub fn with_attention_slicing(self, attention_slicing: AttentionSlicing) -> Self {
        Self { attention_slicing, ..self }
    }

    /// How many queries of an attention are answered at once.
    pub fn attention_slicing(&self) -> AttentionSlicing {
        self.attention_slicing
    }

    /// The statistics to normalise by, where the pass is over a part of a picture.
    pub fn statistics(&mut self) -> Option<&mut PooledStatistics> {
        self.statistics.as_deref_mut()
    }

    /// To be called before each block.
    ///
    /// # Errors
    ///
    /// The checkpoint asked to stop.
    pub fn checkpoint(&mut self) -> Result<(), Cancelled> {
        pass(self.checkpoint)
    }

    /// Whether anyone looks, for values that would have to be computed to be shown.
    pub fn is_observed(&self) -> bool {
        self.observe.is_some()
    }

    /// Shows the output of the block `name`; costs nothing where nobody looks.
    pub fn show(&mut self, name: fmt::Arguments<'_>, output: &Tensor<4>) {
        if let Some(observe) = &mut self.observe {
            observe(&name.to_string(), output.clone());
        }
    }

    /// [`ForwardPass::show`] for an output of shape `[batch, channels]`.
    pub fn show_vector(&mut self, name: fmt::Arguments<'_>, output: &Tensor<2>) {
        if self.is_observed() {
            let [batch, channels] = output.dims();
            self.show(name, &output.clone().reshape([batch, channels, 1, 1]));
        }
    }
}
