//! Fooocus's own scheme: a JSON object (`modules/meta_parser.py`, `FooocusMetadataParser`).

use serde_json::{Map, Value};

use super::{ImageSettings, Program, adapters::UsedLora};

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}

/// Whether a text is such an object.
pub(super) fn recognise(text: &str) -> bool {
    object(text).is_some_and(|fields| {
        fields.contains_key("base_model") && fields.contains_key("guidance_scale")
    })
}

/// Reads settings from the object.
pub(super) fn read(text: &str) -> ImageSettings {
    let mut settings = ImageSettings::new(Program::Fooocus);
    settings.set("rng", "torch");
    let fields = object(text).unwrap_or_default();
    let has_loras = fields.contains_key("loras");
    let mut loras = Vec::new();
    for (key, value) in fields {
        match key.as_str() {
            // Name, weight and hash of each; beside them they are written one by one.
            "loras" if value.is_array() => {
                loras = value.as_array().into_iter().flatten().map(used_lora).collect();
            }
            _ if has_loras && key.starts_with("lora_combined_") => {}
            "prompt" => settings.take("prompt", &key, &value),
            "negative_prompt" => settings.take("negative", &key, &value),
            "steps" => settings.take("steps", &key, &value),
            "guidance_scale" => settings.take("cfg", &key, &value),
            "seed" => settings.take("seed", &key, &value),
            "base_model" => settings.take("model", &key, &value),
            "sampler" => settings.take("sampler", &key, &value),
            "scheduler" => settings.take("schedule", &key, &value),
            "resolution" => {
                let sides: Vec<&str> = value
                    .as_str()
                    .unwrap_or_default()
                    .trim_matches(['(', ')'])
                    .split(',')
                    .collect();
                match sides[..] {
                    [width, height] => {
                        settings.set_integer("width", &key, width);
                        settings.set_integer("height", &key, height);
                    }
                    _ => settings.not_read(&key, value),
                }
            }
            // The name, version and hash of parts, and the prompt after styles were added to it.
            "version"
            | "metadata_scheme"
            | "created_by"
            | "base_model_hash"
            | "full_prompt"
            | "full_negative_prompt"
            | "vae" => {}
            _ => match &value {
                Value::Null => {}
                Value::Array(list) if list.is_empty() => {}
                Value::String(text) if matches!(text.as_str(), "" | "None" | "[]") => {}
                Value::String(text) => settings.not_read(&key, text),
                other => settings.not_read(&key, other),
            },
        }
    }
    settings.add_loras(loras);
    settings
}

fn used_lora(entry: &Value) -> UsedLora {
    let file = entry[0].as_str().unwrap_or_default().to_owned();
    UsedLora { file, unet: entry[1].clone(), text: entry[1].clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn its_scheme_is_read() {
        let text = json!({
            "prompt": "a house", "negative_prompt": "", "styles": "['Fooocus V2']", "steps": 30,
            "resolution": "(1152, 896)", "guidance_scale": 4, "sharpness": 2,
            "base_model": "juggernautXL", "refiner_model": "None", "sampler": "euler_ancestral",
            "scheduler": "karras", "seed": "7123", "version": "Fooocus v2.5.0",
            "lora_combined_1": "offset : 0.1", "loras": [["offset", 0.1, "0123456789"]],
        })
        .to_string();
        assert!(recognise(&text));
        let settings = read(&text);
        assert_eq!(
            Value::from(settings.fields),
            json!({
                "prompt": "a house <lora:offset:0.1>", "negative": "", "steps": 30, "width": 1152, "height": 896,
                "cfg": 4, "model": "juggernautXL", "sampler": "euler-a", "schedule": "karras",
                "seed": 7123, "rng": "torch",
            })
        );
        assert_eq!(settings.unread, ["sharpness: 2", "styles: ['Fooocus V2']"]);
    }
}
