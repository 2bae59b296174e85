//! What a request says about adapters.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Weights are kept within this on either side of zero, far beyond what leaves a picture.
pub const MAX_LORA_WEIGHT: f64 = 100.0;

/// The adapters of a request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AdapterSelection {
    /// Low-rank adapters, in the order in which they are merged.
    #[serde(deserialize_with = "one_or_more")]
    pub lora: Vec<LoraSelection>,
    /// Files of textual inversion.
    #[serde(deserialize_with = "one_or_more")]
    pub embedding: Vec<PathBuf>,
}

/// A low-rank adapter and how much of it is merged, written as `FILE:WEIGHT` or
/// `FILE:TEXT:UNET`, in the order of A1111's `<lora:…>`; a weight that is not written is 1.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraSelection {
    /// A file, or a name that is looked for in a folder.
    pub file: PathBuf,
    /// The weight in the UNet.
    pub unet: f64,
    /// The weight in the text encoders.
    pub text: f64,
}

/// Text that selects no adapter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` selects no LoRA; write FILE, FILE:WEIGHT or FILE:TEXT:UNET, with weights within 100 of 0"
)]
pub struct BadLora(String);

impl FromStr for LoraSelection {
    type Err = BadLora;

    fn from_str(text: &str) -> Result<Self, BadLora> {
        let (mut file, mut weights) = (text, Vec::new());
        // Read from the end, for paths may hold colons themselves.
        while let Some((rest, number)) = file.rsplit_once(':')
            && weights.len() < 2
            && let Ok(weight) = number.trim().parse::<f64>()
        {
            weights.push(weight);
            file = rest;
        }
        let in_range = |weight: &f64| weight.abs() <= MAX_LORA_WEIGHT;
        if file.trim().is_empty() || !weights.iter().all(in_range) {
            return Err(BadLora(text.to_owned()));
        }
        let unet = weights.first().copied().unwrap_or(1.0);
        let text = weights.last().copied().unwrap_or(1.0);
        Ok(Self { file: file.trim().into(), unet, text })
    }
}

impl fmt::Display for LoraSelection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, unet, text } = self;
        write!(formatter, "{}:{text}", file.display())?;
        if unet == text { Ok(()) } else { write!(formatter, ":{unet}") }
    }
}

impl Serialize for LoraSelection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LoraSelection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A list, or a single entry without brackets as people write it into a job file.
fn one_or_more<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore<T> {
        One(T),
        More(Vec<T>),
    }
    Ok(match OneOrMore::deserialize(deserializer)? {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lora(file: &str, unet: f64, text: f64) -> LoraSelection {
        LoraSelection { file: file.into(), unet, text }
    }

    #[test]
    fn weights_are_read_from_the_end() {
        for (text, expected) in [
            ("a.safetensors", lora("a.safetensors", 1.0, 1.0)),
            ("a:0.8", lora("a", 0.8, 0.8)),
            ("a:0.8:-1", lora("a", -1.0, 0.8)),
            (r"C:\ink.safetensors:0.5", lora(r"C:\ink.safetensors", 0.5, 0.5)),
            (r"C:\ink.safetensors", lora(r"C:\ink.safetensors", 1.0, 1.0)),
            ("a:1:2:3", lora("a:1", 3.0, 2.0)),
        ] {
            let read: LoraSelection = text.parse().unwrap();
            assert_eq!(read, expected, "{text}");
            assert_eq!(read.to_string().parse(), Ok(expected), "{read}");
        }
        for bad in ["", ":1", "a:nan", "a:101", "a:1e999"] {
            assert!(bad.parse::<LoraSelection>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_single_entry_needs_no_brackets() {
        let one: AdapterSelection =
            serde_json::from_value(json!({ "lora": "a:0.5", "embedding": "b.pt" })).unwrap();
        assert_eq!(one.lora, [lora("a", 0.5, 0.5)]);
        assert_eq!(one.embedding, [PathBuf::from("b.pt")]);
        let json = serde_json::to_value(&one).unwrap();
        assert_eq!(json, json!({ "lora": ["a:0.5"], "embedding": ["b.pt"] }));
        assert_eq!(serde_json::from_value::<AdapterSelection>(json).unwrap(), one);
        assert_eq!(
            serde_json::from_value::<AdapterSelection>(json!({})).unwrap(),
            AdapterSelection::default()
        );
    }
}
