//! RRDBNet (BasicSR `archs/rrdbnet_arch.py`; "old" ESRGAN `models/modules/architecture.py`).

use burn::tensor::Tensor;
use emberbrush_layers::{
    conv::{Conv2d, Kernel},
    interrupt::{Cancelled, Checkpoint, pass},
    resample::nearest,
    weights::{WeightError, Weights},
};

use crate::{
    blocks::{Rrdb, leaky_relu},
    config::{COLOURS, RrdbNetConfig},
    naming::{Part, RrdbNaming},
};

/// Makes pictures larger by [`RrdbNetConfig::scale`].
#[derive(Debug)]
pub struct RrdbNet {
    config: RrdbNetConfig,
    first: Conv2d,
    body: Vec<Rrdb>,
    trunk: Conv2d,
    enlargements: Vec<Conv2d>,
    high_resolution: Conv2d,
    last: Conv2d,
}

impl RrdbNet {
    /// Reads all layers; sizes and names are those of [`RrdbNetConfig::recognise`].
    ///
    /// # Errors
    ///
    /// Weights that are missing, unreadable or of another shape.
    pub fn new(
        config: &RrdbNetConfig,
        naming: RrdbNaming,
        weights: &Weights<'_>,
    ) -> Result<Self, WeightError> {
        let features = config.features;
        let convolution = |part, inputs, outputs| {
            Conv2d::new(&naming.at(weights, &naming.part(part)), inputs, outputs, Kernel::THREE)
        };
        Ok(Self {
            config: *config,
            first: convolution(Part::First, COLOURS * config.folding * config.folding, features)?,
            body: (0..config.blocks)
                .map(|block| Rrdb::new(weights, config, naming, block))
                .collect::<Result<_, _>>()?,
            trunk: convolution(Part::Trunk, features, features)?,
            enlargements: (0..config.enlargements)
                .map(|number| convolution(Part::Enlargement(number), features, features))
                .collect::<Result<_, _>>()?,
            high_resolution: convolution(Part::HighResolution, features, features)?,
            last: convolution(Part::Last, features, COLOURS)?,
        })
    }

    /// What the network was built from.
    pub fn config(&self) -> &RrdbNetConfig {
        &self.config
    }

    /// Makes pictures with values from 0 to 1 larger. The result is not clamped.
    ///
    /// # Shapes
    ///
    /// - image: `[batch, 3, height, width]`, in multiples of [`RrdbNetConfig::folding`]
    /// - output: `[batch, 3, height · scale, width · scale]`
    ///
    /// # Errors
    ///
    /// `checkpoint`, which is called before each dense block, asked to stop.
    pub fn forward(
        &self,
        image: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        pass(checkpoint)?;
        let features = self.first.forward(fold(image, self.config.folding));
        let mut x = features.clone();
        for block in &self.body {
            x = block.forward(x, checkpoint)?;
        }
        x = self.trunk.forward(x) + features;
        for convolution in &self.enlargements {
            pass(checkpoint)?;
            let [_, _, height, width] = x.dims();
            x = leaky_relu(convolution.forward(nearest(x, [2 * height, 2 * width])));
        }
        pass(checkpoint)?;
        x = leaky_relu(self.high_resolution.forward(x));
        Ok(self.last.forward(x))
    }
}

/// Squares of pixels become channels (torch `pixel_unshuffle`).
fn fold(image: Tensor<4>, side: usize) -> Tensor<4> {
    if side == 1 {
        return image;
    }
    let [batch, channels, height, width] = image.dims();
    let (rows, columns) = (height / side, width / side);
    image
        .reshape([batch, channels, rows, side, columns, side])
        .permute([0, 1, 3, 5, 2, 4])
        .reshape([batch, channels * side * side, rows, columns])
}
