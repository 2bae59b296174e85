//! The adapters of the next pictures, as a person chooses them.

use std::path::PathBuf;

use emberbrush_pipeline::adapters::{AdapterSelection, LoraSelection};
use serde::{Deserialize, Serialize};

/// A LoRA of the list. One that is off keeps its place and its weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LoraChoice {
    /// It is merged.
    On(LoraSelection),
    /// It is not.
    Off {
        /// What it is when it is on.
        off: LoraSelection,
    },
}

impl LoraChoice {
    /// The file and its weights.
    pub fn selection(&self) -> &LoraSelection {
        match self {
            Self::On(selection) | Self::Off { off: selection } => selection,
        }
    }

    /// The file and its weights, to change.
    pub fn selection_mut(&mut self) -> &mut LoraSelection {
        match self {
            Self::On(selection) | Self::Off { off: selection } => selection,
        }
    }

    /// Whether it is merged.
    pub fn is_on(&self) -> bool {
        matches!(self, Self::On(_))
    }

    /// The same, on where it is off and off where it is on.
    #[must_use]
    pub fn switched(self) -> Self {
        match self {
            Self::On(off) => Self::Off { off },
            Self::Off { off } => Self::On(off),
        }
    }
}

/// Everything that is added to the checkpoint.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AdapterChoices {
    /// Low-rank adapters, in the order in which they are merged.
    pub lora: Vec<LoraChoice>,
    /// Files of textual inversion beside those that prompts name.
    pub embedding: Vec<PathBuf>,
}

impl AdapterChoices {
    /// What a request says of them.
    pub fn selection(&self) -> AdapterSelection {
        let is_on = |choice: &&LoraChoice| choice.is_on();
        let lora = self.lora.iter().filter(is_on).map(LoraChoice::selection).cloned().collect();
        AdapterSelection { lora, embedding: self.embedding.clone() }
    }
}

impl From<AdapterSelection> for AdapterChoices {
    fn from(AdapterSelection { lora, embedding }: AdapterSelection) -> Self {
        Self { lora: lora.into_iter().map(LoraChoice::On).collect(), embedding }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_that_is_off_is_kept_and_not_asked_for() {
        let written =
            json!({ "lora": ["ink:0.5", { "off": "oil:0.8:1" }], "embedding": ["toy.pt"] });
        let mut choices: AdapterChoices = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&choices).unwrap(), written);
        let asked = |choices: &AdapterChoices| -> Vec<String> {
            choices.selection().lora.iter().map(ToString::to_string).collect()
        };
        assert_eq!(asked(&choices), ["ink:0.5"]);
        let oil = choices.lora.remove(1);
        choices.lora.push(oil.switched());
        assert_eq!(asked(&choices), ["ink:0.5", "oil:0.8:1"]);
        assert_eq!(choices.selection().embedding, [PathBuf::from("toy.pt")]);
    }
}
