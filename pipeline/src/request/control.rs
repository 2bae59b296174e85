//! The ControlNets that steer an image.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ControlError, Mode, RequestError};

/// More ControlNets than anyone has memory for.
const MOST: usize = 8;

/// The largest weight of a ControlNet.
const LARGEST_WEIGHT: f64 = 10.0;

/// A ControlNet of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlUnit {
    /// Its folder or file.
    pub model: PathBuf,
    /// The picture whose map it is shown, or the map; `None` for the picture that the image starts
    /// from.
    pub image: Option<PathBuf>,
    /// How the picture becomes a map.
    pub preprocess: ControlPreprocess,
    /// How strongly it acts; 1 is as it was trained.
    pub weight: f64,
    /// The share of the steps after which it begins to act, from 0.
    pub start: f64,
    /// The share of the steps after which it acts no more, up to 1.
    pub end: f64,
    /// Whether it acts on the prompt's half of guidance alone, and more on the whole than on details
    /// ("guess mode").
    pub guess: bool,
}

impl ControlUnit {
    /// The same with the picture that the image starts from.
    #[must_use]
    pub fn without_image(&self) -> Self {
        Self { image: None, ..self.clone() }
    }

    fn check(&self, mode: &Mode) -> Result<(), ControlError> {
        let &Self { weight, start, end, .. } = self;
        if !(0.0..=LARGEST_WEIGHT).contains(&weight) {
            return Err(ControlError::Weight { most: LARGEST_WEIGHT, value: weight });
        }
        if !(0.0 <= start && start < end && end <= 1.0) {
            return Err(ControlError::Steps { start, end });
        }
        if let ControlPreprocess::Canny { low, high } = self.preprocess
            && !(low >= 0.0 && low <= high && high.is_finite())
        {
            return Err(ControlError::Canny { low, high });
        }
        match (&self.image, mode) {
            (None, Mode::Outpaint(_)) => Err(ControlError::NoImageOfExtended),
            (None, mode) if mode.init().is_none() => Err(ControlError::NoImage),
            _ => Ok(()),
        }
    }
}

/// How a picture becomes what a ControlNet is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ControlPreprocess {
    /// It is a map already.
    None,
    /// Its edges are found (Canny 1986). Thresholds are those of OpenCV's `Canny`: sums of the
    /// absolute differences in both directions.
    Canny {
        /// From here an edge is followed.
        low: f64,
        /// From here an edge begins.
        high: f64,
    },
}

/// Names of [`ControlPreprocess`].
pub const CONTROL_PREPROCESSES: [&str; 2] = ["none", "canny"];

/// The ControlNets of a request, as fields with the names of the flags. Each field holds one value
/// for all ControlNets, or a list with one for each.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "ControlFields", into = "ControlFields")]
pub struct Control(pub Vec<ControlUnit>);

impl Control {
    /// The field that names the ControlNets.
    pub const FIELD: &str = "control";

    /// All fields. They are left out where there is no ControlNet.
    pub const FIELDS: [&str; 9] = [
        Self::FIELD,
        "control-image",
        "control-preprocess",
        "control-weight",
        "control-start",
        "control-end",
        "control-guess",
        "canny-low",
        "canny-high",
    ];

    /// Refuses what no ControlNet can do.
    pub(super) fn check(&self, mode: &Mode) -> Result<(), RequestError> {
        if self.0.len() > MOST {
            return Err(RequestError::TooManyControlNets { most: MOST });
        }
        for (number, unit) in (1..).zip(&self.0) {
            unit.check(mode).map_err(|source| RequestError::ControlNet { number, source })?;
        }
        Ok(())
    }
}

/// One value for all ControlNets, or one for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Values<T> {
    Each(Vec<T>),
    All(T),
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl<T: Clone + PartialEq> Values<T> {
    fn of(values: Vec<T>) -> Self {
        match values.as_slice() {
            [first, rest @ ..] if rest.iter().all(|value| value == first) => {
                Self::All(first.clone())
            }
            _ => Self::Each(values),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Each(values) if values.is_empty())
    }

    /// The values of `count` ControlNets; `default` where there are none.
    fn for_each(self, field: &str, count: usize, default: T) -> Result<Vec<T>, String> {
        match self {
            Self::All(_) if count == 0 => Err(format!("`{field}` needs `{}`", Control::FIELD)),
            Self::All(value) => Ok(vec![value; count]),
            Self::Each(values) if values.is_empty() => Ok(vec![default; count]),
            Self::Each(values) if values.len() == count => Ok(values),
            Self::Each(values) => Err(format!(
                "`{field}` has {} values for {count} ControlNets; give one for all or one for each",
                values.len()
            )),
        }
    }
}

/// [`Control`] by the names of the flags.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct ControlFields {
    #[serde(skip_serializing_if = "Values::is_empty")]
    control: Values<PathBuf>,
    #[serde(skip_serializing_if = "Values::is_empty")]
    control_image: Values<Option<PathBuf>>,
    #[serde(skip_serializing_if = "Values::is_empty")]
    control_preprocess: Values<String>,
    #[serde(skip_serializing_if = "Values::is_empty")]
    control_weight: Values<f64>,
    #[serde(skip_serializing_if = "Values::is_empty")]
    control_start: Values<f64>,
    #[serde(skip_serializing_if = "Values::is_empty")]
    control_end: Values<f64>,
    #[serde(skip_serializing_if = "Values::is_empty")]
    control_guess: Values<bool>,
    #[serde(skip_serializing_if = "Values::is_empty")]
    canny_low: Values<f64>,
    #[serde(skip_serializing_if = "Values::is_empty")]
    canny_high: Values<f64>,
}

/// OpenCV's thresholds in lllyasviel's annotator.
const CANNY_DEFAULTS: (f64, f64) = (100.0, 200.0);

impl From<Control> for ControlFields {
    fn from(Control(units): Control) -> Self {
        fn values<T: Clone + PartialEq>(
            units: &[ControlUnit],
            value: impl Fn(&ControlUnit) -> T,
        ) -> Values<T> {
            Values::of(units.iter().map(value).collect())
        }
        let thresholds = |unit: &ControlUnit| match unit.preprocess {
            ControlPreprocess::None => CANNY_DEFAULTS,
            ControlPreprocess::Canny { low, high } => (low, high),
        };
        Self {
            // A list of equal ControlNets would lose their number.
            control: match units.as_slice() {
                [one] => Values::All(one.model.clone()),
                _ => Values::Each(units.iter().map(|unit| unit.model.clone()).collect()),
            },
            control_image: values(&units, |unit| unit.image.clone()),
            control_preprocess: values(&units, |unit| match unit.preprocess {
                ControlPreprocess::None => "none".to_owned(),
                ControlPreprocess::Canny { .. } => "canny".to_owned(),
            }),
            control_weight: values(&units, |unit| unit.weight),
            control_start: values(&units, |unit| unit.start),
            control_end: values(&units, |unit| unit.end),
            control_guess: values(&units, |unit| unit.guess),
            canny_low: values(&units, |unit| thresholds(unit).0),
            canny_high: values(&units, |unit| thresholds(unit).1),
        }
    }
}

impl TryFrom<ControlFields> for Control {
    type Error = String;

    fn try_from(fields: ControlFields) -> Result<Self, String> {
        let models = match fields.control {
            Values::Each(models) => models,
            Values::All(model) => vec![model],
        };
        let count = models.len();
        let images = fields.control_image.for_each("control-image", count, None)?;
        let none = CONTROL_PREPROCESSES[0].to_owned();
        let preprocesses = fields.control_preprocess.for_each("control-preprocess", count, none)?;
        let weights = fields.control_weight.for_each("control-weight", count, 1.0)?;
        let starts = fields.control_start.for_each("control-start", count, 0.0)?;
        let ends = fields.control_end.for_each("control-end", count, 1.0)?;
        let guesses = fields.control_guess.for_each("control-guess", count, false)?;
        let lows = fields.canny_low.for_each("canny-low", count, CANNY_DEFAULTS.0)?;
        let highs = fields.canny_high.for_each("canny-high", count, CANNY_DEFAULTS.1)?;
        let units = models.into_iter().enumerate().map(|(index, model)| {
            let preprocess = match preprocesses[index].as_str() {
                "none" => ControlPreprocess::None,
                "canny" => ControlPreprocess::Canny { low: lows[index], high: highs[index] },
                other => {
                    return Err(format!(
                        "unknown control-preprocess `{other}`; there are {}",
                        CONTROL_PREPROCESSES.join(", ")
                    ));
                }
            };
            Ok(ControlUnit {
                model,
                image: images[index].clone(),
                preprocess,
                weight: weights[index],
                start: starts[index],
                end: ends[index],
                guess: guesses[index],
            })
        });
        units.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(fields: Value) -> Result<Control, String> {
        serde_json::from_value(fields).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_stand_for_all_or_for_each() {
        let control = read(json!({
            "control": ["a", "b"], "control-image": "map.png", "control-weight": [0.5, 2.0],
            "control-preprocess": ["none", "canny"], "canny-low": 50,
        }))
        .unwrap();
        let [one, two] = control.0.as_slice() else { unreachable!() };
        assert_eq!((one.image.clone(), one.weight), (Some("map.png".into()), 0.5));
        assert_eq!(two.preprocess, ControlPreprocess::Canny { low: 50.0, high: 200.0 });
        assert_eq!((one.preprocess, one.start, two.end), (ControlPreprocess::None, 0.0, 1.0));
        assert_eq!(read(serde_json::to_value(&control).unwrap()), Ok(control));
        let twice = read(json!({ "control": ["a", "a"], "control-image": "m" })).unwrap();
        assert_eq!(read(serde_json::to_value(&twice).unwrap()), Ok(twice));
    }

    #[test]
    fn without_controlnets_there_are_no_fields() {
        assert_eq!(serde_json::to_value(Control::default()).unwrap(), json!({}));
        assert_eq!(read(json!({})), Ok(Control::default()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (fields, part) in [
            (json!({ "control-weight": 1.0 }), "`control-weight` needs `control`"),
            (json!({ "control": ["a", "b", "c"], "control-end": [1, 1] }), "2 values for 3"),
            (json!({ "control": "a", "control-preprocess": "depth" }), "none, canny"),
        ] {
            let message = read(fields).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
        let refused = |fields| {
            let error = read(fields).unwrap().check(&Mode::TextToImage).unwrap_err();
            error.to_string()
        };
        assert!(refused(json!({ "control": "a" })).contains("give a control-image"));
        for (field, value, part) in [
            ("control-weight", json!(-1), "weight"),
            ("control-start", json!(1), "begin before it ends"),
            ("control-end", json!(1.5), "between 0 and 1"),
        ] {
            let message = refused(json!({ "control": "a", "control-image": "m", field: value }));
            assert!(message.contains(part), "{message}");
        }
        let fields = json!({
            "control": "a", "control-image": "m", "control-preprocess": "canny", "canny-low": 300,
        });
        assert!(refused(fields).contains("canny-low"));
    }
}
