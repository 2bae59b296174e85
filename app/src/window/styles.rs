//! Styles: named settings, each a JSON file that can be given to others.

use std::{
    fs,
    path::{Path, PathBuf},
};

use emberbrush_pipeline::output::{OutputError, write_new};
use serde::{Deserialize, Serialize};

use super::settings::GenerationSettings;

/// The folder of styles in the data folder.
const STYLES: &str = "styles";

/// Where a style's prompt has this, the prompt that was typed is put in.
const PLACEHOLDER: &str = "{prompt}";

/// Named settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Style {
    /// What people call it.
    pub name: String,
    /// The settings. Where its prompt holds `{prompt}`, that stands for the one that was typed.
    pub settings: GenerationSettings,
}

impl Style {
    /// Takes the style over; seed and count stay as they are.
    pub fn apply(&self, settings: &mut GenerationSettings) {
        let typed = std::mem::take(&mut settings.prompt);
        let prompt = match self.settings.prompt.as_str() {
            "" => typed,
            template if template.contains(PLACEHOLDER) => template.replace(PLACEHOLDER, &typed),
            whole => whole.to_owned(),
        };
        *settings = GenerationSettings {
            prompt,
            seed: settings.seed,
            seed_is_locked: settings.seed_is_locked,
            count: settings.count,
            ..self.settings.clone()
        };
    }
}

/// The styles of a data folder.
#[derive(Debug, Clone)]
pub struct Styles {
    folder: PathBuf,
    /// Each with its file, by name.
    styles: Vec<(PathBuf, Style)>,
}

impl Styles {
    /// Reads the styles. Files that are none are passed over.
    pub fn read(data: &Path) -> Self {
        let mut styles = Self { folder: data.join(STYLES), styles: Vec::new() };
        styles.refresh();
        styles
    }

    /// Reads the folder again, such as after a file was put into it.
    pub fn refresh(&mut self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        self.styles = entries
            .filter_map(|entry| {
                let path = entry.path();
                let style = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
                Some((path, style))
            })
            .collect();
        self.styles.sort_by_key(|(_, style): &(PathBuf, Style)| style.name.to_lowercase());
    }

    /// All styles, by name.
    pub fn all(&self) -> impl Iterator<Item = &Style> {
        self.styles.iter().map(|(_, style)| style)
    }

    /// Writes a style to a file of its own.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written.
    pub fn save(&mut self, style: &Style) -> Result<PathBuf, OutputError> {
        let shown = || self.folder.display().to_string();
        let io = |source| OutputError::Io { path: shown(), source };
        fs::create_dir_all(&self.folder).map_err(io)?;
        let text = serde_json::to_vec_pretty(style).map_err(|error| io(error.into()))?;
        let name: String = style
            .name
            .chars()
            .map(|letter| if letter.is_alphanumeric() { letter } else { '-' })
            .take(40)
            .collect();
        let path = write_new(&text, &self.folder.join(format!("{name}.json")))?;
        self.refresh();
        Ok(path)
    }

    /// Takes a style away, with its file.
    ///
    /// # Errors
    ///
    /// Where the file cannot be taken away.
    pub fn remove(&mut self, name: &str) -> Result<(), OutputError> {
        for (path, _) in self.styles.iter().filter(|(_, style)| style.name == name) {
            fs::remove_file(path)
                .map_err(|source| OutputError::Io { path: path.display().to_string(), source })?;
        }
        self.refresh();
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{cli::Defaults, engine::ModelSource};

    fn settings(prompt: &str) -> GenerationSettings {
        let defaults = Defaults::WITHOUT_CHECKPOINT.request();
        let mut settings = GenerationSettings::recommended(ModelSource::InTheBox, &defaults);
        settings.prompt = prompt.to_owned();
        settings
    }

    #[test]
    fn styles_are_files() {
        let data = tempfile::tempdir().unwrap();
        let mut styles = Styles::read(data.path());
        for name in ["Oil / canvas", "ink", "ink"] {
            styles.save(&Style { name: name.to_owned(), settings: settings("") }).unwrap();
        }
        let names =
            |styles: &Styles| styles.all().map(|style| style.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&Styles::read(data.path())), ["ink", "ink", "Oil / canvas"]);
        styles.remove("ink").unwrap();
        assert_eq!(names(&styles), ["Oil / canvas"]);
    }

    #[test]
    fn the_typed_prompt_is_put_into_the_style() {
        let mut style = Style { name: "oil".to_owned(), settings: settings("{prompt}, in oil") };
        style.settings.steps = 33;
        let mut typed = settings("a cat");
        typed.seed = 9;
        style.apply(&mut typed);
        assert_eq!((typed.prompt.as_str(), typed.steps, typed.seed), ("a cat, in oil", 33, 9));
        style.settings.prompt.clear();
        style.apply(&mut typed);
        assert_eq!(typed.prompt, "a cat, in oil");
    }
}
