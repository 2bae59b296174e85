//! What checkpoints call the layers of RRDBNet.

use emberbrush_layers::weights::{WeightSource, Weights};

use crate::{
    blocks::{CONVOLUTIONS, DENSE_BLOCKS},
    config::RrdbNetConfig,
};

/// Training frameworks save the network inside of others, averaged weights first.
const PREFIXES: [&str; 6] =
    ["params_ema", "params", "", "module", "params_ema.module", "params.module"];

/// A convolution of the network outside of its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// From the picture to features.
    First,
    /// After the blocks.
    Trunk,
    /// After the enlargement of this number, from 0.
    Enlargement(usize),
    /// At the size of the result.
    HighResolution,
    /// From features to the picture.
    Last,
}

/// How the layers are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// BasicSR and Real-ESRGAN: `conv_first`, `body.0.rdb1.conv1`, `conv_up1`, `conv_hr`.
    BasicSr,
    /// ESRGAN's repository: `conv_first`, `RRDB_trunk.0.RDB1.conv1`, `upconv1`, `HRconv`.
    Esrgan,
    /// Before that: `model.0`, `model.1.sub.0.RDB1.conv1.0`, `model.3`. What follows the blocks is
    /// numbered with the enlargements and activations between them.
    Sequential { blocks: usize, enlargements: usize },
}

/// Where a checkpoint has the layers of RRDBNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RrdbNaming {
    prefix: &'static str,
    scheme: Scheme,
}

impl RrdbNaming {
    /// The naming of a file that holds the network; `None` for any other.
    pub fn recognise(source: &dyn WeightSource) -> Option<Self> {
        PREFIXES.into_iter().find_map(|prefix| {
            let candidates = [
                Scheme::BasicSr,
                Scheme::Esrgan,
                Scheme::Sequential { blocks: 0, enlargements: 0 },
            ];
            candidates.into_iter().find_map(|scheme| {
                let naming = Self { prefix, scheme };
                naming.shape(source, &naming.part(Part::First))?;
                naming.shape(source, &naming.convolution(0, 0, 1))?;
                Some(naming.counted(source))
            })
        })
    }

    /// The same, with the numbers that later names depend on.
    fn counted(self, source: &dyn WeightSource) -> Self {
        let Scheme::Sequential { .. } = self.scheme else { return self };
        let blocks = self.blocks(source);
        // With n enlargements the last two convolutions are 2 + 3n and 4 + 3n, which no step of
        // three from the first enlargement meets.
        let has = |place: usize| self.shape(source, &format!("model.{place}")).is_some();
        let enlargements = (0..).take_while(|number| has(3 + 3 * number)).count();
        Self { scheme: Scheme::Sequential { blocks, enlargements }, ..self }
    }

    /// The number of blocks.
    pub(crate) fn blocks(&self, source: &dyn WeightSource) -> usize {
        (0..)
            .take_while(|&block| self.shape(source, &self.convolution(block, 0, 1)).is_some())
            .count()
    }

    /// The number of enlargements by two.
    pub(crate) fn enlargements(&self, source: &dyn WeightSource) -> usize {
        match self.scheme {
            Scheme::Sequential { enlargements, .. } => enlargements,
            _ => (0..)
                .take_while(|&number| {
                    self.shape(source, &self.part(Part::Enlargement(number))).is_some()
                })
                .count(),
        }
    }

    /// The shape of the weight of a layer.
    pub(crate) fn shape(&self, source: &dyn WeightSource, layer: &str) -> Option<Vec<usize>> {
        source.shape(&self.full(layer, "weight"))
    }

    /// The place of a layer.
    pub(crate) fn at<'a>(&self, weights: &Weights<'a>, layer: &str) -> Weights<'a> {
        if self.prefix.is_empty() { weights.at(layer) } else { weights.at(self.prefix).at(layer) }
    }

    /// The name of a convolution outside of the blocks.
    pub(crate) fn part(&self, part: Part) -> String {
        match self.scheme {
            Scheme::BasicSr => match part {
                Part::First => "conv_first".to_owned(),
                Part::Trunk => "conv_body".to_owned(),
                Part::Enlargement(number) => format!("conv_up{}", number + 1),
                Part::HighResolution => "conv_hr".to_owned(),
                Part::Last => "conv_last".to_owned(),
            },
            Scheme::Esrgan => match part {
                Part::First => "conv_first".to_owned(),
                Part::Trunk => "trunk_conv".to_owned(),
                Part::Enlargement(number) => format!("upconv{}", number + 1),
                Part::HighResolution => "HRconv".to_owned(),
                Part::Last => "conv_last".to_owned(),
            },
            Scheme::Sequential { blocks, enlargements } => match part {
                Part::First => "model.0".to_owned(),
                Part::Trunk => format!("model.1.sub.{blocks}"),
                Part::Enlargement(number) => format!("model.{}", 3 + 3 * number),
                Part::HighResolution => format!("model.{}", 2 + 3 * enlargements),
                Part::Last => format!("model.{}", 4 + 3 * enlargements),
            },
        }
    }

    /// The name of a dense block, from 0, of a residual block, from 0.
    fn dense_block(&self, block: usize, dense: usize) -> String {
        let dense = dense + 1;
        match self.scheme {
            Scheme::BasicSr => format!("body.{block}.rdb{dense}"),
            Scheme::Esrgan => format!("RRDB_trunk.{block}.RDB{dense}"),
            Scheme::Sequential { .. } => format!("model.1.sub.{block}.RDB{dense}"),
        }
    }

    /// The name of a convolution, from 1, of a dense block.
    pub(crate) fn convolution(&self, block: usize, dense: usize, number: usize) -> String {
        let dense_block = self.dense_block(block, dense);
        match self.scheme {
            Scheme::Sequential { .. } => format!("{dense_block}.conv{number}.0"),
            _ => format!("{dense_block}.conv{number}"),
        }
    }

    /// The name of ESRGAN+'s shortcut in a dense block.
    pub(crate) fn shortcut(&self, block: usize, dense: usize) -> String {
        format!("{}.conv1x1", self.dense_block(block, dense))
    }

    /// The names of all tensors of a network of these sizes.
    pub fn keys(&self, config: &RrdbNetConfig) -> Vec<String> {
        let parts = [Part::First, Part::Trunk, Part::HighResolution, Part::Last];
        let enlargements = (0..config.enlargements).map(Part::Enlargement);
        let mut layers: Vec<String> =
            parts.into_iter().chain(enlargements).map(|part| self.part(part)).collect();
        let mut keys = Vec::new();
        for block in 0..config.blocks {
            for dense in 0..DENSE_BLOCKS {
                let convolutions = 1..=CONVOLUTIONS;
                layers.extend(convolutions.map(|number| self.convolution(block, dense, number)));
                if config.plus {
                    keys.push(self.full(&self.shortcut(block, dense), "weight"));
                }
            }
        }
        for layer in layers {
            keys.push(self.full(&layer, "weight"));
            keys.push(self.full(&layer, "bias"));
        }
        keys
    }

    fn full(&self, layer: &str, parameter: &str) -> String {
        let dot = if self.prefix.is_empty() { "" } else { "." };
        format!("{}{dot}{layer}.{parameter}", self.prefix)
    }
}
