//! Pictures made larger by a network (ESRGAN), in tiles that overlap.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use burn::tensor::FloatDType;
use emberbrush_layers::{
    interrupt::Checkpoint,
    weights::{WeightSource, Weights},
};
use emberbrush_upscaler::{RrdbNaming, RrdbNet, RrdbNetConfig};
use image::{Rgb, Rgb32FImage};

use crate::{
    checkpoint::{CheckpointError, tensor_file::TensorFile},
    device::OpenDevice,
    error::PipelineError,
    picture::{self, Rectangle, Tiles},
    picture_tensor,
};

/// The side of tiles in what the network folds pixels to: what the features of a tile take in memory,
/// 4 times as large, is some hundred megabytes.
pub(crate) const TILE: u32 = 192;

/// The share of a tile that it has in common with the next. What lies in a tile's own edge is made
/// without its surroundings, and fades away there.
const OVERLAP: f64 = 0.25;

/// How often a picture is enlarged at most to reach a size.
const MOST_PASSES: usize = 3;

/// An upscaler's file, of which names and shapes were read.
#[derive(Debug, Clone)]
pub struct UpscalerFile {
    file: Arc<TensorFile>,
    config: RrdbNetConfig,
    naming: RrdbNaming,
}

impl UpscalerFile {
    /// Reads what kind of upscaler the file holds.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read or is no ESRGAN upscaler.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = TensorFile::open(path)?;
        let (config, naming) = RrdbNetConfig::recognise(&file)?;
        Ok(Self { file: Arc::new(file), config, naming })
    }

    /// The network's sizes.
    pub fn config(&self) -> &RrdbNetConfig {
        &self.config
    }

    /// Number of parameters of the network.
    pub fn parameters(&self) -> u64 {
        let elements = |key: &String| {
            let shape = self.file.shape(key).unwrap_or_default();
            shape.iter().map(|&side| side as u64).product::<u64>()
        };
        self.naming.keys(&self.config).iter().map(elements).sum()
    }

    /// Tensors of the file that the network does not need.
    pub fn unused_keys(&self) -> Vec<String> {
        let used: BTreeSet<String> = self.naming.keys(&self.config).into_iter().collect();
        let all = self.file.keys();
        all.into_iter().filter(|key| !used.contains(key)).collect()
    }

    /// Reads the weights.
    ///
    /// # Errors
    ///
    /// Weights that are missing, unreadable or of another shape.
    pub fn load(&self, device: &OpenDevice) -> Result<ImageUpscaler, CheckpointError> {
        let weights = Weights::new(self.file.as_ref(), &device.device, FloatDType::F32);
        let network = RrdbNet::new(&self.config, self.naming, &weights)?;
        Ok(ImageUpscaler { network, device: device.clone() })
    }
}

/// A network that makes pictures larger, on a device, in f32.
#[derive(Debug)]
pub struct ImageUpscaler {
    network: RrdbNet,
    device: OpenDevice,
}

impl ImageUpscaler {
    /// By how much one pass enlarges.
    pub fn scale(&self) -> u32 {
        self.network.config().scale() as u32
    }

    /// The picture, sRGB values from 0 to 1, at another size: enlarged by the network as often as
    /// that takes, and brought to the size with Lanczos.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Cancelled`] where `checkpoint` breaks, and
    /// [`PipelineError::NotANumber`] where the network does not give a picture.
    pub fn enlarge(
        &self,
        image: &Rgb32FImage,
        size: (u32, u32),
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Rgb32FImage, PipelineError> {
        let scale = self.scale();
        let mut image = self.enlarge_once(image, checkpoint)?;
        for _ in 1..MOST_PASSES {
            // A network of scale 1 restores what it is given.
            if scale == 1 || (image.width() >= size.0 && image.height() >= size.1) {
                break;
            }
            // No larger than the size that is wanted, or the last pass would make much for nothing.
            let width = image.width().min(size.0.div_ceil(scale));
            let height = image.height().min(size.1.div_ceil(scale));
            image = self.enlarge_once(&picture::resized(&image, width, height), checkpoint)?;
        }
        Ok(picture::resized(&image, size.0, size.1))
    }

    /// The picture [`scale`](Self::scale) times as large.
    fn enlarge_once(
        &self,
        image: &Rgb32FImage,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Rgb32FImage, PipelineError> {
        let (scale, folding) = (self.scale(), self.network.config().folding as u32);
        let whole = |side: u32| side.div_ceil(folding) * folding;
        let (width, height) = (whole(image.width()), whole(image.height()));
        let tile = ((TILE * folding).min(width), (TILE * folding).min(height));
        let places = Tiles::new((width, height), tile, OVERLAP, folding);
        let enlarged = Tiles::new(
            (width * scale, height * scale),
            (tile.0 * scale, tile.1 * scale),
            OVERLAP,
            scale,
        );
        let mut blend = enlarged.blend();
        for (left, top) in places.positions() {
            let rectangle = Rectangle {
                left: i64::from(left),
                top: i64::from(top),
                width: tile.0,
                height: tile.1,
            };
            let seen = picture::view(image, rectangle, tile.0, tile.1);
            let made = self.forward(&seen, checkpoint)?;
            blend.add((left * scale, top * scale), |x, y| made.get_pixel(x, y).0);
        }
        let colours = |x, y| Rgb(blend.value(x, y).map(|value| value.clamp(0.0, 1.0)));
        Ok(Rgb32FImage::from_fn(image.width() * scale, image.height() * scale, colours))
    }

    fn forward(
        &self,
        image: &Rgb32FImage,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Rgb32FImage, PipelineError> {
        let pixels = picture_tensor::to_tensor(image, &self.device.device);
        picture_tensor::from_tensor(self.network.forward(pixels, checkpoint)?, |value| value)
    }
}
