//! Pictures too large for the autoencoder's memory, encoded and decoded in overlapping tiles.

use std::ops::ControlFlow;

use burn::tensor::{DType, Tensor, TensorData};
use emberbrush_layers::{interrupt::Checkpoint, norm::PooledStatistics};
use emberbrush_vae::{AnyDecoder, AnyEncoder, DiagonalGaussian};

use super::DiffusionPipeline;
use crate::{error::PipelineError, picture::Tiles, request::LATENT_CELL};

/// The share of a tile that it has in common with the next. What lies in a tile's own edge is
/// made without its surroundings, and fades away there.
const OVERLAP: f64 = 0.5;

/// The side of tiles in pixels where pictures are tiled by themselves.
const TILE: u32 = 512;

/// The most pixels that are not tiled by themselves.
const MOST_UNTILED: u32 = 1024 * 1024;

/// How often the network runs over all tiles before the run that counts, so that tiles are
/// normalised by what the whole picture has.
const GATHERING_PASSES: usize = 2;

/// What an encoder makes of a picture.
pub(super) enum Encoded {
    /// Latents of which one is drawn.
    Distribution(Box<DiagonalGaussian>),
    /// The latents.
    Latents(Box<Tensor<4>>),
}

/// One half of the autoencoder, run over a tile.
type Network<'a> =
    dyn FnMut(Tensor<4>, &mut PooledStatistics) -> Result<Tensor<4>, PipelineError> + 'a;

/// Whether the autoencoder works on pictures in tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VaeTiling {
    /// In tiles of 512 pixels for pictures of more than 1024².
    #[default]
    Automatic,
    /// Always whole.
    Off,
    /// In tiles of this many pixels a side, in multiples of [`LATENT_CELL`] and at least 64.
    Tiles(u32),
}

impl VaeTiling {
    /// The side of tiles in latents for a picture of so many latents; `None` for no tiles.
    pub(crate) fn tile(self, width: usize, height: usize) -> Option<u32> {
        let cell = LATENT_CELL as usize;
        let pixels = match self {
            Self::Off => return None,
            Self::Tiles(pixels) => pixels.max(64),
            Self::Automatic if width * height * cell * cell <= MOST_UNTILED as usize => {
                return None;
            }
            Self::Automatic => TILE,
        };
        let tile = pixels / LATENT_CELL;
        (width.max(height) > tile as usize).then_some(tile)
    }
}

impl DiffusionPipeline {
    /// Turns latents into pixels in −1..=1, `[1, 3, height, width]` in f32.
    pub fn decode_to_tensor(
        &self,
        latents: Tensor<4>,
        checkpoint: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Tensor<4>, PipelineError> {
        let latents = self.vae_config.unscale(latents);
        let [_, _, height, width] = latents.dims();
        let Some(tile) = self.vae_tiling().tile(width, height) else {
            return Ok(match &self.vae {
                AnyDecoder::Kl(decoder) => decoder.decode(latents, checkpoint)?,
                AnyDecoder::Tiny(decoder) => decoder.decode(latents, checkpoint)?,
            });
        };
        let (size, scales) = ((width, height), (1, LATENT_CELL as usize));
        match &self.vae {
            AnyDecoder::Kl(decoder) => {
                let low = decoder.decode_low(latents, checkpoint)?;
                let gathering = GATHERING_PASSES;
                self.in_tiles(low, size, tile, scales, gathering, &mut |part, statistics| {
                    Ok(decoder.decode_high(part, checkpoint, statistics)?)
                })
            }
            AnyDecoder::Tiny(decoder) => {
                self.in_tiles(latents, size, tile, scales, 0, &mut |part, _| {
                    Ok(decoder.decode(part, checkpoint)?)
                })
            }
        }
    }

    /// What the encoder makes of pixels in −1..=1.
    pub(super) fn encode_tensor(
        &self,
        encoder: &AnyEncoder,
        image: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Encoded, PipelineError> {
        let [_, _, height, width] = image.dims();
        let cell = LATENT_CELL as usize;
        let (width, height) = (width / cell, height / cell);
        let Some(tile) = self.vae_tiling().tile(width, height) else {
            return Ok(match encoder {
                AnyEncoder::Kl(encoder) => {
                    Encoded::Distribution(Box::new(encoder.encode(image, checkpoint)?))
                }
                AnyEncoder::Tiny(encoder) => {
                    Encoded::Latents(Box::new(encoder.encode(image, checkpoint)?))
                }
            });
        };
        let (size, scales) = ((width, height), (cell, 1));
        match encoder {
            AnyEncoder::Kl(encoder) => {
                let gathering = GATHERING_PASSES;
                let low = self.in_tiles(
                    image,
                    size,
                    tile,
                    scales,
                    gathering,
                    &mut |part, statistics| Ok(encoder.encode_high(part, checkpoint, statistics)?),
                )?;
                Ok(Encoded::Distribution(Box::new(encoder.encode_low(low, checkpoint)?)))
            }
            AnyEncoder::Tiny(encoder) => self
                .in_tiles(image, size, tile, scales, 0, &mut |part, _| {
                    Ok(encoder.encode(part, checkpoint)?)
                })
                .map(|latents| Encoded::Latents(Box::new(latents))),
        }
    }

    /// Runs `network` on tiles of `input`, whose size is `size` in latents, and blends what comes
    /// out. `scales` are the pixels for each latent of the input and of the output; `gathering` is
    /// how often all tiles are seen before the run that counts.
    fn in_tiles(
        &self,
        input: Tensor<4>,
        size: (usize, usize),
        tile: u32,
        scales: (usize, usize),
        gathering: usize,
        network: &mut Network<'_>,
    ) -> Result<Tensor<4>, PipelineError> {
        let whole = (size.0 as u32, size.1 as u32);
        let tiles = Tiles::new(whole, (tile, tile), OVERLAP, 1);
        let (tile_width, tile_height) = tiles.tile();
        let (tile_width, tile_height) = (tile_width as usize, tile_height as usize);
        let (width, height) = (size.0 * scales.1, size.1 * scales.1);
        let part = |(left, width): (usize, usize), (top, height): (usize, usize)| {
            input.clone().narrow(2, top * scales.0, height * scales.0).narrow(
                3,
                left * scales.0,
                width * scales.0,
            )
        };
        let mut statistics = PooledStatistics::default();
        for _ in 0..gathering {
            for rows in side_by_side(size.1, tile as usize) {
                for columns in side_by_side(size.0, tile as usize) {
                    statistics.begin_part((rows.1 * columns.1) as f64);
                    network(part(columns, rows), &mut statistics)?;
                }
            }
            statistics.finish_pass();
        }
        let mut sums: Vec<f32> = Vec::new();
        let mut weights = vec![0.0_f32; width * height];
        for (left, top) in tiles.positions() {
            let (left, top) = (left as usize, top as usize);
            statistics.begin_part((tile_width * tile_height) as f64);
            let output = network(part((left, tile_width), (top, tile_height)), &mut statistics)?;
            let [_, channels, rows, columns] = output.dims();
            let values = output
                .to_data()
                .convert_dtype(DType::F32)
                .try_to_vec::<f32>()
                .map_err(|_| PipelineError::NotANumber)?;
            sums.resize(channels * width * height, 0.0);
            let (left, top) = (left * scales.1, top * scales.1);
            for (line, values) in values.chunks_exact(columns).enumerate() {
                let (channel, row) = (line / rows, line % rows);
                let vertical = Tiles::weight(row as u32, rows as u32);
                let start = (top + row) * width + left;
                for (column, value) in values.iter().enumerate() {
                    let weight = vertical * Tiles::weight(column as u32, columns as u32);
                    sums[channel * width * height + start + column] += value * weight;
                    if channel == 0 {
                        weights[start + column] += weight;
                    }
                }
            }
        }
        for plane in sums.chunks_exact_mut(width * height) {
            for (sum, weight) in plane.iter_mut().zip(&weights) {
                *sum /= weight;
            }
        }
        let channels = sums.len() / (width * height).max(1);
        let data = TensorData::new(sums, [1, channels, height, width]);
        Ok(Tensor::from_data(data, (&self.device.device, DType::F32)))
    }
}

/// Start and length of parts of a line that cover it once, each at most `longest` and nearly as
/// long as the others, so that no part of a picture counts more than another.
fn side_by_side(length: usize, longest: usize) -> impl Iterator<Item = (usize, usize)> {
    let parts = length.div_ceil(longest.max(1)).max(1);
    (0..parts).map(move |part| {
        let start = part * length / parts;
        (start, (part + 1) * length / parts - start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_line_once() {
        for (length, longest) in [(64, 32), (48, 32), (65, 32), (7, 32), (100, 9)] {
            let mut end = 0;
            let mut lengths = Vec::new();
            for (start, part) in side_by_side(length, longest) {
                assert_eq!(start, end);
                end += part;
                lengths.push(part);
            }
            assert_eq!(end, length);
            let (least, most) = (lengths.iter().min(), lengths.iter().max());
            assert!(most <= Some(&longest) && most.zip(least).is_some_and(|(m, l)| m - l <= 1));
        }
    }
}
