//! The arguments of ControlNets, which are also fields of job files.

use std::path::PathBuf;

use clap::Args;
use emberbrush_pipeline::request::{CONTROL_PREPROCESSES, Control};
use serde::Serialize;
use serde_json::{Map, Value};

/// Steering a picture by the lines, depths or poses of another.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(next_help_heading = "ControlNets (each flag once for all of them, or once for each)")]
pub(crate) struct ControlArguments {
    /// A ControlNet: a folder or a .safetensors file. May be given several times.
    #[arg(long, value_name = "MODEL")]
    control: Vec<PathBuf>,
    /// The map that it is shown, or with --control-preprocess the picture of which one is made
    /// [default: the picture of --init].
    #[arg(long, value_name = "IMAGE", requires = "control")]
    control_image: Vec<PathBuf>,
    /// What makes a map of the picture: none or canny [default: none].
    #[arg(long, value_name = "NAME", requires = "control", value_parser = CONTROL_PREPROCESSES)]
    control_preprocess: Vec<String>,
    /// How strongly it acts [default: 1].
    #[arg(long, value_name = "X", requires = "control")]
    control_weight: Vec<f64>,
    /// The share of the steps after which it begins to act [default: 0].
    #[arg(long, value_name = "X", requires = "control")]
    control_start: Vec<f64>,
    /// The share of the steps after which it acts no more [default: 1].
    #[arg(long, value_name = "X", requires = "control")]
    control_end: Vec<f64>,
    /// Let it act on the prompt's half of guidance alone, and more on the whole than on details
    /// (guess mode): true or false [default: false].
    #[arg(
        long, value_name = "BOOL", requires = "control", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )]
    control_guess: Vec<bool>,
    /// Canny: from this difference on an edge is followed [default: 100].
    #[arg(long, value_name = "N", requires = "control_preprocess")]
    canny_low: Vec<f64>,
    /// Canny: from this difference on an edge begins [default: 200].
    #[arg(long, value_name = "N", requires = "control_preprocess")]
    canny_high: Vec<f64>,
}

impl ControlArguments {
    /// The fields that the flags state: a value for all ControlNets, or a list with one for each.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let Ok(Value::Object(fields)) = serde_json::to_value(self) else { return Map::new() };
        let stated = fields.into_iter().filter_map(|(field, value)| match value {
            Value::Array(mut values) if field != Control::FIELD && values.len() == 1 => {
                Some((field, values.remove(0)))
            }
            Value::Array(values) if values.is_empty() => None,
            value => Some((field, value)),
        });
        stated.collect()
    }
}
