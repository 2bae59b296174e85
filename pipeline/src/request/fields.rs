//! Requests from loose fields, by the names of the flags, as job files and images hold them.

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{Control, GenerationRequest, InitImage, Inpaint};

/// Why fields do not make a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldError {
    /// No request of this kind has the field.
    #[error("unknown field `{field}`; known are {known}")]
    Unknown {
        /// The field.
        field: String,
        /// The fields that there are.
        known: String,
    },
    /// The field's value is not one that it can have.
    #[error("field `{field}`: {reason}")]
    Invalid {
        /// The field.
        field: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// Fields are missing, or do not go together.
    #[error("{0}")]
    Together(String),
}

/// The mode that fields mean where they do not say, and what it takes by default.
fn mode_of(fields: &Map<String, Value>) -> Option<(&'static str, Value)> {
    let mode = match fields.get("mode") {
        Some(mode) => mode.as_str()?,
        None if fields.contains_key("mask") => "inpaint",
        None if fields.contains_key("extend") => "outpaint",
        None if fields.contains_key("scale") => "upscale",
        None if fields.contains_key("hires") => "hires-fix",
        None if fields.contains_key("init") => "image-to-image",
        None => return None,
    };
    let image = |strength: f64| InitImage::new("", strength);
    // The files themselves are not known by default.
    let without_files = |choices: Value| match choices {
        Value::Object(mut choices) => {
            choices.retain(|field, _| field != "init" && field != "mask");
            Value::Object(choices)
        }
        other => other,
    };
    let defaults = |image: InitImage| without_files(json!(image));
    Some(match mode {
        "image-to-image" => ("image-to-image", defaults(image(0.8))),
        "inpaint" => ("inpaint", without_files(json!(Inpaint::new(image(0.75), "")))),
        "outpaint" => ("outpaint", defaults(image(0.75))),
        "upscale" => ("upscale", defaults(image(0.3))),
        "hires-fix" => (
            "hires-fix",
            json!({ "hires-strength": 0.5, "hires-steps": 20, "hires-upscaler": "lanczos" }),
        ),
        _ => return None,
    })
}

impl GenerationRequest {
    /// This request with other values for some fields. A picture to start from, a mask, an
    /// extension or a second pass decide the mode where `mode` does not.
    ///
    /// # Errors
    ///
    /// Where a field is unknown to the request's mode or has a value that it cannot have; the
    /// result still is to be checked ([`Self::check`]).
    pub fn with_fields(&self, fields: &Map<String, Value>) -> Result<Self, FieldError> {
        let together = |error: serde_json::Error| FieldError::Together(error.to_string());
        let mut complete = match serde_json::to_value(self).map_err(together)? {
            Value::Object(complete) => complete,
            _ => Map::new(),
        };
        if let Some((mode, Value::Object(defaults))) = mode_of(fields) {
            complete.insert("mode".to_owned(), mode.into());
            complete.extend(defaults);
        }
        let parse = |fields: &Map<String, Value>| {
            serde_json::from_value::<Self>(Value::Object(fields.clone()))
        };
        if fields.contains_key(Control::FIELD) {
            // Other ControlNets have their own weights.
            complete.retain(|field, _| !Control::FIELDS.contains(&field.as_str()));
        }
        let base = complete.clone();
        complete.extend(fields.clone());
        let request = parse(&complete).map_err(|error| {
            // With all other fields as before, the one that fails is the one to name.
            let culprit = fields.iter().find(|(field, value)| {
                let mut single = base.clone();
                single.insert((*field).clone(), (*value).clone());
                parse(&base).is_ok() && parse(&single).is_err()
            });
            match culprit {
                Some((field, _)) => {
                    FieldError::Invalid { field: field.clone(), reason: error.to_string() }
                }
                None => together(error),
            }
        })?;
        let known = serde_json::to_value(&request).map_err(together)?;
        let is_known = |field: &str| known.get(field).is_some() || Control::FIELDS.contains(&field);
        match fields.keys().find(|field| !is_known(field)) {
            None => Ok(request),
            Some(field) => Err(FieldError::Unknown {
                field: field.clone(),
                known: known
                    .as_object()
                    .map(|known| known.keys().cloned().collect::<Vec<_>>().join(", "))
                    .unwrap_or_default(),
            }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{request::Mode, schedulers::Sampler};

    fn base() -> GenerationRequest {
        GenerationRequest { sampler: Sampler::Euler, ..GenerationRequest::new("") }
    }

    fn with(fields: Value) -> Result<GenerationRequest, FieldError> {
        base().with_fields(fields.as_object().unwrap())
    }

    #[test]
    fn fields_replace_values() {
        let request =
            with(json!({ "prompt": "a", "cfg": 3, "seed": u64::MAX, "sampler": "ddim" })).unwrap();
        assert_eq!(request.guidance_scale, 3.0);
        assert_eq!(request.seed, u64::MAX);
        assert_eq!(request.sampler, Sampler::Ddim);
        assert_eq!(request.width, 512);
    }

    #[test]
    fn files_decide_the_mode() {
        let request = with(json!({ "init": "a.png", "strength": 0.5 })).unwrap();
        assert_eq!(request.mode.init().unwrap().strength, 0.5);
        let request = with(json!({ "init": "a.png", "mask": "b.png" })).unwrap();
        assert!(matches!(request.mode, Mode::Inpaint(_)));
    }

    #[test]
    fn controlnets_replace_controlnets() {
        let first = json!({
            "control": ["a", "b"], "control-image": "m.png", "control-weight": [0.5, 0.7],
        });
        let request = with(first).unwrap();
        let weights = |request: &GenerationRequest| -> Vec<f64> {
            request.control.0.iter().map(|unit| unit.weight).collect()
        };
        let again = |fields: Value| request.with_fields(fields.as_object().unwrap());
        assert_eq!(weights(&again(json!({ "steps": 3 })).unwrap()), [0.5, 0.7]);
        assert_eq!(weights(&again(json!({ "control-weight": 2 })).unwrap()), [2.0, 2.0]);
        let other = json!({ "control": "c", "control-image": "m.png" });
        assert_eq!(weights(&again(other).unwrap()), [1.0]);
        let none = json!({ "control": [] });
        assert_eq!(weights(&again(none).unwrap()), [0.0; 0]);
        let error = with(json!({ "control-weight": 2 })).unwrap_err();
        assert!(error.to_string().contains("needs `control`"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |fields| with(fields).unwrap_err().to_string();
        assert!(message(json!({ "step": 3 })).starts_with("unknown field `step`; known are"));
        assert!(message(json!({ "strength": 0.5 })).starts_with("unknown field `strength`"));
        assert!(message(json!({ "steps": "x", "cfg": 3 })).starts_with("field `steps`: "));
        assert!(message(json!({ "sampler": "of my own" })).starts_with("field `sampler`: "));
    }
}
