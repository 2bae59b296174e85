//! ControlNets in the text of AUTOMATIC1111's web UI: `ControlNet 0: "Module: canny, Model: …"`
//! (sd-webui-controlnet, `internal_controlnet/external_code.py`). The map is not in it.

use serde_json::{Map, Value, json};

use super::ImageSettings;
use crate::{
    checkpoint::controlnet::name,
    request::{Control, ControlPreprocess, ControlUnit},
};

/// What keys begin with; a number follows.
pub(super) const KEY: &str = "ControlNet ";

/// What A1111 calls guess mode, and its absence.
const MODES: (&str, &str) = ("ControlNet is more important", "Balanced");

/// Keys and values of A1111's text.
pub(super) fn pairs(control: &Control) -> Vec<(String, String)> {
    let pair = |(number, unit): (usize, &ControlUnit)| {
        let (module, thresholds) = match unit.preprocess {
            ControlPreprocess::None => ("none", String::new()),
            ControlPreprocess::Canny { low, high } => {
                ("canny", format!("Threshold A: {low}, Threshold B: {high}, "))
            }
        };
        let value = format!(
            "Module: {module}, Model: {}, Weight: {}, Resize Mode: Crop and Resize, {thresholds}\
             Guidance Start: {}, Guidance End: {}, Pixel Perfect: True, Control Mode: {}",
            name(&unit.model).replace(',', " "),
            unit.weight,
            unit.start,
            unit.end,
            if unit.guess { MODES.0 } else { MODES.1 },
        );
        (format!("{KEY}{number}"), Value::from(value).to_string())
    };
    control.0.iter().enumerate().map(pair).collect()
}

/// Reads one ControlNet's value, and adds to the fields of those before.
pub(super) fn read(settings: &mut ImageSettings, key: &str, value: &str) {
    let mut fields = Map::from_iter([
        ("control-preprocess".to_owned(), json!("none")),
        ("control-weight".to_owned(), json!(1.0)),
        ("control-start".to_owned(), json!(0.0)),
        ("control-end".to_owned(), json!(1.0)),
        ("control-guess".to_owned(), json!(false)),
    ]);
    for part in value.split(", ") {
        let Some((name, value)) = part.split_once(": ") else { continue };
        let number = || value.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let (field, read) = match name.trim() {
            "Module" => {
                let known = matches!(value, "none" | "canny").then(|| json!(value));
                ("control-preprocess", known)
            }
            // A name, and the beginning of a hash in brackets.
            "Model" => ("control", Some(json!(value.split(" [").next().unwrap_or(value)))),
            "Weight" => ("control-weight", number().map(Value::from)),
            "Guidance Start" => ("control-start", number().map(Value::from)),
            "Guidance End" => ("control-end", number().map(Value::from)),
            "Threshold A" => ("canny-low", number().map(Value::from)),
            "Threshold B" => ("canny-high", number().map(Value::from)),
            "Control Mode" => ("control-guess", Some(json!(value == MODES.0))),
            // What has no counterpart here.
            _ => continue,
        };
        match read {
            Some(read) => {
                fields.insert(field.to_owned(), read);
            }
            None => settings.not_read(key, part),
        }
    }
    if !fields.contains_key(Control::FIELD) {
        settings.not_read(key, value);
        return;
    }
    let is_canny = fields["control-preprocess"] == json!("canny");
    for (field, default) in [("canny-low", 100.0), ("canny-high", 200.0)] {
        // Other modules have thresholds with another meaning, or -1.
        if !is_canny || !fields.contains_key(field) {
            fields.insert(field.to_owned(), json!(default));
        }
    }
    for (field, value) in fields {
        match settings.fields.get_mut(&field) {
            Some(Value::Array(values)) => values.push(value),
            _ => settings.set(&field, vec![value]),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::metadata::{Program, infotext};

    #[test]
    fn units_of_a1111_are_read() {
        let settings = infotext::read(
            "a\nNegative prompt: \nSteps: 20, Sampler: Euler, Seed: 1, ControlNet 0: \"Module: canny, \
             Model: control_v11p_sd15_canny [d14c016b], Weight: 0.8, Resize Mode: Crop and Resize, \
             Processor Res: 512, Threshold A: 90.0, Threshold B: 210.0, Guidance Start: 0.0, \
             Guidance End: 0.5, Pixel Perfect: True, Control Mode: Balanced, Hr Option: Both\", \
             ControlNet 1: \"Module: depth_midas, Model: depth [1], Weight: 1.0, Threshold A: -1, \
             Guidance Start: 0.1, Guidance End: 1.0, Control Mode: ControlNet is more important\"",
        );
        for (field, value) in [
            ("control", json!(["control_v11p_sd15_canny", "depth"])),
            ("control-preprocess", json!(["canny", "none"])),
            ("control-weight", json!([0.8, 1.0])),
            ("control-start", json!([0.0, 0.1])),
            ("control-end", json!([0.5, 1.0])),
            ("control-guess", json!([false, true])),
            ("canny-low", json!([90.0, 100.0])),
            ("canny-high", json!([210.0, 200.0])),
        ] {
            assert_eq!(settings.fields[field], value, "{field}");
        }
        assert_eq!(settings.unread, ["ControlNet 1: Module: depth_midas"]);
    }

    #[test]
    fn what_is_written_is_read() {
        let fields = json!({
            "control": ["canny", "net, two.safetensors"], "control-image": ["a.png", null],
            "control-preprocess": ["canny", "none"], "control-weight": [0.5, 1],
            "control-end": [0.75, 1], "control-guess": [false, true],
        });
        let control: Control = serde_json::from_value(fields).unwrap();
        let mut settings = ImageSettings::new(Program::Automatic1111);
        for (key, value) in pairs(&control) {
            read(&mut settings, &key, &serde_json::from_str::<String>(&value).unwrap());
        }
        assert!(settings.unread.is_empty());
        assert_eq!(settings.fields["control"], json!(["canny", "net  two"]));
        assert_eq!(settings.fields["control-weight"], json!([0.5, 1.0]));
        assert_eq!(settings.fields["control-end"], json!([0.75, 1.0]));
        assert_eq!(settings.fields["control-guess"], json!([false, true]));
    }
}
