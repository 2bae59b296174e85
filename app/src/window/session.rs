//! What a session leaves to the next one.

use serde::{Deserialize, Serialize};

use super::{place::Place, settings::GenerationSettings};

/// The file of the session in the data folder.
pub const SESSION: &str = "session.json";

/// The file of the queue in the data folder.
pub const QUEUE: &str = "queue.json";

/// The file of the preferences in the data folder.
pub const PREFERENCES: &str = "preferences.json";

/// The list of prompts in the data folder.
pub const PROMPTS: &str = "prompts.jsonl";

/// What is in the window beside the queue and the canvas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// The settings; `None` until a checkpoint has recommended some.
    pub settings: Option<GenerationSettings>,
    /// Whether the settings beside the prompts are still to come from a checkpoint.
    #[serde(default)]
    pub awaits_recommendation: bool,
    /// The place in view.
    #[serde(default)]
    pub place: Place,
    /// Whether the negative prompt is unfolded.
    #[serde(default)]
    pub shows_negative: bool,
    /// Whether the settings that are seldom needed are unfolded.
    #[serde(default)]
    pub shows_more: bool,
    /// Whether the right panel is open.
    #[serde(default = "yes")]
    pub shows_side_panel: bool,
    /// Whether it is open in a window that is narrow, where it leaves little room for the picture.
    #[serde(default)]
    pub shows_side_panel_when_narrow: bool,
}

fn yes() -> bool {
    true
}

impl Default for Session {
    fn default() -> Self {
        Self {
            settings: None,
            awaits_recommendation: true,
            place: Place::default(),
            shows_negative: false,
            shows_more: false,
            shows_side_panel: true,
            shows_side_panel_when_narrow: false,
        }
    }
}
