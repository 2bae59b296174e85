//! What a checkpoint is, without loading it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    CheckpointError,
    component::ComponentWeights,
    files::CheckpointFiles,
    folder::{Family, family},
};

/// The description of a checkpoint.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The checkpoint's name.
    pub name: String,
    /// Its family.
    pub family: Family,
    /// How its files are arranged.
    pub layout: &'static str,
    /// Latent channels that the UNet takes: 4, or 9 for inpainting models.
    pub in_channels: u64,
    /// What the UNet predicts: `epsilon`, `v_prediction` or `sample`.
    pub prediction_type: String,
    /// The scheduler class that the checkpoint names.
    pub scheduler: String,
    /// Side length in pixels that the checkpoint was trained for, where it says so.
    pub native_size: Option<u64>,
    /// Its networks.
    pub components: Vec<InspectedComponent>,
    /// Parameters of all networks.
    pub parameters: u64,
    /// Bytes of all weights as stored.
    pub stored_bytes: u64,
}

/// One network of a checkpoint.
#[derive(Debug, Clone, Serialize)]
pub struct InspectedComponent {
    /// The folder, such as `unet`.
    pub name: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Number of elements by stored type.
    pub elements_by_dtype: BTreeMap<String, u64>,
    /// Bytes as stored.
    pub stored_bytes: u64,
    /// The values of `config.json` that give its sizes.
    pub sizes: BTreeMap<String, Value>,
}

/// The fields of a network's configuration that people compare checkpoints by.
const SIZES: &[&str] = &[
    "block_out_channels",
    "cross_attention_dim",
    "attention_head_dim",
    "layers_per_block",
    "transformer_layers_per_block",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "vocab_size",
    "latent_channels",
    "scaling_factor",
];

/// Describes the checkpoint.
pub fn inspect(files: &CheckpointFiles) -> Result<Inspection, CheckpointError> {
    let family = family(files)?;
    let mut components = Vec::new();
    for name in ["text_encoder", "text_encoder_2", "unet", "vae"] {
        if files.contains(&format!("{name}/config.json")) {
            components.push(inspect_component(files, name)?);
        }
    }
    let unet: Value = files.json("unet/config.json")?;
    // A single file may leave the autoencoder to another.
    let vae = match files.read_optional("vae/config.json")? {
        Some(_) => files.json("vae/config.json")?,
        None => Value::Null,
    };
    let scheduler: Value = files.json("scheduler/scheduler_config.json")?;
    let text = |value: &Value, key: &str, otherwise: &str| {
        value.get(key).and_then(Value::as_str).unwrap_or(otherwise).to_owned()
    };
    let levels = vae.get("block_out_channels").and_then(Value::as_array).map_or(4, Vec::len);
    let downscale = 1 << levels.saturating_sub(1);
    Ok(Inspection {
        name: files.name(),
        family,
        layout: match files {
            CheckpointFiles::Folder(_) => "Hugging Face folder",
            CheckpointFiles::SingleFile(single) => single.layout(),
            CheckpointFiles::Embedded { .. } => "Hugging Face folder, part of the program",
        },
        in_channels: unet.get("in_channels").and_then(Value::as_u64).unwrap_or(4),
        prediction_type: text(&scheduler, "prediction_type", "epsilon"),
        scheduler: text(&scheduler, "_class_name", "unknown"),
        native_size: unet.get("sample_size").and_then(Value::as_u64).map(|size| size * downscale),
        parameters: components.iter().map(|component| component.parameters).sum(),
        stored_bytes: components.iter().map(|component| component.stored_bytes).sum(),
        components,
    })
}

fn inspect_component(
    files: &CheckpointFiles,
    name: &str,
) -> Result<InspectedComponent, CheckpointError> {
    let config: BTreeMap<String, Value> = files.json(&format!("{name}/config.json"))?;
    let weights = ComponentWeights::open(files, name)?;
    let elements_by_dtype = weights.elements_by_dtype();
    let parameters = elements_by_dtype
        .iter()
        .filter(|(dtype, _)| dtype.starts_with('f') || dtype.starts_with("bf"))
        .map(|(_, elements)| elements)
        .sum();
    Ok(InspectedComponent {
        name: name.to_owned(),
        parameters,
        stored_bytes: weights.stored_bytes(),
        elements_by_dtype,
        sizes: config
            .into_iter()
            .filter(|(key, value)| SIZES.contains(&key.as_str()) && !value.is_null())
            .collect(),
    })
}
