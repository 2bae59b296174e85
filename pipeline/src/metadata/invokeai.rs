//! InvokeAI's metadata: `invokeai_metadata` since version 3, `sd-metadata` before.

use serde_json::{Map, Value};

use super::{ImageSettings, Program, adapters::UsedLora};

/// The keyword of its text chunk.
pub(super) const KEYWORD: &str = "invokeai_metadata";

/// The keyword before version 3.
pub(super) const OLD_KEYWORD: &str = "sd-metadata";

/// Reads settings from either object.
pub(super) fn read(text: &str) -> ImageSettings {
    let mut settings = ImageSettings::new(Program::InvokeAi);
    let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(text) else {
        settings.unread.push("the metadata is not JSON".to_owned());
        return settings;
    };
    if let Some(Value::Object(image)) = fields.remove("image") {
        let model = fields.remove("model_weights").unwrap_or_default();
        fields = image;
        fields.insert("model".to_owned(), model);
    }
    settings.set("rng", "torch");
    let mut loras = Vec::new();
    for (key, value) in fields {
        match key.as_str() {
            "loras" if value.is_array() => {
                loras = value.as_array().into_iter().flatten().map(used_lora).collect();
            }
            "positive_prompt" | "prompt" => match &value {
                // Version 2 wrote a list of weighted prompts.
                Value::Array(prompts) => {
                    settings.take("prompt", &key, &prompts.first().unwrap_or(&value)["prompt"]);
                }
                _ => settings.take("prompt", &key, &value),
            },
            "negative_prompt" => settings.take("negative", &key, &value),
            "steps" => settings.take("steps", &key, &value),
            "cfg_scale" => settings.take("cfg", &key, &value),
            "seed" => settings.take("seed", &key, &value),
            "width" => settings.take("width", &key, &value),
            "height" => settings.take("height", &key, &value),
            "strength" => settings.take("strength", &key, &value),
            "scheduler" | "sampler" => scheduler(&mut settings, &key, &value),
            "rand_device" if value == "cpu" => {}
            "rand_device" => settings.set("rng", "philox"),
            "model" => match &value {
                Value::Object(model) => {
                    let name = model.get("name").or_else(|| model.get("model_name"));
                    settings.take("model", &key, name.unwrap_or(&Value::Null));
                }
                _ => settings.take("model", &key, &value),
            },
            "app_version"
            | "generation_mode"
            | "metadata_version"
            | "type"
            | "model_hash"
            | "cfg_rescale_multiplier"
            | "clip_skip"
            | "seamless_x"
            | "seamless_y"
            | "variations"
            | "canvas_v2_metadata" => {
                if value.as_f64().is_some_and(|number| number != 0.0) || value == true {
                    settings.not_read(&key, value);
                }
            }
            _ => match &value {
                Value::Null | Value::Bool(false) => {}
                Value::Array(list) if list.is_empty() => {}
                other => settings.not_read(&key, other),
            },
        }
    }
    settings.add_loras(loras);
    settings
}

/// A LoRA's name, under `lora` before version 4, and its weight in all networks.
fn used_lora(entry: &Value) -> UsedLora {
    let model = if entry["model"].is_null() { &entry["lora"] } else { &entry["model"] };
    let name = if model["name"].is_null() { &model["model_name"] } else { &model["name"] };
    let file = name.as_str().unwrap_or_default().to_owned();
    UsedLora { file, unet: entry["weight"].clone(), text: entry["weight"].clone() }
}

/// `dpmpp_2m_k` is a sampler with Karras' schedule.
fn scheduler(settings: &mut ImageSettings, key: &str, value: &Value) {
    let Some(name) = value.as_str() else { return settings.take("sampler", key, value) };
    match name.strip_suffix("_k") {
        Some(sampler) => {
            settings.set_schedule(key, "karras");
            settings.set_sampler(key, sampler);
        }
        None => settings.set_sampler(key, name.strip_prefix("k_").unwrap_or(name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_of_version_3_is_read() {
        let text = json!({
            "generation_mode": "txt2img", "positive_prompt": "a fox", "negative_prompt": "dull",
            "width": 512, "height": 512, "seed": 99, "rand_device": "cpu", "cfg_scale": 7.5,
            "steps": 25, "scheduler": "dpmpp_2m_k", "clip_skip": 0, "controlnets": [],
            "loras": [{ "model": { "name": "ink" }, "weight": 0.75 },
                      { "lora": { "model_name": "light" }, "weight": 1 }],
            "model": { "name": "sd-1", "key": "k", "hash": "h" }, "app_version": "4.2.0",
            "ipAdapters": [{ "weight": 1 }],
        });
        let settings = read(&text.to_string());
        assert_eq!(
            Value::from(settings.fields),
            json!({
                "prompt": "a fox <lora:ink:0.75> <lora:light:1>",
                "negative": "dull", "width": 512, "height": 512, "seed": 99,
                "rng": "torch", "cfg": 7.5, "steps": 25, "sampler": "dpmpp-2m",
                "schedule": "karras", "model": "sd-1",
            })
        );
        assert_eq!(settings.unread, ["ipAdapters: [{\"weight\":1}]"]);
    }

    #[test]
    fn metadata_of_version_2_is_read() {
        let text = json!({
            "model_weights": "stable-diffusion-1.5",
            "image": {
                "prompt": [{ "prompt": "a fox [dull]", "weight": 1 }], "sampler": "k_euler_a",
                "steps": 30, "cfg_scale": 7, "width": 512, "height": 512, "seed": 5, "type": "txt2img",
            },
        });
        let settings = read(&text.to_string());
        assert_eq!(settings.fields["prompt"], "a fox [dull]");
        assert_eq!(settings.fields["sampler"], "euler-a");
        assert_eq!(settings.fields["model"], "stable-diffusion-1.5");
        assert_eq!(settings.unread, [""; 0]);
    }
}
