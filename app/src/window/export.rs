//! Many pictures: from the settings of the Prompt place or from a job file, into a folder, under
//! names that follow a pattern.

use std::path::{Path, PathBuf};

use egui::{Button, Label, RichText, ScrollArea, TextEdit, Ui, vec2};
use emberbrush_pipeline::{
    batch::{
        self, BatchPlan, FileNamePattern, Item, Job, JobModel, PlanError, PlanSettings, StatedModel,
    },
    picture::FileFormat,
    prompt::{PromptSyntax, WildcardFolder},
};
use serde_json::{Map, json};

use super::{
    application::Window,
    controls::{field, list, number, primary_button, segments, small},
    dialogs::Question,
    grid::Axes,
    icons,
    overlay::{Flow, Overlay},
    preferences::Preferences,
    queue::{NewJob, Origin},
    settings::GenerationSettings,
    theme::{CONTROL_HEIGHT, Colours, SMALL, space},
};
use crate::{
    cli::Defaults,
    commands::batch::today,
    engine::{Delivery, ModelSource},
    failure::{Explanation, Failure},
};

/// The names that are shown before anything is made.
const SHOWN_NAMES: usize = 6;

/// Width of the list of formats, in points.
const FORMAT_WIDTH: f32 = 100.0;

/// The most jobs that are put into the queue at once.
const MAX_QUEUED: usize = 10_000;

/// What is made.
#[derive(Debug)]
enum Subject {
    /// So many pictures of the settings of the Prompt place.
    Pictures(u32),
    /// A table of pictures whose settings differ.
    Grid(Axes),
    /// The jobs of a file.
    File(PathBuf, Vec<Job>),
}

/// What the dialog holds.
#[derive(Debug)]
pub(super) struct Export {
    subject: Subject,
    folder: PathBuf,
    wildcards: PathBuf,
    pattern: String,
    format: FileFormat,
}

impl Export {
    /// For the settings of the Prompt place.
    pub(super) fn of_settings(
        settings: &GenerationSettings,
        folder: &Path,
        wildcards: &Path,
    ) -> Self {
        Self {
            subject: Subject::Pictures(settings.count.max(4)),
            folder: folder.to_owned(),
            wildcards: wildcards.to_owned(),
            pattern: "{index}-{seed}-{prompt}".to_owned(),
            format: FileFormat::default(),
        }
    }

    /// For a job file.
    pub(super) fn of_file(
        path: PathBuf,
        settings: &GenerationSettings,
        folder: &Path,
        wildcards: &Path,
    ) -> Result<Self, batch::JobError> {
        let jobs = batch::read(&path)?;
        let subject = Subject::File(path, jobs);
        Ok(Self { subject, ..Self::of_settings(settings, folder, wildcards) })
    }

    /// A table of pictures whose settings differ.
    pub(super) fn into_grid(self) -> Self {
        Self { subject: Subject::Grid(Axes::default()), ..self }
    }

    /// The pictures and their names, or why there are none.
    fn plan(&self, settings: &GenerationSettings) -> Result<BatchPlan, Failure> {
        let pattern: FileNamePattern = self.pattern.parse()?;
        let mut base = settings.request();
        base.count = match self.subject {
            Subject::Pictures(count) => count,
            Subject::Grid(_) | Subject::File(..) => 1,
        };
        let jobs = match &self.subject {
            Subject::Pictures(_) => vec![Job { line: 1, fields: Map::new() }],
            // Only what the axes say is to differ, so all cells have one seed.
            Subject::Grid(axes) => {
                let seed = Map::from_iter([("seed".to_owned(), json!(settings.seed))]);
                axes.grid()?.jobs(&seed)
            }
            Subject::File(_, jobs) => jobs.clone(),
        };
        let model = JobModel {
            path: match &settings.model {
                ModelSource::InTheBox => None,
                ModelSource::Folder(path) => Some(path.clone()),
            },
            vae: settings.vae.clone(),
            name: settings.model.name(),
            base,
        };
        let model_of = |stated: &StatedModel| {
            let vae = stated.vae.as_ref().map(PathBuf::from);
            let Some(name) = &stated.model else {
                return JobModel { vae: vae.or_else(|| model.vae.clone()), ..model.clone() };
            };
            JobModel {
                path: (name != emberbrush_assets::DEFAULT_MODEL_NAME).then(|| name.into()),
                vae,
                name: name.clone(),
                base: Defaults::WITHOUT_CHECKPOINT.request(),
            }
        };
        let plan_settings = PlanSettings {
            model: model.clone(),
            model_of: &model_of,
            seed: (!matches!(self.subject, Subject::File(..))).then_some(settings.seed),
            prompt_syntax: PromptSyntax::Weighted,
            wildcards: &WildcardFolder::new(&self.wildcards),
            pattern,
            format: self.format,
        };
        let mut plan =
            BatchPlan::new(&jobs, &plan_settings).map_err(|error| self.failure_of(error))?;
        if plan.items().len() > MAX_QUEUED {
            let count = plan.items().len();
            let too_many = Explanation::new("export-too-many")
                .with("pictures", count)
                .with("most", MAX_QUEUED);
            return Err(Failure::new(too_many, format!("{count} of at most {MAX_QUEUED} jobs")));
        }
        plan.name_files(&plan_settings, &today());
        Ok(plan)
    }

    /// What is wrong with the jobs, with their line where they have one that a person knows.
    fn failure_of(&self, error: PlanError) -> Failure {
        match (&self.subject, error) {
            (Subject::File(..), error) => error.into(),
            (_, PlanError::Fields { source, .. }) => source.into(),
            (_, PlanError::Request { source, .. }) => source.into(),
            (_, PlanError::Prompt { source, .. }) => source.into(),
            (_, error @ PlanError::TooMany { .. }) => error.into(),
        }
    }

    /// The jobs of a plan, each one picture under its own name.
    fn jobs(&self, plan: &BatchPlan) -> Vec<NewJob> {
        let job = |item: &Item| {
            let model = plan.models().get(item.model);
            let path = model.and_then(|model| model.path.clone());
            NewJob {
                origin: Origin::Batch,
                request: item.request.clone(),
                model: path.map_or(ModelSource::InTheBox, ModelSource::Folder),
                vae: model.and_then(|model| model.vae.clone()),
                delivery: Delivery::File {
                    path: self.folder.join(&item.file),
                    format: self.format,
                },
                sources: None,
            }
        };
        plan.items().iter().map(job).collect()
    }
}

impl Window {
    /// Opens the dialog for the settings of the Prompt place.
    pub(super) fn open_export(&mut self) {
        let export = self.export_of_settings();
        self.overlay = Overlay::Export(Box::new(export));
    }

    /// Opens the dialog for a table of pictures whose settings differ.
    pub(super) fn open_grid(&mut self) {
        let export = self.export_of_settings().into_grid();
        self.overlay = Overlay::Export(Box::new(export));
    }

    fn export_of_settings(&self) -> Export {
        let Preferences { pictures_folder, wildcards_folder, .. } = &self.preferences;
        Export::of_settings(&self.settings, pictures_folder, wildcards_folder)
    }

    /// Opens the dialog for a job file.
    pub fn import_jobs(&mut self, path: PathBuf) {
        let Preferences { pictures_folder, wildcards_folder, .. } = &self.preferences;
        match Export::of_file(path, &self.settings, pictures_folder, wildcards_folder) {
            Ok(export) => self.overlay = Overlay::Export(Box::new(export)),
            Err(error) => self.tell_error(error),
        }
    }

    pub(super) fn export_page(&mut self, ui: &mut Ui, export: &mut Export) -> Flow {
        ui.spacing_mut().item_spacing.y = space::M;
        if !matches!(export.subject, Subject::File(..)) {
            let is_grid = matches!(export.subject, Subject::Grid(_));
            let mut wanted = is_grid;
            let choices = [(false, "export-pictures"), (true, "export-grid")]
                .map(|(grid, message)| (grid, self.words.get(message), None));
            if segments(ui, &mut wanted, &choices) {
                export.subject = match wanted {
                    true => Subject::Grid(Axes::default()),
                    false => Subject::Pictures(self.settings.count.max(4)),
                };
            }
            let prompt = RichText::new(&self.settings.prompt).strong();
            ui.add(Label::new(prompt).truncate());
        }
        match &mut export.subject {
            Subject::File(path, jobs) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let arguments = [("file", name.into()), ("jobs", jobs.len().into())];
                ui.label(self.words.with("export-of-file", arguments));
            }
            Subject::Grid(axes) => axes.ui(ui, &self.words),
            Subject::Pictures(count) => {
                let label = self.words.get("count");
                field(ui, &label, "", |ui| {
                    ui.set_max_width(120.0);
                    number(ui, &label, count, 1..=10_000, 1.0, 4);
                });
            }
        }
        let label = self.words.get("export-folder");
        field(ui, &label, "", |ui| {
            let path = export.folder.display().to_string();
            let button = Button::new(format!("{}  {path}", icons::FOLDER_OPEN)).truncate();
            if ui.add(button).clicked() {
                self.ask(ui.ctx(), Question::folder(&export.folder), |window, _, folder| {
                    if let Overlay::Export(export) = &mut window.overlay {
                        export.folder = folder;
                    }
                });
            }
        });
        let label = self.words.get("export-pattern");
        let tip = self.words.get("export-pattern-tip");
        field(ui, &label, &tip, |ui| {
            ui.horizontal(|ui| {
                let edit = TextEdit::singleline(&mut export.pattern)
                    .desired_width(ui.available_width() - FORMAT_WIDTH - space::S)
                    .align(egui::Align2::LEFT_CENTER)
                    .min_size(vec2(0.0, CONTROL_HEIGHT));
                ui.add(edit).accessible_name(label.clone()).on_hover_text(tip.clone());
                list("export-format")
                    .width(FORMAT_WIDTH)
                    .selected_text(export.format.to_string().to_uppercase())
                    .show_ui(ui, |ui| {
                        for format in FileFormat::ALL {
                            let name = format.to_string().to_uppercase();
                            ui.selectable_value(&mut export.format, format, name);
                        }
                    })
                    .response
                    .accessible_name(self.words.get("preferences-format"));
            });
        });
        match export.plan(&self.settings) {
            Err(Failure { explanation, details }) => {
                ui.colored_label(Colours::of_ui(ui).bad, self.words.explain(&explanation));
                if ui.button(self.words.get("failure-copy")).clicked() {
                    ui.ctx().copy_text(details);
                }
                Flow::Stay
            }
            Ok(plan) => self.export_plan(ui, export, &plan),
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
            let jobs: Vec<_> =
                export.jobs(plan).into_iter().map(|job| self.queue.add(job)).collect();
            if let Subject::Grid(axes) = &export.subject {
                self.sheets.expect(axes, jobs, &export.folder);
            }
            self.overlay = Overlay::Queue;
            return Flow::Close;
        }
        Flow::Stay
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::window::words::{Language, Words};

    fn told(failure: &Failure) -> String {
        Words::new(Language::English).explain(&failure.explanation)
    }

    fn settings() -> GenerationSettings {
        let defaults = Defaults::WITHOUT_CHECKPOINT.request();
        let mut settings = GenerationSettings::recommended(ModelSource::InTheBox, &defaults);
        settings.prompt = "a cat".to_owned();
        settings.seed = 7;
        settings
    }

    fn export() -> Export {
        Export::of_settings(&settings(), Path::new("out"), Path::new(""))
    }

    #[test]
    fn a_table_has_one_seed_and_differs_in_its_axes() {
        let export = export().into_grid();
        let plan = export.plan(&settings()).unwrap();
        let jobs = export.jobs(&plan);
        let guidance: Vec<f64> = jobs.iter().map(|job| job.request.guidance_scale).collect();
        assert_eq!(guidance, [1.0, 3.0, 5.0, 8.0]);
        assert!(jobs.iter().all(|job| job.request.seed == 7 && job.request.count == 1));
    }

    #[test]
    fn settings_become_one_job_a_picture_under_its_name() {
        let mut export = export();
        export.subject = Subject::Pictures(12);
        let plan = export.plan(&settings()).unwrap();
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
        std::fs::write(&path, "prompt,steps,vae\na,3,own.safetensors\nb,4,\n").unwrap();
        let settings = GenerationSettings { vae: Some("bright.pt".into()), ..settings() };
        let export = Export::of_file(path, &settings, Path::new("out"), Path::new("")).unwrap();
        let plan = export.plan(&settings).unwrap();
        let jobs = export.jobs(&plan);
        assert_eq!(jobs.len(), 2);
        assert_eq!((jobs[1].request.prompt.as_str(), jobs[1].request.steps), ("b", 4));
        assert_eq!(jobs[1].request.width, settings.width);
        let vae = |job: &NewJob| job.vae.clone().unwrap().display().to_string();
        assert_eq!([vae(&jobs[0]), vae(&jobs[1])], ["own.safetensors", "bright.pt"]);
    }

    #[test]
    fn more_than_the_queue_takes_are_told() {
        let mut export = export();
        export.subject = Subject::Pictures(10_001);
        let told = told(&export.plan(&settings()).unwrap_err());
        assert!(told.contains("10001") && told.contains("emberbrush batch"), "{told}");
    }

    #[test]
    fn wrong_patterns_are_told() {
        let mut export = export();
        export.pattern = "{sed}".to_owned();
        assert!(told(&export.plan(&settings()).unwrap_err()).contains("{sed}"));
    }
}
