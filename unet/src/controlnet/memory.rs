//! What a ControlNet allocates: its forward pass with stand-ins for tensors.

use emberbrush_layers::{
    conv::Kernel,
    memory::{Trace, Traced},
    weights::WeightError,
};

use super::{conditioning_embedding::layers, config::ControlNetConfig};
use crate::{levels::ContractingLevels, memory::contract};

impl ControlNetConfig {
    /// Follows [`crate::ControlNetModel::embed`].
    ///
    /// # Shapes
    ///
    /// - map: `[batch, conditioning_channels, height, width]`
    /// - output: `[batch, block_out_channels[0], height / 8, width / 8]`
    ///
    /// # Errors
    ///
    /// A configuration that the network could not be built from.
    pub fn trace_embed(&self, trace: &Trace, map: Traced) -> Result<Traced, WeightError> {
        let levels = ContractingLevels::new(&self.unet)?;
        let channels = &self.conditioning_embedding_out_channels;
        let first = channels.first().copied().unwrap_or_default();
        let mut x = trace.activation(trace.conv2d(map, first, Kernel::THREE));
        for (_, outputs, kernel) in layers(channels) {
            x = trace.activation(trace.conv2d(x, outputs, kernel));
        }
        Ok(trace.conv2d(x, levels.down[0].channels, Kernel::THREE))
    }

    /// Follows [`crate::ControlNetModel::forward`].
    ///
    /// # Shapes
    ///
    /// - sample: `[batch, in_channels, height, width]`
    /// - text: `[batch, cross_attention_dim, tokens, 1]`
    /// - output: what is added to each skip connection, and last to the middle
    ///
    /// # Errors
    ///
    /// A configuration that the network could not be built from.
    pub fn trace(
        &self,
        trace: &Trace,
        sample: Traced,
        text: &Traced,
    ) -> Result<Vec<Traced>, WeightError> {
        let levels = ContractingLevels::new(&self.unet)?;
        let (x, mut outputs) = contract(trace, &self.unet, &levels, sample, text);
        outputs.push(x);
        let project = |x: Traced| {
            let channels = x.dims[1];
            trace.conv2d(x, channels, Kernel::ONE)
        };
        Ok(outputs.into_iter().map(project).collect())
    }
}
