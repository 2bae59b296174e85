//! From the configuration to one description per level, with everything checked.

use emberbrush_layers::weights::WeightError;

use crate::config::{
    DownBlockType, MidBlockType, PerLevel, TransformerLayers, UNet2DConditionConfig, UpBlockType,
};

/// Far above any published network, and low enough that no product of two overflows.
const MAX_SIZE: usize = 1 << 20;

/// One level of resolution, on one of the two ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) channels: usize,
    pub(crate) heads: usize,
    pub(crate) cross_attention_dim: usize,
    pub(crate) only_cross_attention: bool,
    /// Number of residual blocks.
    pub(crate) layers: usize,
    /// Transformer blocks after each residual block; empty without cross-attention.
    pub(crate) transformer_layers: Vec<usize>,
    /// Whether it has the highest resolution of all levels with transformers, where there are the
    /// most tokens.
    pub(crate) is_finest: bool,
}

/// The levels of the way down and the middle, which ControlNets have too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContractingLevels {
    /// In the order in which they are run; at least one.
    pub(crate) down: Vec<Level>,
    /// `transformer_layers` holds the one transformer's.
    pub(crate) mid: Level,
}

/// The levels of both ways, in the order in which they are run, and the middle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Levels {
    pub(crate) contracting: ContractingLevels,
    pub(crate) up: Vec<Level>,
}

const TRANSFORMERS_KEY: &str = "transformer_layers_per_block";
const REVERSED_TRANSFORMERS_KEY: &str = "reverse_transformer_layers_per_block";

/// The values of a configuration for each level, from the highest resolution to the lowest.
struct Values {
    /// As if no level had transformers.
    plain: Vec<Level>,
    heads_key: &'static str,
    transformers: Vec<TransformerLayers>,
}

impl Values {
    fn new(config: &UNet2DConditionConfig) -> Result<Self, WeightError> {
        refuse_unsupported(config)?;
        let channels = &config.block_out_channels;
        let count = channels.len();
        if count == 0 {
            return Err(error("block_out_channels is empty"));
        }
        length("down_block_types", config.down_block_types.len(), count)?;
        let heads_key = if config.num_attention_heads.is_some() {
            "num_attention_heads"
        } else {
            "attention_head_dim"
        };
        let heads = config.num_attention_heads.as_ref().unwrap_or(&config.attention_head_dim);
        let heads = each(heads_key, heads, count)?;
        let layers = each("layers_per_block", &config.layers_per_block, count)?;
        let cross_attention_dim = each("cross_attention_dim", &config.cross_attention_dim, count)?;
        let only_cross = each("only_cross_attention", &config.only_cross_attention, count)?;
        let transformers = each(TRANSFORMERS_KEY, &config.transformer_layers_per_block, count)?;
        let has_transformers = |kind: &DownBlockType| *kind == DownBlockType::CrossAttnDownBlock2D;
        let finest = config.down_block_types.iter().position(has_transformers);
        let plain = |level: usize| {
            sizes(&[
                ("block_out_channels", channels[level]),
                (heads_key, heads[level]),
                ("layers_per_block", layers[level]),
                ("cross_attention_dim", cross_attention_dim[level]),
            ])?;
            Ok(Level {
                channels: channels[level],
                heads: heads[level],
                cross_attention_dim: cross_attention_dim[level],
                only_cross_attention: only_cross[level],
                layers: layers[level],
                transformer_layers: Vec::new(),
                is_finest: finest == Some(level),
            })
        };
        let plain = (0..count).map(plain).collect::<Result<_, WeightError>>()?;
        Ok(Self { plain, heads_key, transformers })
    }

    /// A level of so many layers, each with a transformer; `key` is where their sizes are from.
    fn with_transformers(
        &self,
        level: usize,
        layers: usize,
        key: &str,
        transformers: &TransformerLayers,
    ) -> Result<Level, WeightError> {
        let plain = &self.plain[level];
        divides(self.heads_key, plain.heads, plain.channels)?;
        let transformer_layers = match transformers {
            TransformerLayers::Same(number) => vec![*number; layers],
            TransformerLayers::Each(numbers) => {
                length(key, numbers.len(), layers)?;
                numbers.clone()
            }
        };
        Ok(Level { layers, transformer_layers, ..plain.clone() })
    }
}

impl ContractingLevels {
    /// # Errors
    ///
    /// A list of the wrong length, a size that is 0 or absurd, heads that do not divide the
    /// channels, or an option that is not supported; each names its key.
    pub(crate) fn new(config: &UNet2DConditionConfig) -> Result<Self, WeightError> {
        Self::from_values(config, &Values::new(config)?)
    }

    fn from_values(config: &UNet2DConditionConfig, values: &Values) -> Result<Self, WeightError> {
        let Values { plain, heads_key, transformers } = values;
        let mut down = Vec::with_capacity(plain.len());
        for (level, block_type) in config.down_block_types.iter().enumerate() {
            down.push(match block_type {
                DownBlockType::DownBlock2D => plain[level].clone(),
                DownBlockType::CrossAttnDownBlock2D => {
                    let layers = plain[level].layers;
                    let transformers = &transformers[level];
                    values.with_transformers(level, layers, TRANSFORMERS_KEY, transformers)?
                }
            });
        }
        let last = plain.len() - 1;
        if config.mid_block_type == Some(MidBlockType::UNetMidBlock2DCrossAttn) {
            divides(heads_key, plain[last].heads, plain[last].channels)?;
        }
        let mid_transformers = match &transformers[last] {
            TransformerLayers::Same(number) => *number,
            TransformerLayers::Each(numbers) => numbers.first().copied().unwrap_or(1),
        };
        let mid = Level {
            only_cross_attention: false,
            layers: 1,
            transformer_layers: vec![mid_transformers],
            ..plain[last].clone()
        };
        Ok(Self { down, mid })
    }

    /// Channels of the first convolution's output and of what each layer and downsampler of the
    /// way down puts out, in order.
    pub(crate) fn skip_channels(&self) -> Vec<usize> {
        let last = self.down.len() - 1;
        let mut channels = vec![self.down[0].channels];
        for (index, level) in self.down.iter().enumerate() {
            let outputs = level.layers + usize::from(index != last);
            channels.extend(std::iter::repeat_n(level.channels, outputs));
        }
        channels
    }
}

impl Levels {
    /// # Errors
    ///
    /// Those of [`ContractingLevels::new`], for the way up too.
    pub(crate) fn new(config: &UNet2DConditionConfig) -> Result<Self, WeightError> {
        let values = Values::new(config)?;
        let contracting = ContractingLevels::from_values(config, &values)?;
        let count = values.plain.len();
        length("up_block_types", config.up_block_types.len(), count)?;
        let reversed = config.reverse_transformer_layers_per_block.as_ref();
        if let Some(reversed) = reversed {
            length(REVERSED_TRANSFORMERS_KEY, reversed.len(), count)?;
        }
        let mut up = Vec::with_capacity(count);
        for (mirrored, block_type) in config.up_block_types.iter().enumerate() {
            let level = count - 1 - mirrored;
            let layers = values.plain[level].layers + 1;
            let transformers = &values.transformers[level];
            up.push(match (block_type, reversed) {
                (UpBlockType::UpBlock2D, _) => Level { layers, ..values.plain[level].clone() },
                (UpBlockType::CrossAttnUpBlock2D, Some(reversed)) => {
                    let key = REVERSED_TRANSFORMERS_KEY;
                    values.with_transformers(level, layers, key, &reversed[mirrored])?
                }
                (UpBlockType::CrossAttnUpBlock2D, None) => {
                    if matches!(transformers, TransformerLayers::Each(_)) {
                        return Err(error(format!(
                            "{TRANSFORMERS_KEY} holds lists for single levels, so \
                             {REVERSED_TRANSFORMERS_KEY} must be given"
                        )));
                    }
                    values.with_transformers(level, layers, TRANSFORMERS_KEY, transformers)?
                }
            });
        }
        Ok(Self { contracting, up })
    }
}

fn refuse_unsupported(config: &UNet2DConditionConfig) -> Result<(), WeightError> {
    for (key, value, supported) in [
        ("resnet_time_scale_shift", &config.resnet_time_scale_shift, "default"),
        ("time_embedding_type", &config.time_embedding_type, "positional"),
        ("attention_type", &config.attention_type, "default"),
    ] {
        if value != supported {
            return Err(error(format!("{key} \"{value}\" is not supported, only \"{supported}\"")));
        }
    }
    for (key, set) in [
        ("dual_cross_attention", config.dual_cross_attention),
        ("class_embeddings_concat", config.class_embeddings_concat),
        ("class_embed_type", config.class_embed_type.is_some()),
        ("num_class_embeds", config.num_class_embeds.is_some()),
        ("encoder_hid_dim", config.encoder_hid_dim.is_some()),
        ("encoder_hid_dim_type", config.encoder_hid_dim_type.is_some()),
        ("time_embedding_act_fn", config.time_embedding_act_fn.is_some()),
        ("timestep_post_act", config.timestep_post_act.is_some()),
        ("cross_attention_norm", config.cross_attention_norm.is_some()),
    ] {
        if set {
            return Err(error(format!("{key} is set, which is not supported")));
        }
    }
    sizes(&[
        ("in_channels", config.in_channels),
        ("out_channels", config.out_channels),
        ("norm_num_groups", config.norm_num_groups),
        ("conv_in_kernel", config.conv_in_kernel),
        ("conv_out_kernel", config.conv_out_kernel),
    ])?;
    for (key, size) in [
        ("time_embedding_dim", config.time_embedding_dim),
        ("time_cond_proj_dim", config.time_cond_proj_dim),
        ("addition_time_embed_dim", config.addition_time_embed_dim),
        ("projection_class_embeddings_input_dim", config.projection_class_embeddings_input_dim),
    ] {
        if let Some(size) = size {
            sizes(&[(key, size)])?;
        }
    }
    for (key, size) in
        [("conv_in_kernel", config.conv_in_kernel), ("conv_out_kernel", config.conv_out_kernel)]
    {
        if size.is_multiple_of(2) {
            return Err(error(format!("{key} is {size}, but must be odd")));
        }
    }
    if config.downsample_padding > 1 {
        return Err(error(format!(
            "downsample_padding {} is not supported, only 0 and 1",
            config.downsample_padding
        )));
    }
    if !(config.mid_block_scale_factor.is_finite() && config.mid_block_scale_factor != 0.0) {
        return Err(error("mid_block_scale_factor must be a number other than 0"));
    }
    Ok(())
}

pub(crate) fn error(reason: impl std::fmt::Display) -> WeightError {
    WeightError::Config(reason.to_string())
}

/// The same error, with the file that a configuration is from.
pub(crate) fn in_file(file: &str, error: WeightError) -> WeightError {
    match error {
        WeightError::Config(reason) => WeightError::Config(format!("{file}: {reason}")),
        other => other,
    }
}

fn each<T: Clone>(key: &str, value: &PerLevel<T>, count: usize) -> Result<Vec<T>, WeightError> {
    match value {
        PerLevel::Same(value) => Ok(vec![value.clone(); count]),
        PerLevel::Each(values) => {
            length(key, values.len(), count)?;
            Ok(values.clone())
        }
    }
}

fn length(key: &str, found: usize, expected: usize) -> Result<(), WeightError> {
    if found == expected {
        return Ok(());
    }
    Err(error(format!("{key} has {found} entries where {expected} are needed")))
}

fn sizes(sizes: &[(&str, usize)]) -> Result<(), WeightError> {
    match sizes.iter().find(|(_, size)| *size == 0 || *size > MAX_SIZE) {
        Some((key, size)) => Err(error(format!("{key}: {size} is not between 1 and {MAX_SIZE}"))),
        None => Ok(()),
    }
}

fn divides(key: &str, heads: usize, channels: usize) -> Result<(), WeightError> {
    if channels.is_multiple_of(heads) {
        return Ok(());
    }
    Err(error(format!("{key}: {channels} channels cannot be split into {heads} heads")))
}
