//! What the tensors of a UNet say about its configuration.

use serde_json::{Map, Value, json};

use crate::checkpoint::{folder::Family, tensor_file::TensorFile};

/// Where single files hold the UNet.
pub(super) const PREFIX: &str = "model.diffusion_model.";

/// More entries than any network has on one way.
const MAX_ENTRIES: usize = 64;

/// Width of a head in the networks that have as many heads as their channels allow.
const HEAD_WIDTH: usize = 64;

/// Heads of every level of Stable Diffusion 1.
const HEADS_OF_SD1: usize = 8;

/// Width of the embedding of each number that Stable Diffusion XL is told.
const SIZE_EMBEDDING: usize = 256;

/// The shape of a UNet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UNetShape {
    pub(super) in_channels: usize,
    out_channels: usize,
    pub(super) layers_per_block: usize,
    /// From the highest resolution to the lowest.
    levels: Vec<Level>,
    /// From the lowest resolution to the highest: transformer blocks after each residual block.
    up: Vec<Vec<usize>>,
    /// Transformer blocks in the middle; `None` where it is one residual block.
    middle: Option<usize>,
    /// Width of the text embeddings.
    pub(super) cross_attention_dim: usize,
    use_linear_projection: bool,
    /// Width of what is added to the time embedding.
    pub(super) added: Option<usize>,
    /// Width of the embedding of the guidance scale.
    guidance: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Level {
    channels: usize,
    /// Transformer blocks after each residual block.
    transformers: Vec<usize>,
}

impl UNetShape {
    /// Reads the shape; `None` where something that every such network has is not there.
    pub(super) fn read(file: &TensorFile) -> Option<Self> {
        let shape = |name: &str| Some(file.info(&format!("{PREFIX}{name}"))?.shape);
        let side = |name: &str, dimension: usize| shape(name)?.get(dimension).copied();
        let depth = |entry: &str| {
            (0..MAX_ENTRIES)
                .take_while(|block| {
                    shape(&format!("{entry}.transformer_blocks.{block}.norm1.weight")).is_some()
                })
                .count()
        };
        let layers_per_block = layers_per_block(file)?;
        let mut levels = vec![Level { channels: 0, transformers: Vec::new() }];
        for entry in (1..MAX_ENTRIES).map(|number| format!("input_blocks.{number}")) {
            if shape(&format!("{entry}.0.op.weight")).is_some() {
                levels.push(Level { channels: 0, transformers: Vec::new() });
            } else if let Some(channels) = side(&format!("{entry}.0.out_layers.3.weight"), 0) {
                let level = levels.last_mut()?;
                level.channels = channels;
                level.transformers.push(depth(&format!("{entry}.1")));
            } else {
                break;
            }
        }
        let per_level = layers_per_block + 1;
        let up = (0..levels.len())
            .map(|level| {
                (0..per_level)
                    .map(|layer| depth(&format!("output_blocks.{}.1", level * per_level + layer)))
                    .collect()
            })
            .collect();
        let has_transformer = shape("middle_block.1.norm.weight").is_some();
        let attention = file
            .keys()
            .into_iter()
            .find(|key| key.starts_with(PREFIX) && key.ends_with(".attn2.to_k.weight"))?;
        let projection = file
            .keys()
            .into_iter()
            .find(|key| key.starts_with(PREFIX) && key.ends_with(".proj_in.weight"))?;
        Some(Self {
            in_channels: side("input_blocks.0.0.weight", 1)?,
            out_channels: side("out.2.weight", 0)?,
            layers_per_block,
            levels,
            up,
            middle: has_transformer.then(|| depth("middle_block.1")),
            cross_attention_dim: file.info(&attention)?.shape.get(1).copied()?,
            use_linear_projection: file.info(&projection)?.shape.len() == 2,
            added: side("label_emb.0.0.weight", 1),
            guidance: side("time_embed.cond_proj.weight", 1),
        })
    }

    /// The family that has such a UNet.
    ///
    /// # Errors
    ///
    /// What is known of the network where it is of none, and what to do.
    pub(super) fn family(&self) -> Result<Family, String> {
        let unsupported = |what: &str| {
            Err(format!(
                "this is a checkpoint of {what}, which is not supported. Give one of Stable \
                 Diffusion 1.x, 2.x or XL, or an inpainting model of these"
            ))
        };
        match self.in_channels {
            5 => return unsupported("Stable Diffusion 2 depth"),
            7 => return unsupported("the Stable Diffusion upscaler"),
            8 => return unsupported("InstructPix2Pix or a model that edits by instruction"),
            _ => {}
        }
        match (self.cross_attention_dim, self.added) {
            (768, None) => Ok(Family::StableDiffusion1),
            (1024, None) => Ok(Family::StableDiffusion2),
            (1024, Some(_)) => unsupported("Stable unCLIP"),
            (2048, Some(_)) => Ok(Family::StableDiffusionXl),
            (1280, Some(_)) => Ok(Family::StableDiffusionXlRefiner),
            (width, _) => Err(format!(
                "its family cannot be told from its shapes: text embeddings of {width} channels \
                 are those of no Stable Diffusion. If it is one, give --config FOLDER with the \
                 configuration files of a checkpoint in Hugging Face layout that it was made from"
            )),
        }
    }

    /// `unet/config.json`, for pictures of so many pixels along a side.
    pub(super) fn config(&self, family: Family, side: usize) -> Value {
        let channels: Vec<usize> = self.levels.iter().map(|level| level.channels).collect();
        let heads: Vec<usize> = channels
            .iter()
            .map(|&channels| match family {
                Family::StableDiffusion1 => HEADS_OF_SD1,
                _ => (channels / HEAD_WIDTH).max(1),
            })
            .collect();
        let block_type = |transformers: &[usize], with: &'static str, without: &'static str| {
            if transformers.iter().any(|&depth| depth > 0) { with } else { without }
        };
        let down: Vec<&str> = self
            .levels
            .iter()
            .map(|level| block_type(&level.transformers, "CrossAttnDownBlock2D", "DownBlock2D"))
            .collect();
        let up: Vec<&str> = self
            .up
            .iter()
            .map(|transformers| block_type(transformers, "CrossAttnUpBlock2D", "UpBlock2D"))
            .collect();
        let mut config = json!({
            "_class_name": "UNet2DConditionModel",
            "act_fn": "silu",
            "attention_head_dim": heads,
            "block_out_channels": channels,
            "center_input_sample": false,
            "cross_attention_dim": self.cross_attention_dim,
            "down_block_types": down,
            "downsample_padding": 1,
            "flip_sin_to_cos": true,
            "freq_shift": 0,
            "in_channels": self.in_channels,
            "layers_per_block": self.layers_per_block,
            "mid_block_scale_factor": 1,
            "mid_block_type": match self.middle {
                Some(_) => "UNetMidBlock2DCrossAttn",
                None => "UNetMidBlock2D",
            },
            "norm_eps": 1e-5,
            "norm_num_groups": 32,
            "out_channels": self.out_channels,
            "sample_size": side / 8,
            "up_block_types": up,
            "use_linear_projection": self.use_linear_projection,
        });
        if let Value::Object(config) = &mut config {
            self.add_transformers(config);
            if let Some(guidance) = self.guidance {
                config.insert("time_cond_proj_dim".to_owned(), json!(guidance));
            }
            if let Some(added) = self.added {
                config.insert("addition_embed_type".to_owned(), json!("text_time"));
                config.insert("addition_time_embed_dim".to_owned(), json!(SIZE_EMBEDDING));
                config.insert("projection_class_embeddings_input_dim".to_owned(), json!(added));
            }
        }
        config
    }

    /// `transformer_layers_per_block`: a number for each level where both ways are alike, lists for
    /// each way where they are not, as in distilled networks.
    fn add_transformers(&self, config: &mut Map<String, Value>) {
        let number = |transformers: &[usize]| {
            let first = transformers.first().copied()?;
            transformers.iter().all(|&depth| depth == first).then_some(first)
        };
        let down: Option<Vec<usize>> =
            self.levels.iter().map(|level| number(&level.transformers)).collect();
        let up: Option<Vec<usize>> = self.up.iter().rev().map(|level| number(level)).collect();
        let key = "transformer_layers_per_block".to_owned();
        let middle = self.middle.unwrap_or(1);
        match (down, up) {
            (Some(mut down), Some(up)) if down == up => {
                // The middle takes the number of the last level, which may have no other use.
                let last = down.len() - 1;
                if down[last] == 0 {
                    down[last] = middle;
                }
                let down: Vec<usize> = down.into_iter().map(|depth| depth.max(1)).collect();
                if down.iter().any(|&depth| depth != 1) {
                    config.insert(key, json!(down));
                }
            }
            _ => {
                let lists = |transformers: &[usize]| match number(transformers) {
                    Some(depth) => json!(depth.max(1)),
                    None => json!(transformers),
                };
                let down: Vec<Value> =
                    self.levels.iter().map(|level| lists(&level.transformers)).collect();
                let up: Vec<Value> = self.up.iter().map(|level| json!(level)).collect();
                config.insert(key, json!(down));
                config.insert("reverse_transformer_layers_per_block".to_owned(), json!(up));
            }
        }
    }
}

/// Residual blocks of each level: the first downsampler stands behind them.
pub(super) fn layers_per_block(file: &TensorFile) -> Option<usize> {
    (1..MAX_ENTRIES)
        .find(|entry| file.contains(&format!("{PREFIX}input_blocks.{entry}.0.op.weight")))
        .map(|entry| entry - 1)
}
