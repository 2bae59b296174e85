//! What files call the layers of AutoencoderTiny.

use emberbrush_layers::weights::WeightSource;

/// Where the layers of both halves are in a file. All have the same layers under the same numbers,
/// but upstream's decoder counts the clamp of its latents, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TinyNaming {
    /// diffusers' `encoder.layers.0` and `decoder.layers.0`.
    Diffusers,
    /// Upstream's `TAESD` module: `encoder.0` and `decoder.1`.
    Upstream,
    /// ComfyUI's `taesd_encoder.0` and `taesd_decoder.1`.
    ComfyUi,
    /// Upstream's halves, each in a file of its own: `0` and `1`.
    Halves,
}

impl TinyNaming {
    /// Every naming.
    pub const ALL: [Self; 4] = [Self::Diffusers, Self::Upstream, Self::ComfyUi, Self::Halves];

    /// The naming of a file that holds at least one half.
    pub fn recognise(source: &dyn WeightSource) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|naming| naming.has_decoder(source) || naming.has_encoder(source))
    }

    /// Whether `source` holds the decoder. The number of the first block tells the halves apart.
    pub fn has_decoder(self, source: &dyn WeightSource) -> bool {
        let (prefix, first) = self.decoder();
        has_block(source, prefix, first + 2) && has_weight(source, prefix, first)
    }

    /// Whether `source` holds the encoder.
    pub fn has_encoder(self, source: &dyn WeightSource) -> bool {
        let (prefix, first) = self.encoder();
        has_block(source, prefix, first + 1) && has_weight(source, prefix, first)
    }

    /// What diffusers calls the tensor that `source` calls `key`; `None` for tensors of no layer.
    pub fn published_name(self, source: &dyn WeightSource, key: &str) -> Option<String> {
        let halves = [
            (self.decoder(), Self::Diffusers.decoder(), self.has_decoder(source)),
            (self.encoder(), Self::Diffusers.encoder(), self.has_encoder(source)),
        ];
        halves.into_iter().filter(|(.., is_there)| *is_there).find_map(
            |((prefix, first), (published, _), _)| {
                let rest = match prefix {
                    "" => key,
                    prefix => key.strip_prefix(prefix)?.strip_prefix('.')?,
                };
                let (place, rest) = rest.split_once('.')?;
                let place = place.parse::<usize>().ok()?.checked_sub(first)?;
                Some(format!("{published}.{place}.{rest}"))
            },
        )
    }

    /// Prefix of the decoder's layers, and the number of its first.
    pub(super) fn decoder(self) -> (&'static str, usize) {
        match self {
            Self::Diffusers => ("decoder.layers", 0),
            Self::Upstream => ("decoder", 1),
            Self::ComfyUi => ("taesd_decoder", 1),
            Self::Halves => ("", 1),
        }
    }

    /// Prefix of the encoder's layers, and the number of its first.
    pub(super) fn encoder(self) -> (&'static str, usize) {
        match self {
            Self::Diffusers => ("encoder.layers", 0),
            Self::Upstream => ("encoder", 0),
            Self::ComfyUi => ("taesd_encoder", 0),
            Self::Halves => ("", 0),
        }
    }
}

fn key(prefix: &str, place: usize, rest: &str) -> String {
    let dot = if prefix.is_empty() { "" } else { "." };
    format!("{prefix}{dot}{place}.{rest}")
}

/// The shape of the convolution `place`.
pub(super) fn weight(source: &dyn WeightSource, prefix: &str, place: usize) -> Option<Vec<usize>> {
    source.shape(&key(prefix, place, "weight"))
}

pub(super) fn has_weight(source: &dyn WeightSource, prefix: &str, place: usize) -> bool {
    weight(source, prefix, place).is_some()
}

/// Whether the layer `place` is a block.
pub(super) fn has_block(source: &dyn WeightSource, prefix: &str, place: usize) -> bool {
    source.shape(&key(prefix, place, "conv.0.weight")).is_some()
}
