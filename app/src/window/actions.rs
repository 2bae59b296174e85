//! Everything that a key or the command palette can do.

use std::{collections::BTreeMap, fmt, str::FromStr};

use egui::{Key, KeyboardShortcut, Modifiers};
use serde::{Deserialize, Serialize};

use crate::canvas::actions::CanvasAction;

/// A command of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Makes the pictures that are set.
    Generate,
    /// Stops the job that runs.
    Cancel,
    /// Goes to the Prompt place.
    ShowPrompt,
    /// Goes to the Canvas place.
    ShowCanvas,
    /// Goes to the Gallery place.
    ShowGallery,
    /// Opens or closes the queue.
    ShowQueue,
    /// Opens the models page.
    ShowModels,
    /// Opens the settings page.
    ShowPreferences,
    /// Opens the command palette.
    ShowPalette,
    /// Opens the history of prompts.
    ShowHistory,
    /// Opens the dialog for many pictures.
    ShowExport,
    /// Opens the dialog for a table of pictures.
    ShowGrid,
    /// Reads jobs from a file.
    ImportJobs,
    /// Opens a picture on the canvas.
    OpenPicture,
    /// Takes the settings from a picture file.
    OpenSettings,
    /// Takes the last change of the place in view back.
    Undo,
    /// Makes it again.
    Redo,
    /// Draws a new seed.
    NewSeed,
    /// Keeps the seed, or lets it go.
    LockSeed,
    /// Takes the seed of the picture in view.
    ReuseSeed,
    /// Swaps width and height.
    SwapSides,
    /// Goes back to what the checkpoint recommends.
    ResetSettings,
    /// Begins no further job, or goes on.
    PauseQueue,
    /// Makes pictures until told otherwise.
    GenerateForever,
    /// Changes between dark and light.
    SwitchTheme,
    /// Opens or folds the right panel.
    ToggleSidePanel,
    /// Gives what is selected in the prompt more weight.
    WeightUp,
    /// Gives it less.
    WeightDown,
    /// Something on the canvas.
    #[serde(untagged)]
    Canvas(CanvasAction),
}

impl From<CanvasAction> for Action {
    fn from(action: CanvasAction) -> Self {
        Self::Canvas(action)
    }
}

impl Action {
    /// Every command of the whole window, in the order of the palette.
    const OF_WINDOW: [Self; 28] = [
        Self::Generate,
        Self::Cancel,
        Self::ShowPrompt,
        Self::ShowCanvas,
        Self::ShowGallery,
        Self::ShowQueue,
        Self::ShowHistory,
        Self::ShowExport,
        Self::ShowGrid,
        Self::ImportJobs,
        Self::OpenPicture,
        Self::OpenSettings,
        Self::Undo,
        Self::Redo,
        Self::NewSeed,
        Self::LockSeed,
        Self::ReuseSeed,
        Self::SwapSides,
        Self::ResetSettings,
        Self::PauseQueue,
        Self::GenerateForever,
        Self::ToggleSidePanel,
        Self::SwitchTheme,
        Self::ShowModels,
        Self::ShowPreferences,
        Self::WeightUp,
        Self::WeightDown,
        Self::ShowPalette,
    ];

    /// Every command, in the order of the palette.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OF_WINDOW.into_iter().chain(CanvasAction::ALL.map(Self::Canvas))
    }

    /// The name of its message.
    pub fn message(self) -> &'static str {
        match self {
            Self::Generate => "action-generate",
            Self::Cancel => "action-cancel",
            Self::ShowPrompt => "action-show-prompt",
            Self::ShowCanvas => "action-show-canvas",
            Self::ShowGallery => "action-show-gallery",
            Self::ShowQueue => "action-show-queue",
            Self::ShowModels => "action-show-models",
            Self::ShowPreferences => "action-show-preferences",
            Self::ShowPalette => "action-show-palette",
            Self::ShowHistory => "action-show-history",
            Self::ShowExport => "action-show-export",
            Self::ShowGrid => "action-show-grid",
            Self::ImportJobs => "action-import-jobs",
            Self::OpenPicture => "action-open-picture",
            Self::OpenSettings => "action-open-settings",
            Self::Undo => "action-undo",
            Self::Redo => "action-redo",
            Self::NewSeed => "action-new-seed",
            Self::LockSeed => "action-lock-seed",
            Self::ReuseSeed => "action-reuse-seed",
            Self::SwapSides => "action-swap-sides",
            Self::ResetSettings => "action-reset-settings",
            Self::PauseQueue => "action-pause-queue",
            Self::GenerateForever => "action-generate-forever",
            Self::SwitchTheme => "action-switch-theme",
            Self::ToggleSidePanel => "action-toggle-side-panel",
            Self::WeightUp => "action-weight-up",
            Self::WeightDown => "action-weight-down",
            Self::Canvas(action) => action.message(),
        }
    }

    fn default_shortcut(self) -> Option<Shortcut> {
        let command = |key| Some(Shortcut(KeyboardShortcut::new(Modifiers::COMMAND, key)));
        let with_shift =
            |key| Some(Shortcut(KeyboardShortcut::new(Modifiers::COMMAND | Modifiers::SHIFT, key)));
        match self {
            Self::Generate => command(Key::Enter),
            Self::Cancel => Some(Shortcut(KeyboardShortcut::new(Modifiers::NONE, Key::Escape))),
            Self::ShowPrompt => command(Key::Num1),
            Self::ShowCanvas => command(Key::Num2),
            Self::ShowGallery => command(Key::Num3),
            Self::ShowQueue => command(Key::J),
            Self::ShowHistory => command(Key::H),
            Self::ShowExport => command(Key::E),
            Self::ShowGrid => with_shift(Key::E),
            Self::ImportJobs => with_shift(Key::I),
            Self::OpenPicture => command(Key::O),
            Self::OpenSettings => with_shift(Key::O),
            Self::ShowPreferences => command(Key::Comma),
            Self::ShowModels => command(Key::M),
            Self::ShowPalette => command(Key::P),
            Self::Undo => command(Key::Z),
            Self::Redo => with_shift(Key::Z),
            Self::NewSeed => command(Key::R),
            Self::LockSeed => command(Key::L),
            Self::ReuseSeed => with_shift(Key::L),
            Self::ToggleSidePanel => command(Key::B),
            Self::WeightUp => command(Key::ArrowUp),
            Self::WeightDown => command(Key::ArrowDown),
            Self::Canvas(action) => action
                .default_key()
                .map(|(modifiers, key)| Shortcut(KeyboardShortcut::new(modifiers, key))),
            Self::SwapSides
            | Self::ResetSettings
            | Self::PauseQueue
            | Self::GenerateForever
            | Self::SwitchTheme => None,
        }
    }
}

/// A key with modifiers, written as `Ctrl+Shift+Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shortcut(pub KeyboardShortcut);

/// Text that is no shortcut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no shortcut; write keys such as Ctrl+Shift+Z")]
pub struct UnknownShortcut(String);

impl Shortcut {
    /// Whether it cannot be meant as text.
    pub fn has_command(self) -> bool {
        let Modifiers { alt, ctrl, command, mac_cmd, .. } = self.0.modifiers;
        alt || ctrl || command || mac_cmd
    }
}

impl FromStr for Shortcut {
    type Err = UnknownShortcut;

    fn from_str(text: &str) -> Result<Self, UnknownShortcut> {
        let unknown = || UnknownShortcut(text.to_owned());
        let mut parts: Vec<&str> = text.split('+').collect();
        let key = parts.pop().and_then(Key::from_name).ok_or_else(unknown)?;
        let mut modifiers = Modifiers::NONE;
        for part in parts {
            modifiers |= match part {
                "Ctrl" => Modifiers::COMMAND,
                "Shift" => Modifiers::SHIFT,
                "Alt" => Modifiers::ALT,
                _ => return Err(unknown()),
            };
        }
        Ok(Self(KeyboardShortcut::new(modifiers, key)))
    }
}

impl TryFrom<String> for Shortcut {
    type Error = UnknownShortcut;

    fn try_from(text: String) -> Result<Self, UnknownShortcut> {
        text.parse()
    }
}

impl From<Shortcut> for String {
    fn from(shortcut: Shortcut) -> Self {
        shortcut.to_string()
    }
}

impl fmt::Display for Shortcut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyboardShortcut { modifiers, logical_key } = self.0;
        for (held, name) in [
            (modifiers.command || modifiers.ctrl, "Ctrl+"),
            (modifiers.shift, "Shift+"),
            (modifiers.alt, "Alt+"),
        ] {
            if held {
                formatter.write_str(name)?;
            }
        }
        // As they stand on keyboards; they are read back by both names.
        formatter.write_str(match logical_key {
            Key::Escape => "Esc",
            Key::Comma => ",",
            Key::OpenBracket => "[",
            Key::CloseBracket => "]",
            Key::Backslash => "\\",
            key => key.name(),
        })
    }
}

/// The keys of commands: the usual ones, but for those that a person changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shortcuts {
    changed: BTreeMap<Action, Option<Shortcut>>,
}

impl Shortcuts {
    /// The keys of a command.
    pub fn of(&self, action: Action) -> Option<Shortcut> {
        self.changed.get(&action).copied().unwrap_or_else(|| action.default_shortcut())
    }

    /// The command of some keys.
    pub fn action(&self, shortcut: Shortcut) -> Option<Action> {
        Action::all().find(|&action| self.of(action) == Some(shortcut))
    }

    /// Gives a command other keys. A command that had them has none afterwards.
    pub fn set(&mut self, action: Action, shortcut: Option<Shortcut>) {
        if let Some(other) = shortcut.and_then(|shortcut| self.action(shortcut))
            && other != action
        {
            self.changed.insert(other, None);
        }
        if shortcut == action.default_shortcut() {
            self.changed.remove(&action);
        } else {
            self.changed.insert(action, shortcut);
        }
    }

    /// Gives all commands their usual keys.
    pub fn reset(&mut self) {
        self.changed.clear();
    }

    /// Whether any keys are not the usual ones.
    pub fn are_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Takes the keys of those commands that `is_wanted` out of the input of this frame. Keys with
    /// more modifiers come first, since Ctrl+Z is held in Ctrl+Shift+Z.
    pub fn consume(
        &self,
        input: &mut egui::InputState,
        is_wanted: impl Fn(Action, Shortcut) -> bool,
    ) -> Vec<Action> {
        let mut known: Vec<(Action, KeyboardShortcut)> = Action::all()
            .filter_map(|action| Some((action, self.of(action)?)))
            .filter(|&(action, shortcut)| is_wanted(action, shortcut))
            .map(|(action, shortcut)| (action, shortcut.0))
            .collect();
        known.sort_by_key(|(_, shortcut)| {
            let Modifiers { alt, shift, command, ctrl, .. } = shortcut.modifiers;
            std::cmp::Reverse(
                [alt, shift, command || ctrl].into_iter().filter(|&held| held).count(),
            )
        });
        known
            .into_iter()
            .filter(|(_, shortcut)| {
                input.consume_shortcut(shortcut)
                    || with_shift(*shortcut).is_some_and(|other| input.consume_shortcut(&other))
            })
            .map(|(action, _)| action)
            .collect()
    }
}

/// Brackets are other keys on a keyboard where Shift makes braces of them.
fn with_shift(shortcut: KeyboardShortcut) -> Option<KeyboardShortcut> {
    let key = match shortcut.logical_key {
        Key::OpenBracket => Key::OpenCurlyBracket,
        Key::CloseBracket => Key::CloseCurlyBracket,
        _ => return None,
    };
    shortcut.modifiers.shift.then_some(KeyboardShortcut::new(shortcut.modifiers, key))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn shortcuts_read_back() {
        for text in ["Ctrl+Enter", "Ctrl+Shift+Z", "Alt+ArrowUp", "Escape", "Ctrl+,"] {
            if let Ok(shortcut) = text.parse::<Shortcut>() {
                assert_eq!(shortcut.to_string().parse(), Ok(shortcut), "{text}");
            }
        }
        for action in Action::all() {
            if let Some(shortcut) = action.default_shortcut() {
                assert_eq!(shortcut.to_string().parse(), Ok(shortcut));
            }
        }
        assert!("Hyper+Z".parse::<Shortcut>().is_err());
        assert!("Ctrl+".parse::<Shortcut>().is_err());
    }

    #[test]
    fn no_two_commands_share_keys() {
        let mut shortcuts = Shortcuts::default();
        for action in Action::all() {
            if let Some(shortcut) = shortcuts.of(action) {
                assert_eq!(shortcuts.action(shortcut), Some(action));
            }
        }
        let keys = shortcuts.of(Action::ShowGallery);
        shortcuts.set(Action::SwapSides, keys);
        assert_eq!(shortcuts.of(Action::ShowGallery), None);
        assert_eq!(shortcuts.of(Action::SwapSides), keys);
        shortcuts.set(CanvasAction::MaskClear.into(), "Shift+C".parse().ok());
        let text = serde_json::to_string(&shortcuts).unwrap();
        assert_eq!(serde_json::from_str::<Shortcuts>(&text).unwrap(), shortcuts);
        shortcuts.reset();
        assert_eq!(shortcuts, Shortcuts::default());
    }

    #[test]
    fn every_command_is_listed_once() {
        let mut all = Action::OF_WINDOW.to_vec();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), Action::OF_WINDOW.len());
    }
}
