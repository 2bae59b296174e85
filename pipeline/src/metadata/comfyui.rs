//! ComfyUI's `prompt`: the graph of nodes that was run. Its common graphs are read: a sampler,
//! the texts that condition it, the latents that it starts from, and the checkpoint.

use serde_json::{Map, Value};

use super::{ImageSettings, Program, adapters::UsedLora};

/// Longest way through a graph that is followed; longer ones are circles.
const MAX_DEPTH: usize = 64;

/// Whether a text is such a graph.
pub(super) fn recognise(text: &str) -> bool {
    graph(text).is_some()
}

/// The graph, where `NaN`, which ComfyUI writes and JSON lacks, is read as nothing.
fn graph(text: &str) -> Option<Map<String, Value>> {
    let text = text.replace("[NaN]", "[null]").replace(": NaN", ": null");
    let nodes: Map<String, Value> = serde_json::from_str(&text).ok()?;
    let is_graph = nodes.values().any(|node| node["class_type"].is_string());
    is_graph.then_some(nodes)
}

/// Reads settings from the graph.
pub(super) fn read(text: &str) -> ImageSettings {
    let mut settings = ImageSettings::new(Program::ComfyUi);
    let nodes = graph(text).unwrap_or_default();
    let graph = Graph(&nodes);
    let Some(sampler) = graph.sampler(&mut settings) else {
        settings.unread.push("the graph has no KSampler node".to_owned());
        return settings;
    };
    // ComfyUI makes its noise on the CPU.
    settings.set("rng", "torch");
    let seed = if sampler["inputs"]["seed"].is_null() { "noise_seed" } else { "seed" };
    for (field, input) in [
        ("seed", seed),
        ("steps", "steps"),
        ("cfg", "cfg"),
        ("sampler", "sampler_name"),
        ("schedule", "scheduler"),
    ] {
        settings.take(field, input, &graph.value(&sampler["inputs"][input]));
    }
    match graph.value(&sampler["inputs"]["denoise"]) {
        Value::Number(denoise) if denoise.as_f64() == Some(1.0) => {}
        denoise => settings.take("strength", "denoise", &denoise),
    }
    for (field, input) in [("prompt", "positive"), ("negative", "negative")] {
        match graph.text(&sampler["inputs"][input], &mut settings.unread) {
            Some(text) => settings.set(field, text),
            None => settings.unread.push(format!("the text of {input}")),
        }
    }
    graph.size(sampler, &mut settings);
    graph.model(sampler, &mut settings);
    settings
}

struct Graph<'a>(&'a Map<String, Value>);

fn class(node: &Value) -> &str {
    node["class_type"].as_str().unwrap_or_default()
}

fn is_sampler(node: &Value) -> bool {
    matches!(class(node), "KSampler" | "KSamplerAdvanced")
}

impl<'a> Graph<'a> {
    /// The node that an input is linked to.
    fn linked(&self, input: &Value) -> Option<&'a Value> {
        let [node, _] = input.as_array()?.as_slice() else { return None };
        match node {
            Value::String(id) => self.0.get(id),
            Value::Number(id) => self.0.get(&id.to_string()),
            _ => None,
        }
    }

    /// A value, or what the node of a value that it is linked to holds.
    fn value(&self, input: &Value) -> Value {
        let mut input = input;
        for _ in 0..MAX_DEPTH {
            let Some(node) = self.linked(input) else { return input.clone() };
            let inputs = &node["inputs"];
            let names = ["value", "seed", "noise_seed", "int", "float", "text", "string", "String"];
            match names.iter().map(|name| &inputs[*name]).find(|value| !value.is_null()) {
                Some(value) => input = value,
                None => break,
            }
        }
        Value::from(format!("the output of {}", self.linked(input).map_or("a node", class)))
    }

    /// The sampler that made the first latents, before upscaling and second passes.
    fn sampler(&self, settings: &mut ImageSettings) -> Option<&'a Value> {
        let samplers: Vec<&Value> = self.0.values().filter(|node| is_sampler(node)).collect();
        let mut sampler = *samplers.first()?;
        for _ in 0..MAX_DEPTH {
            let earlier = self.upstream(sampler, &["latent_image"], is_sampler);
            match earlier {
                Some(earlier) if !std::ptr::eq(earlier, sampler) => sampler = earlier,
                _ => break,
            }
        }
        if samplers.len() > 1 {
            let others = samplers.len() - 1;
            settings.unread.push(format!("{others} more KSampler nodes (such as a second pass)"));
        }
        Some(sampler)
    }

    /// The first node upstream that fits, following inputs that carry latents or images.
    fn upstream(
        &self,
        from: &'a Value,
        inputs: &[&str],
        fits: impl Fn(&Value) -> bool,
    ) -> Option<&'a Value> {
        let mut node = from;
        let mut names = inputs;
        for _ in 0..MAX_DEPTH {
            node = names.iter().find_map(|name| self.linked(&node["inputs"][*name]))?;
            if fits(node) {
                return Some(node);
            }
            names = &["samples", "latent", "latent_image", "pixels", "image", "images", "model"];
        }
        None
    }

    /// The text of a conditioning.
    fn text(&self, input: &Value, unread: &mut Vec<String>) -> Option<String> {
        let mut node = self.linked(input)?;
        for _ in 0..MAX_DEPTH {
            let inputs = &node["inputs"];
            if class(node).starts_with("CLIPTextEncode") {
                let text = ["text", "text_g", "text_l", "clip_l"]
                    .into_iter()
                    .find(|name| !inputs[*name].is_null())
                    .map(|name| self.value(&inputs[name]))?;
                return text.as_str().map(str::to_owned);
            }
            let next = ["conditioning", "conditioning_1", "conditioning_to", "positive"]
                .into_iter()
                .find_map(|name| self.linked(&inputs[name]))?;
            if class(node) != "Reroute" {
                let id = format!("the node {}", class(node));
                if !unread.contains(&id) {
                    unread.push(id);
                }
            }
            node = next;
        }
        None
    }

    fn size(&self, sampler: &'a Value, settings: &mut ImageSettings) {
        let has_size = |node: &Value| class(node).starts_with("Empty");
        match self.upstream(sampler, &["latent_image"], has_size) {
            Some(node) => {
                for field in ["width", "height"] {
                    settings.take(field, field, &self.value(&node["inputs"][field]));
                }
            }
            None => {
                let from = self.linked(&sampler["inputs"]["latent_image"]).map_or("nothing", class);
                settings.unread.push(format!("the size: the latents come from {from}"));
            }
        }
    }

    /// The checkpoint, and the LoRAs that are merged on the way to the sampler.
    fn model(&self, sampler: &'a Value, settings: &mut ImageSettings) {
        let mut loras = Vec::new();
        self.checkpoint(sampler, &mut loras, settings);
        // The last is the first to be merged.
        settings.add_loras(loras.into_iter().rev());
    }

    fn checkpoint(
        &self,
        sampler: &'a Value,
        loras: &mut Vec<UsedLora>,
        settings: &mut ImageSettings,
    ) {
        let mut node = sampler;
        for _ in 0..MAX_DEPTH {
            let Some(next) = self.linked(&node["inputs"]["model"]) else { break };
            node = next;
            let inputs = &node["inputs"];
            if let Some(name) =
                ["ckpt_name", "unet_name"].iter().find_map(|key| inputs[*key].as_str())
            {
                let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
                let name = name.strip_suffix(".safetensors").unwrap_or(name);
                settings.set("model", name.strip_suffix(".ckpt").unwrap_or(name));
                return;
            }
            match inputs["lora_name"].as_str() {
                Some(name) => {
                    let clip = &inputs["strength_clip"];
                    // Some nodes change the UNet alone.
                    let text = if clip.is_null() { Value::from(0) } else { self.value(clip) };
                    let (file, unet) = (name.to_owned(), self.value(&inputs["strength_model"]));
                    loras.push(UsedLora { file, unet, text });
                }
                None if class(node) == "Reroute" => {}
                None => settings.unread.push(format!("the node {}", class(node))),
            }
        }
        settings.unread.push("the checkpoint's name".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn common() -> Value {
        json!({
            "3": { "class_type": "KSampler", "inputs": {
                "seed": 156680208700286_u64, "steps": 20, "cfg": 8, "sampler_name": "dpmpp_2m",
                "scheduler": "karras", "denoise": 1, "model": ["10", 0], "positive": ["6", 0],
                "negative": ["7", 0], "latent_image": ["5", 0] } },
            "4": { "class_type": "CheckpointLoaderSimple",
                   "inputs": { "ckpt_name": "sd1/v1-5-pruned.safetensors" } },
            "5": { "class_type": "EmptyLatentImage",
                   "inputs": { "width": 512, "height": 640, "batch_size": 1 } },
            "6": { "class_type": "CLIPTextEncode", "inputs": { "text": ["11", 0], "clip": ["4", 1] } },
            "7": { "class_type": "CLIPTextEncode", "inputs": { "text": "text, watermark" } },
            "8": { "class_type": "VAEDecode", "inputs": { "samples": ["3", 0], "vae": ["4", 2] } },
            "9": { "class_type": "SaveImage", "inputs": { "images": ["8", 0] } },
            "10": { "class_type": "LoraLoader", "inputs": { "lora_name": "styles\\ink.safetensors",
                    "strength_model": 0.8, "strength_clip": ["12", 0], "model": ["13", 0] } },
            "11": { "class_type": "PrimitiveString", "inputs": { "value": "a glass bottle" } },
            "12": { "class_type": "PrimitiveFloat", "inputs": { "value": 0.5 } },
            "13": { "class_type": "LoraLoaderModelOnly", "inputs": {
                    "lora_name": "light.safetensors", "strength_model": 1, "model": ["4", 0] } },
        })
    }

    #[test]
    fn the_common_graph_is_read() {
        let settings = read(&common().to_string());
        assert_eq!(
            Value::from(settings.fields),
            json!({
                "prompt": "a glass bottle <lora:light:0:1> <lora:ink:0.5:0.8>",
                "negative": "text, watermark", "seed": 156680208700286_u64,
                "steps": 20, "cfg": 8, "sampler": "dpmpp-2m", "schedule": "karras", "rng": "torch",
                "width": 512, "height": 640, "model": "v1-5-pruned",
            })
        );
        assert_eq!(settings.unread, [""; 0]);
    }

    #[test]
    fn second_passes_and_unknown_nodes_are_told() {
        let mut graph = common();
        graph["20"] = graph["3"].clone();
        graph["20"]["inputs"]["latent_image"] = json!(["21", 0]);
        graph["20"]["inputs"]["seed"] = json!(1);
        graph["21"] = json!({ "class_type": "LatentUpscale", "inputs": { "samples": ["3", 0] } });
        graph["6"]["inputs"]["text"] = json!(["9", 0]);
        let settings = read(&graph.to_string());
        assert_eq!(settings.fields["seed"], 156680208700286_u64);
        assert!(settings.unread[0].starts_with("1 more KSampler"), "{:?}", settings.unread);
        assert_eq!(
            settings.fields["prompt"],
            "the output of SaveImage <lora:light:0:1> <lora:ink:0.5:0.8>"
        );
    }

    #[test]
    fn circles_end() {
        let graph = json!({
            "1": { "class_type": "KSampler", "inputs": {
                "seed": ["2", 0], "model": ["2", 0], "positive": ["2", 0], "latent_image": ["2", 0] } },
            "2": { "class_type": "Loop", "inputs": {
                "seed": ["2", 0], "model": ["2", 0], "conditioning": ["2", 0], "samples": ["2", 0] } },
        });
        let settings = read(&graph.to_string());
        assert!(!settings.fields.contains_key("prompt"));
    }
}
