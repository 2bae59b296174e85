//! The settings that an image carries: written for this program and others, and read from both.
//!
//! Fields are named as the flags of the command line: `prompt`, `negative`, `steps`, `cfg`,
//! `sampler`, `schedule`, `seed`, `rng`, `width`, `height`, `model`, `strength`…

pub(crate) mod adapters;
mod comfyui;
mod control;
pub(crate) mod exif;
mod fooocus;
mod infotext;
mod invokeai;
mod model_hash;
mod read;
mod vae;
mod write;

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

pub use adapters::AdapterHashes;
pub use model_hash::{HashCache, ModelHash, sha256};
pub use read::{SettingsError, interpret, read};
pub use vae::{VaeHash, VaeRecord};
pub use write::{BatchPlace, EMBERBRUSH, MadeWith, PARAMETERS, parameters, texts, texts_of_batch};

use crate::schedulers::{Sampler, Schedule};

/// The program that wrote settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// This one.
    Emberbrush,
    /// AUTOMATIC1111's web UI, or another that writes as it does.
    Automatic1111,
    /// Forge.
    Forge,
    /// ComfyUI.
    #[serde(rename = "comfyui")]
    ComfyUi,
    /// Fooocus.
    Fooocus,
    /// InvokeAI.
    #[serde(rename = "invokeai")]
    InvokeAi,
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Emberbrush => "Emberbrush",
            Self::Automatic1111 => "AUTOMATIC1111",
            Self::Forge => "Forge",
            Self::ComfyUi => "ComfyUI",
            Self::Fooocus => "Fooocus",
            Self::InvokeAi => "InvokeAI",
        })
    }
}

/// The settings of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSettings {
    /// Who wrote them.
    pub program: Program,
    /// What was understood, by the names of the flags. Samplers and schedules have this
    /// program's names.
    pub fields: Map<String, Value>,
    /// What was not, as `key: value` or a sentence.
    pub unread: Vec<String>,
}

impl ImageSettings {
    fn new(program: Program) -> Self {
        Self { program, fields: Map::new(), unread: Vec::new() }
    }

    fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.fields.insert(field.to_owned(), value.into());
    }

    fn not_read(&mut self, key: &str, value: impl fmt::Display) {
        self.unread.push(format!("{key}: {value}"));
    }

    fn set_integer(&mut self, field: &str, key: &str, value: &str) {
        match value.trim().parse::<u64>() {
            Ok(number) => self.set(field, number),
            Err(_) => self.not_read(key, value),
        }
    }

    fn set_number(&mut self, field: &str, key: &str, value: &str) {
        match value.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => self.set(field, number),
            _ => self.not_read(key, value),
        }
    }

    fn set_sampler(&mut self, key: &str, name: &str) {
        match Sampler::from_display_name(name).or_else(|| our_name(name).parse().ok()) {
            Some(sampler) => self.set("sampler", sampler.name()),
            None => self.not_read(key, name),
        }
    }

    fn set_schedule(&mut self, key: &str, name: &str) {
        match Schedule::from_display_name(name).or_else(|| our_name(name).parse().ok()) {
            Some(schedule) => self.set("schedule", schedule.name()),
            None => self.not_read(key, name),
        }
    }

    /// Takes over a value of another program's JSON; `null` is as good as absent.
    fn take(&mut self, field: &str, key: &str, value: &Value) {
        let fits = match field {
            "seed" | "steps" | "width" | "height" => value.is_u64(),
            "cfg" | "strength" => value.is_number(),
            _ => value.is_string(),
        };
        match value {
            Value::Null => {}
            Value::String(text) if field == "sampler" => self.set_sampler(key, text),
            Value::String(text) if field == "schedule" => self.set_schedule(key, text),
            Value::String(text) if matches!(field, "seed" | "steps" | "width" | "height") => {
                self.set_integer(field, key, text);
            }
            Value::String(text) if matches!(field, "cfg" | "strength") => {
                self.set_number(field, key, text);
            }
            value if fits => self.set(field, value.clone()),
            value => self.not_read(key, value),
        }
    }
}

/// ComfyUI's and InvokeAI's way to write a sampler, in this program's: `euler_ancestral` and
/// `euler_a` are `euler-a`, `dpm_2` and `kdpm_2` are `dpm2`, and `dpmpp_sde_gpu` is `dpmpp-sde`.
fn our_name(name: &str) -> String {
    let name = name.to_lowercase().replace("_ancestral", "-a").replace([' ', '_'], "-");
    let name = name.strip_suffix("-gpu").unwrap_or(&name).to_owned();
    name.replace("kdpm-2", "dpm2").replace("dpm-2", "dpm2").replace("uni-pc", "unipc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_names_are_understood() {
        for (theirs, ours) in [
            ("euler_ancestral", Sampler::EulerAncestral),
            ("dpm_2", Sampler::Dpm2),
            ("kdpm_2_a", Sampler::Dpm2Ancestral),
            ("dpm_2_ancestral", Sampler::Dpm2Ancestral),
            ("dpmpp_2s_ancestral", Sampler::Dpmpp2sAncestral),
            ("dpmpp_2m_sde_gpu", Sampler::Dpmpp2mSde),
            ("uni_pc", Sampler::UniPc),
        ] {
            assert_eq!(our_name(theirs).parse(), Ok(ours), "{theirs}");
        }
        for schedule in ["sgm_uniform", "ddim_uniform", "kl_optimal", "linear_quadratic"] {
            assert!(our_name(schedule).parse::<Schedule>().is_ok(), "{schedule}");
        }
    }

    #[test]
    fn a_schedule_at_the_end_of_a_sampler_is_split_off() {
        let text = "a cat\nNegative prompt: \nSteps: 20, Sampler: DPM++ 2M SDE Exponential, CFG scale: 7, Seed: 1, \
                    Size: 512x512";
        let settings = infotext::read(text);
        assert_eq!(settings.fields["sampler"], "dpmpp-2m-sde");
        assert_eq!(settings.fields["schedule"], "exponential");
    }
}
