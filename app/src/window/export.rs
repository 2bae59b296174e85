//! Many pictures: from the settings of the Prompt place or from a job file, into a folder, under
//! names that follow a pattern.

use std::path::{Path, PathBuf};

use egui::{Button, ComboBox, Label, RichText, ScrollArea, TextEdit, Ui, vec2};
use emberbrush_pipeline::{
    batch::{self, BatchPlan, FileNamePattern, Job, JobModel, PlanSettings},
    picture::FileFormat,
    prompt::NoWildcards,
};
use serde_json::Map;

use super::{
    application::Window,
    controls::{field, number, primary_button, small},
    icons,
    overlay::Flow,
    queue::{NewJob, Origin},
    settings::GenerationSettings,
    theme::{CONTROL_HEIGHT, Colours, SMALL, space},
};
use crate::{
    cli::Defaults,
    commands::batch::today,
    engine::{Delivery, ModelSource},
};

/// The names that are shown before anything is made.
const SHOWN_NAMES: usize = 6;

/// The most jobs that are put into the queue at once.
const MAX_QUEUED: usize = 10_000;

/// What the dialog holds.
#[derive(Debug)]
pub(super) struct Export {
    /// The job file, or the settings of the Prompt place.
    file: Option<(PathBuf, Vec<Job>)>,
    count: u32,
    folder: PathBuf,
    pattern: String,
    format: FileFormat,
}

impl Export {
    /// For the settings of the Prompt place.
    pub(super) fn of_settings(settings: &GenerationSettings, folder: &Path) -> Self {
        Self {
            file: None,
            count: settings.count.max(4),
            folder: folder.to_owned(),
            pattern: "{index}-{seed}-{prompt}".to_owned(),
            format: FileFormat::default(),
        }
    }

    /// For a job file.
    pub(super) fn of_file(
        path: PathBuf,
        settings: &GenerationSettings,
        folder: &Path,
    ) -> Result<Self, batch::JobError> {
        let jobs = batch::read(&path)?;
        Ok(Self { file: Some((path, jobs)), ..Self::of_settings(settings, folder) })
    }

    /// The pictures and their names, or why there are none.
    fn plan(&self, settings: &GenerationSettings) -> Result<(BatchPlan, FileNamePattern), String> {
        let pattern: FileNamePattern = self.pattern.parse().map_err(|error| format!("{error}"))?;
        let one = [Job { line: 1, fields: Map::new() }];
        let jobs = self.file.as_ref().map_or(one.as_slice(), |(_, jobs)| jobs);
        let mut base = settings.request();
        if self.file.is_none() {
            base.count = self.count;
        } else {
            base.count = 1;
        }
        let model_of = |stated: &str| JobModel {
            path: (stated != emberbrush_assets::DEFAULT_MODEL_NAME).then(|| stated.into()),
            name: stated.to_owned(),
            base: Defaults::WITHOUT_CHECKPOINT.request(),
        };
        let plan_settings = PlanSettings {
            model: JobModel {
                path: match &settings.model {
                    ModelSource::InTheBox => None,
                    ModelSource::Folder(path) => Some(path.clone()),
                },
                name: settings.model.name(),
                base,
            },
            model_of: &model_of,
            seed: self.file.is_none().then_some(settings.seed),
            wildcards: &NoWildcards,
            pattern: pattern.clone(),
            format: self.format,
        };
        let mut plan = BatchPlan::new(jobs, &plan_settings).map_err(|error| error.to_string())?;
        if plan.items().len() > MAX_QUEUED {
            let count = plan.items().len();
            return Err(format!("{count} > {MAX_QUEUED}: emberbrush batch"));
        }
        plan.name_files(&plan_settings, &today());
        Ok((plan, pattern))
    }

    /// The jobs of a plan, each one picture under its own name.
    fn jobs(&self, plan: &BatchPlan) -> Vec<NewJob> {
        plan.items()
            .iter()
            .map(|item| NewJob {
                origin: Origin::Batch,
                request: item.request.clone(),
                model: match plan.models().get(item.model).and_then(|model| model.path.clone()) {
                    None => ModelSource::InTheBox,
                    Some(path) => ModelSource::Folder(path),
                },
                delivery: Delivery::File {
                    path: self.folder.join(&item.file),
                    format: self.format,
                },
                sources: None,
            })
            .collect()
    }
}

impl Window {
    /// Opens the dialog for the settings of the Prompt place.
    pub(super) fn open_export(&mut self) {
        let folder = &self.preferences.pictures_folder;
        let export = Export::of_settings(&self.settings, folder);
        self.overlay = super::overlay::Overlay::Export(Box::new(export));
    }

    /// Opens the dialog for a job file.
    pub fn import_jobs(&mut self, path: PathBuf) {
        match Export::of_file(path, &self.settings, &self.preferences.pictures_folder) {
            Ok(export) => self.overlay = super::overlay::Overlay::Export(Box::new(export)),
            Err(error) => self.tell_error(error.to_string()),
        }
    }

    pub(super) fn export_page(&mut self, ui: &mut Ui, export: &mut Export) -> Flow {
        ui.spacing_mut().item_spacing.y = space::M;
        match &export.file {
            Some((path, jobs)) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let arguments = [("file", name.into()), ("jobs", jobs.len().into())];
                ui.label(self.words.with("export-of-file", arguments));
            }
            None => {
                let prompt = RichText::new(&self.settings.prompt).strong();
                ui.add(Label::new(prompt).truncate());
                let label = self.words.get("count");
                field(ui, &label, "", |ui| {
                    ui.set_max_width(120.0);
                    number(ui, &label, &mut export.count, 1..=10_000, 1.0, 4);
                });
            }
        }
        let label = self.words.get("export-folder");
        field(ui, &label, "", |ui| {
            let path = export.folder.display().to_string();
            let button = Button::new(format!("{}  {path}", icons::FOLDER_OPEN)).truncate();
            if ui.add(button).clicked()
                && let Some(folder) =
                    rfd::FileDialog::new().set_directory(&export.folder).pick_folder()
            {
                export.folder = folder;
            }
        });
        let label = self.words.get("export-pattern");
        let tip = self.words.get("export-pattern-tip");
        field(ui, &label, &tip, |ui| {
            ui.horizontal(|ui| {
                let edit = TextEdit::singleline(&mut export.pattern)
                    .desired_width(ui.available_width() - 120.0)
                    .align(egui::Align2::LEFT_CENTER)
                    .min_size(vec2(0.0, CONTROL_HEIGHT));
                ui.add(edit).accessible_name(label.clone()).on_hover_text(tip.clone());
                ComboBox::from_id_salt("export-format")
                    .selected_text(export.format.to_string())
                    .show_ui(ui, |ui| {
                        for format in FileFormat::ALL {
                            ui.selectable_value(&mut export.format, format, format.to_string());
                        }
                    })
                    .response
                    .accessible_name(self.words.get("preferences-format"));
            });
        });
        match export.plan(&self.settings) {
            Err(error) => {
                ui.colored_label(Colours::of_ui(ui).bad, error);
                Flow::Stay
            }
            Ok((plan, _)) => self.export_plan(ui, export, &plan),
        }
    }

    fn export_plan(&mut self, ui: &mut Ui, export: &Export, plan: &BatchPlan) -> Flow {
        small(ui, &self.words.get("export-names"));
        ScrollArea::vertical().max_height(160.0).auto_shrink([false, true]).show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = space::XS;
            for item in plan.items().iter().take(SHOWN_NAMES) {
                ui.add(Label::new(RichText::new(&item.file).size(SMALL)).truncate());
            }
            let more = plan.items().len().saturating_sub(SHOWN_NAMES);
            if more > 0 {
                small(ui, &self.words.with("export-more", [("more", more.into())]));
            }
        });
        let count = plan.items().len();
        let label = self.words.with("export-add", [("pictures", count.into())]);
        if primary_button(ui, icons::STACK_PLUS, &label, None).clicked() {
            for job in export.jobs(plan) {
                self.queue.add(job);
            }
            self.overlay = super::overlay::Overlay::Queue;
            return Flow::Close;
        }
        Flow::Stay
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings() -> GenerationSettings {
        let defaults = Defaults::WITHOUT_CHECKPOINT.request();
        let mut settings = GenerationSettings::recommended(ModelSource::InTheBox, &defaults);
        settings.prompt = "a cat".to_owned();
        settings.seed = 7;
        settings
    }

    #[test]
    fn settings_become_one_job_a_picture_under_its_name() {
        let mut export = Export::of_settings(&settings(), Path::new("out"));
        export.count = 12;
        let (plan, _) = export.plan(&settings()).unwrap();
        let jobs = export.jobs(&plan);
        assert_eq!(jobs.len(), 12);
        assert_eq!(jobs[11].request.seed, 18);
        let path = Path::new("out").join("12-18-a cat.png");
        assert_eq!(jobs[11].delivery, Delivery::File { path, format: FileFormat::Png });
    }

    #[test]
    fn job_files_take_the_settings_for_what_they_do_not_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.csv");
        std::fs::write(&path, "prompt,steps\na,3\nb,4\n").unwrap();
        let export = Export::of_file(path, &settings(), Path::new("out")).unwrap();
        let (plan, _) = export.plan(&settings()).unwrap();
        let jobs = export.jobs(&plan);
        assert_eq!(jobs.len(), 2);
        assert_eq!((jobs[1].request.prompt.as_str(), jobs[1].request.steps), ("b", 4));
        assert_eq!(jobs[1].request.width, settings().width);
    }

    #[test]
    fn wrong_patterns_are_told() {
        let mut export = Export::of_settings(&settings(), Path::new("out"));
        export.pattern = "{sed}".to_owned();
        assert!(export.plan(&settings()).unwrap_err().contains("{sed}"));
    }
}
