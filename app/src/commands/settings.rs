//! `emberbrush settings`, and making an image again from its settings

use std::path::Path;

use anyhow::bail;
use emberbrush_library::folder::Library;
use emberbrush_pipeline::{
    metadata::{self, ImageSettings, Program},
    prompt::PromptSyntax,
    request::Control,
};
use serde_json::{Map, Value, json};

use crate::{
    cli::{ModelArguments, SettingsArguments},
    report,
};

/// Fields of an image's settings that are not of its request.
pub(crate) const OF_THE_RUN: [&str; 8] =
    ["model", "model-hash", "vae", "vae-hash", "dtype", "prompt-syntax", "batch-size", "batch-pos"];

/// Fields that mean nothing without the picture to start from, which only this program names.
const OF_A_PICTURE: [&str; 7] = [
    "strength",
    "invert-mask",
    "mask-area",
    "mask-blur",
    "mask-mode",
    "mask-padding",
    "masked-content",
];

pub(crate) fn run(arguments: &SettingsArguments) -> anyhow::Result<()> {
    let ImageSettings { program, fields, unread } = metadata::read(&arguments.image)?;
    if arguments.json {
        let mut object = fields;
        object.insert("source".to_owned(), json!(program));
        object.insert("unread".to_owned(), json!(unread));
        report::object(&Value::Object(object));
        return Ok(());
    }
    report::println(&format!("written by {program}"));
    for (field, value) in &fields {
        match value {
            Value::String(text) => report::println(&format!("{field:<10} {text}")),
            other => report::println(&format!("{field:<10} {other}")),
        }
    }
    for what in &unread {
        report::println(&format!("not read   {what}"));
    }
    Ok(())
}

/// The settings of an image that is made again.
#[derive(Debug)]
pub(crate) struct Repeated {
    program: Program,
    /// Those of its request.
    pub(crate) fields: Map<String, Value>,
    model: Option<String>,
    vae: Option<String>,
    /// How its prompts were read.
    pub(crate) prompt_syntax: Option<PromptSyntax>,
}

impl Repeated {
    /// Reads an image and tells what of its settings cannot be repeated.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let ImageSettings { program, mut fields, mut unread } = metadata::read(path)?;
        let text = |field: &str| fields.get(field).and_then(Value::as_str).map(str::to_owned);
        let (model, vae) = (text("model"), text("vae"));
        let syntax = fields.get("prompt-syntax").and_then(Value::as_str);
        let prompt_syntax = syntax.and_then(|name| name.parse().ok());
        if let Some(size) = fields.get("batch-size").and_then(Value::as_u64) {
            report::warn(&format!(
                "the image was made at once with {} others; alone, colours may differ by 1 of 255",
                size.saturating_sub(1)
            ));
        }
        for field in OF_THE_RUN {
            fields.remove(field);
        }
        if !fields.contains_key("init") {
            for field in OF_A_PICTURE {
                if let Some(value) = fields.remove(field) {
                    unread.push(format!("{field}: {value}"));
                }
            }
        }
        // Other programs do not say where maps are.
        if !fields.contains_key("control-image") && !fields.contains_key("init") {
            for field in Control::FIELDS {
                if let Some(value) = fields.remove(field) {
                    unread.push(format!("{field}: {value}"));
                }
            }
        }
        for what in unread {
            report::warn(&format!("not repeated from the image: {what}"));
        }
        Ok(Self { program, fields, model, vae, prompt_syntax })
    }

    /// The checkpoint and its autoencoder: those that are asked for, or else the image's.
    pub(crate) fn model(&self, asked: &ModelArguments) -> anyhow::Result<ModelArguments> {
        let mut arguments = self.checkpoint(asked)?;
        let Some(name) = self.vae.as_ref().filter(|_| arguments.vae.is_none()) else {
            return Ok(arguments);
        };
        if Path::new(name).exists() {
            arguments.vae = Some(name.into());
        } else if self.program == Program::Emberbrush {
            bail!("the image was made with the autoencoder {name}; give it with --vae");
        } else {
            report::warn(&format!(
                "the image was made with the autoencoder {name}; the checkpoint's own is used"
            ));
        }
        Ok(arguments)
    }

    fn checkpoint(&self, asked: &ModelArguments) -> anyhow::Result<ModelArguments> {
        let mut arguments = asked.clone();
        let Some(name) = &self.model else { return Ok(arguments) };
        if arguments.model.is_some() || name == emberbrush_assets::DEFAULT_MODEL_NAME {
            return Ok(arguments);
        }
        if let Ok(model) = Library::of_person().find(name) {
            arguments.model = Some(model.path);
            return Ok(arguments);
        }
        let is_folder = Path::new(name).join("model_index.json").is_file();
        if is_folder || Path::new(name).is_file() {
            arguments.model = Some(name.into());
        } else if self.program == Program::Emberbrush {
            bail!("the image was made with the model {name}; give it with --model");
        } else {
            report::warn(&format!("the image was made with {name}; the model in the box is used"));
        }
        Ok(arguments)
    }
}
