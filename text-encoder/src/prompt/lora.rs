//! `<lora:name:weight>`: low-rank adapters that a prompt asks for.

use serde::Serialize;

use super::PromptError;

/// A LoRA that a prompt names, and how strongly it is applied.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoraReference {
    /// The name of its file, without folder and ending.
    pub name: String,
    /// The weight in the UNet.
    pub unet: f64,
    /// The weight in the text encoders.
    pub text_encoder: f64,
}

/// The beginnings of what is taken out; A1111 knows LyCORIS by a name of its own, too.
const BEGINNINGS: [&str; 2] = ["<lora:", "<lyco:"];

/// The text without its LoRAs, and the LoRAs.
pub(super) fn extract(text: &str) -> Result<(String, Vec<LoraReference>), PromptError> {
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    let mut loras = Vec::new();
    while let Some(open) = rest.find('<') {
        let (before, from) = rest.split_at(open);
        kept.push_str(before);
        if !BEGINNINGS.iter().any(|beginning| from.starts_with(beginning)) {
            kept.push('<');
            rest = &from[1..];
            continue;
        }
        // Without an end here there is none further on.
        let Some(close) = from.find('>') else {
            rest = from;
            break;
        };
        loras.push(reference(&from[..=close], &from[BEGINNINGS[0].len()..close])?);
        rest = &from[close + 1..];
    }
    kept.push_str(rest);
    Ok((kept, loras))
}

/// Reads `name:text encoder:unet`, `name:weight` and `name:te=…:unet=…` as A1111 does
/// (`extensions-builtin/Lora/extra_networks_lora.py`): one number is for both.
fn reference(tag: &str, arguments: &str) -> Result<LoraReference, PromptError> {
    let mut positional = Vec::new();
    let (mut te, mut unet) = (None, None);
    for argument in arguments.split(':') {
        match argument.split_once('=') {
            Some(("te", value)) => te = Some(value),
            Some(("unet", value)) => unet = Some(value),
            // The rank of dynamic LoRAs has no meaning for those that are merged.
            Some(("dyn", _)) => {}
            _ => positional.push(argument),
        }
    }
    let number = |text: &str| {
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| PromptError::LoraWeight {
            tag: tag.to_owned(),
            argument: text.to_owned(),
        })
    };
    let name = positional.first().map_or("", |name| name.trim());
    if name.is_empty() {
        return Err(PromptError::LoraName { tag: tag.to_owned() });
    }
    let weight = |named: Option<&str>, place: usize| {
        named.or(positional.get(place).copied()).map(number).transpose()
    };
    let text_encoder = weight(te, 1)?.unwrap_or(1.0);
    // As there, the UNet follows the text encoder's number where it has none of its own.
    let unet = weight(unet, 2)?.unwrap_or(text_encoder);
    Ok(LoraReference { name: name.to_owned(), unet, text_encoder })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn one(text: &str) -> (String, f64, f64) {
        let (_, loras) = extract(text).unwrap();
        let LoraReference { name, unet, text_encoder } = loras[0].clone();
        (name, unet, text_encoder)
    }

    #[test]
    fn loras_are_taken_out_and_understood() {
        let (text, loras) = extract("a <lora:x:0.5>cat <b> <lora:y>, <lyco:z:1:2>.").unwrap();
        assert_eq!(text, "a cat <b> , .");
        let names: Vec<_> = loras.iter().map(|lora| lora.name.as_str()).collect();
        assert_eq!(names, ["x", "y", "z"]);
        assert_eq!(one("<lora:x>"), ("x".to_owned(), 1.0, 1.0));
        assert_eq!(one("<lora:x:0.5>"), ("x".to_owned(), 0.5, 0.5));
        assert_eq!(one("<lora:x:0.5:0.25>"), ("x".to_owned(), 0.25, 0.5));
        assert_eq!(one("<lora:x:te=0.5>"), ("x".to_owned(), 0.5, 0.5));
        assert_eq!(one("<lora:x:unet=0.5>"), ("x".to_owned(), 0.5, 1.0));
        assert_eq!(one("<lora:a b-c.v2:-1:unet=.5:dyn=4>"), ("a b-c.v2".to_owned(), 0.5, -1.0));
    }

    #[test]
    fn what_is_no_lora_is_told_or_stays() {
        for text in ["<", "a < b > c", "<lora:x", "<Lora:x>", "<lora>", "<hypernet:x:1>"] {
            assert_eq!(extract(text).unwrap(), (text.to_owned(), Vec::new()));
        }
        let message = |text: &str| extract(text).unwrap_err().to_string();
        assert!(message("<lora:x:o.8>").contains("`o.8` is no weight"));
        assert!(message("<lora:x:inf>").contains("`inf` is no weight"));
        assert!(message("<lora:>").contains("names no LoRA"));
        assert!(message("<lora::1>").contains("names no LoRA"));
    }

    #[test]
    fn hostile_prompts_take_linear_time() {
        for unit in ["<", ">", "<lora:", "<lora:a", "<lora:a>", "<lora:a:1:"] {
            let _ = extract(&unit.repeat(10_000_000 / unit.len()));
        }
    }
}
