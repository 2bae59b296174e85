//! The sizes of an RRDBNet, read off the shapes of its weights.

use emberbrush_layers::{
    conv::Kernel,
    memory::{Trace, Traced},
    weights::{WeightError, WeightSource},
};

use crate::naming::{Part, RrdbNaming};

/// Red, green and blue.
pub(crate) const COLOURS: usize = 3;

/// The most by which a published network folds or enlarges.
const MAX_SCALE: usize = 16;

/// Far above any published network.
const MAX_CHANNELS: usize = 1 << 14;

/// The sizes of an [`crate::RrdbNet`]. Checkpoints have no configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RrdbNetConfig {
    /// Channels of the features (`num_feat`), 64 in most.
    pub features: usize,
    /// Channels that each convolution of a dense block adds (`num_grow_ch`), 32 in most.
    pub growth: usize,
    /// Residual-in-residual dense blocks (`num_block`): 23, or 6 in the anime models.
    pub blocks: usize,
    /// By how much pixels are folded into channels first (`pixel_unshuffle`): 2 for Real-ESRGAN's
    /// x2 and 4 for its x1, else 1.
    pub folding: usize,
    /// Enlargements by two.
    pub enlargements: usize,
    /// Whether dense blocks have the shortcuts of ESRGAN+ (Rakotonirina and Rasoanaivo,
    /// arXiv:2001.08073).
    pub plus: bool,
}

impl RrdbNetConfig {
    /// Reads names and shapes of a checkpoint, and no values.
    ///
    /// # Errors
    ///
    /// Where the file is of another network, or of pictures without three colours.
    pub fn recognise(source: &dyn WeightSource) -> Result<(Self, RrdbNaming), WeightError> {
        let origin = source.origin();
        let refused = |reason: &str| WeightError::Config(format!("{origin}: {reason}"));
        let naming = RrdbNaming::recognise(source).ok_or_else(|| {
            refused(
                "this is no ESRGAN upscaler: it has none of the names of RRDBNet (`conv_first` \
                 with `body.0.rdb1.conv1` or `RRDB_trunk.0.RDB1.conv1`, or `model.0` with \
                 `model.1.sub.0.RDB1.conv1.0`). Other networks for making pictures larger \
                 (SRVGGNetCompact, SwinIR, DAT, HAT…) are not supported",
            )
        })?;
        let channels = |layer: &str| match naming.shape(source, layer).as_deref() {
            Some(&[outputs, inputs, _, _]) => Ok([outputs, inputs]),
            found => Err(refused(&format!(
                "the weight of `{layer}` has shape {found:?}, where a convolution has four sides"
            ))),
        };
        let [features, inputs] = channels(&naming.part(Part::First))?;
        let [growth, _] = channels(&naming.convolution(0, 0, 1))?;
        let [colours, _] = channels(&naming.part(Part::Last))?;
        if colours != COLOURS {
            return Err(refused(&format!(
                "this upscaler makes pictures of {colours} channels; only those of red, green and \
                 blue are supported"
            )));
        }
        let folding = (1..=MAX_SCALE).find(|side| COLOURS * side * side == inputs);
        let folding = folding.ok_or_else(|| {
            refused(&format!(
                "this upscaler takes {inputs} channels, which are no pixels of red, green and blue"
            ))
        })?;
        let config = Self {
            features,
            growth,
            blocks: naming.blocks(source),
            folding,
            enlargements: naming.enlargements(source),
            plus: naming.shape(source, &naming.shortcut(0, 0)).is_some(),
        };
        let enlarged = 1_usize.checked_shl(config.enlargements as u32).unwrap_or(usize::MAX);
        if enlarged > MAX_SCALE || !enlarged.is_multiple_of(folding) {
            return Err(refused(&format!(
                "this upscaler folds pixels by {folding} and enlarges them by two {} times; no \
                 scale of 1 to {MAX_SCALE} comes of that",
                config.enlargements
            )));
        }
        if [features, growth].into_iter().any(|size| size == 0 || size > MAX_CHANNELS) {
            return Err(refused(&format!("{features} features that grow by {growth}")));
        }
        Ok((config, naming))
    }

    /// By how much pictures become larger.
    pub fn scale(&self) -> usize {
        (1 << self.enlargements) / self.folding
    }

    /// Follows [`crate::RrdbNet::forward`].
    ///
    /// # Shapes
    ///
    /// - image: `[batch, 3, height, width]`
    /// - output: `[batch, 3, height · scale, width · scale]`
    pub fn trace(&self, trace: &Trace, image: Traced) -> Traced {
        let [batch, _, height, width] = image.dims;
        let folded = [
            batch,
            COLOURS * self.folding * self.folding,
            height / self.folding,
            width / self.folding,
        ];
        let image = if self.folding == 1 { image } else { trace.tensor(folded) };
        let features = trace.conv2d(image, self.features, Kernel::THREE);
        let mut x = features.clone();
        // Every block holds the same; one stands for all.
        if self.blocks > 0 {
            let residual = x.clone();
            x = self.trace_dense_block(trace, x);
            x = trace.add(x, residual);
        }
        x = trace.conv2d(x, self.features, Kernel::THREE);
        x = trace.add(x, features);
        for _ in 0..self.enlargements {
            let [_, _, height, width] = x.dims;
            x = trace.elementwise(trace.upsample(x, [2 * height, 2 * width]));
        }
        x = trace.elementwise(trace.conv2d(x, self.features, Kernel::THREE));
        trace.conv2d(x, COLOURS, Kernel::THREE)
    }

    fn trace_dense_block(&self, trace: &Trace, x: Traced) -> Traced {
        let mut dense = x.clone();
        for _ in 0..4 {
            let added = trace.conv2d(dense.clone(), self.growth, Kernel::THREE);
            dense = trace.cat(dense, trace.elementwise(added));
        }
        let result = trace.conv2d(dense, self.features, Kernel::THREE);
        trace.add(result, x)
    }
}
