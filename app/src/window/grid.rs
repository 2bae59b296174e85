//! Tables of pictures that differ in one or two settings: what their axes are, and the sheet that is written once
//! all their pictures are there.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use egui::{Context, TextEdit, Ui, vec2};
use emberbrush_pipeline::{
    batch::{Axis, Grid, GridError},
    output::write_new,
    picture::{self, FileFormat, Picture},
};
use serde::{Deserialize, Serialize};

use super::{
    controls::{field, list, small},
    theme::CONTROL_HEIGHT,
    words::Words,
};
use crate::{engine::JobId, failure::Failure};

/// The file of the tables that are not whole yet, in the data folder.
pub(super) const SHEETS: &str = "sheets.json";

/// Width of the list of settings, in points.
const FIELD_WIDTH: f32 = 160.0;

/// A setting that an axis can go through: the name of its flag, of its message, and values to begin with.
struct AxisField {
    flag: &'static str,
    message: &'static str,
    example: Example,
}

/// Values to begin with.
enum Example {
    /// In every language the same.
    Values(&'static str),
    /// A message.
    Words(&'static str),
}

impl AxisField {
    fn example(&self, words: &Words) -> String {
        match self.example {
            Example::Values(values) => values.to_owned(),
            Example::Words(message) => words.get(message),
        }
    }
}

const FIELDS: [AxisField; 8] = [
    AxisField {
        flag: "sampler",
        message: "sampler",
        example: Example::Values("euler, dpmpp-2m, ddim"),
    },
    AxisField {
        flag: "schedule",
        message: "schedule",
        example: Example::Values("automatic, karras, exponential"),
    },
    AxisField { flag: "steps", message: "steps", example: Example::Values("8, 12, 20, 30") },
    AxisField { flag: "cfg", message: "guidance", example: Example::Values("1, 3, 5, 8") },
    AxisField { flag: "seed", message: "seed", example: Example::Values("1, 2, 3, 4") },
    AxisField { flag: "prompt", message: "prompt", example: Example::Words("grid-prompts") },
    AxisField { flag: "negative", message: "negative", example: Example::Words("grid-negatives") },
    AxisField { flag: "width", message: "width", example: Example::Values("128, 192") },
];

/// The axes of a table, as they are typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axes {
    x: TypedAxis,
    y: TypedAxis,
}

/// An axis as it is typed; without values there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TypedAxis {
    field: usize,
    values: String,
}

impl Default for Axes {
    fn default() -> Self {
        let axis = |field: usize, values: &str| TypedAxis { field, values: values.to_owned() };
        Self { x: axis(3, "1, 3, 5, 8"), y: axis(0, "") }
    }
}

impl TypedAxis {
    /// As `emberbrush grid` reads it.
    fn text(&self) -> Option<String> {
        let values = self.values.trim();
        (!values.is_empty()).then(|| format!("{}={values}", FIELDS[self.field].flag))
    }
}

impl Axes {
    /// The axes as text, which [`read`] reads.
    pub(super) fn texts(&self) -> (String, Option<String>) {
        (self.x.text().unwrap_or_default(), self.y.text())
    }

    /// The table, or what is wrong with it.
    pub(super) fn grid(&self) -> Result<Grid, GridError> {
        let (x, y) = self.texts();
        read(&x, y.as_deref())
    }

    /// The controls of both axes.
    pub(super) fn ui(&mut self, ui: &mut Ui, words: &Words) {
        for (axis, name) in [(&mut self.x, "grid-x"), (&mut self.y, "grid-y")] {
            let label = words.get(name);
            field(ui, &label, &words.get("grid-tip"), |ui| {
                ui.horizontal(|ui| {
                    let shown = words.get(FIELDS[axis.field].message);
                    let before = axis.field;
                    list(name)
                        .width(FIELD_WIDTH)
                        .selected_text(shown)
                        .show_ui(ui, |ui| {
                            for (place, field) in FIELDS.iter().enumerate() {
                                ui.selectable_value(
                                    &mut axis.field,
                                    place,
                                    words.get(field.message),
                                );
                            }
                        })
                        .response
                        .accessible_name(label.clone());
                    let example = FIELDS[axis.field].example(words);
                    if axis.field != before && axis.values == FIELDS[before].example(words) {
                        axis.values.clone_from(&example);
                    }
                    let values = words.with("grid-values", [("axis", label.clone().into())]);
                    let edit = TextEdit::singleline(&mut axis.values)
                        .hint_text(example)
                        .desired_width(ui.available_width())
                        .align(egui::Align2::LEFT_CENTER)
                        .min_size(vec2(0.0, CONTROL_HEIGHT));
                    ui.add(edit).accessible_name(values);
                });
            });
        }
        small(ui, &words.get("grid-help"));
    }
}

/// A table from its axes as text.
fn read(x: &str, y: Option<&str>) -> Result<Grid, GridError> {
    let y = y.map(str::parse).transpose()?;
    Grid::new(x.parse::<Axis>()?, y)
}

/// A table whose pictures are being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PendingSheet {
    x: String,
    y: Option<String>,
    /// The job of each cell, row by row, and its file once it is there.
    cells: Vec<(JobId, Option<PathBuf>)>,
    /// The file of the sheet.
    wanted: PathBuf,
}

/// The tables whose pictures are being made, and the thread that writes their sheets.
#[derive(Debug)]
pub(super) struct Sheets {
    pending: Vec<PendingSheet>,
    written: Receiver<Result<PathBuf, Failure>>,
    writer: Sender<Result<PathBuf, Failure>>,
}

impl Sheets {
    pub(super) fn new(pending: Vec<PendingSheet>) -> Self {
        let (writer, written) = channel();
        Self { pending, written, writer }
    }

    /// Those that are not whole yet, for the journal.
    pub(super) fn pending(&self) -> &[PendingSheet] {
        &self.pending
    }

    /// Expects the pictures of a table, whose sheet is written into a folder.
    pub(super) fn expect(&mut self, axes: &Axes, jobs: Vec<JobId>, folder: &Path) {
        let (x, y) = axes.texts();
        let cells = jobs.into_iter().map(|job| (job, None)).collect();
        self.pending.push(PendingSheet { x, y, cells, wanted: folder.join("sheet.png") });
    }

    /// A picture is there.
    pub(super) fn picture_made(&mut self, job: JobId, path: &Path) {
        let cells = self.pending.iter_mut().flat_map(|sheet| &mut sheet.cells);
        for (_, file) in cells.filter(|(of, _)| *of == job) {
            *file = Some(path.to_owned());
        }
    }

    /// Writes the sheets whose jobs have all ended. Cells without a picture stay white.
    pub(super) fn write_whole(&mut self, ctx: &Context, is_open: impl Fn(JobId) -> bool) {
        let (open, whole): (Vec<_>, Vec<_>) = self
            .pending
            .drain(..)
            .partition(|sheet: &PendingSheet| sheet.cells.iter().any(|(job, _)| is_open(*job)));
        self.pending = open;
        for sheet in
            whole.into_iter().filter(|sheet| sheet.cells.iter().any(|(_, file)| file.is_some()))
        {
            let (writer, waker) = (self.writer.clone(), ctx.clone());
            let started = thread::Builder::new().name("sheet".to_owned()).spawn(move || {
                let _ = writer.send(write(&sheet));
                waker.request_repaint();
            });
            if let Err(error) = started {
                let _ = self.writer.send(Err(Failure::of_thread(&error)));
            }
        }
    }

    /// Sheets that were written, or could not be.
    pub(super) fn written(&self) -> Vec<Result<PathBuf, Failure>> {
        self.written.try_iter().collect()
    }
}

fn write(sheet: &PendingSheet) -> Result<PathBuf, Failure> {
    let grid = read(&sheet.x, sheet.y.as_deref())?;
    let pictures: Vec<_> = sheet
        .cells
        .iter()
        .map(|(_, file)| picture::read(file.as_deref()?).ok().map(|read| read.pixels.to_rgb8()))
        .collect();
    let sheet_picture = Picture::new(grid.sheet(&pictures)?.into());
    let bytes = picture::encode(&sheet_picture, FileFormat::Png, &[])?;
    Ok(write_new(&bytes, &sheet.wanted)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::window::words::Language;

    #[test]
    fn every_example_is_an_axis() {
        let words = Words::new(Language::Korean);
        for (field, known) in FIELDS.iter().enumerate() {
            let values = known.example(&words);
            let axes = Axes { x: TypedAxis { field, values }, ..Axes::default() };
            assert!(axes.grid().unwrap().jobs(&Map::new()).len() > 1, "{}", known.flag);
        }
    }

    #[test]
    fn two_axes_make_a_table_and_wrong_ones_are_told() {
        let axis = |field: usize, values: &str| TypedAxis { field, values: values.to_owned() };
        let axes = Axes { x: axis(2, "8, 12"), y: axis(0, "euler, ddim, heun") };
        assert_eq!(axes.grid().unwrap().jobs(&Map::new()).len(), 6);
        let same = Axes { x: axis(2, "8"), y: axis(2, "9") };
        assert!(matches!(same.grid(), Err(GridError::Same(_))));
        let none = Axes { x: axis(2, " "), ..Axes::default() };
        assert!(none.grid().is_err());
    }

    #[test]
    fn tables_that_are_not_whole_can_be_kept() {
        let mut sheets = Sheets::new(Vec::new());
        sheets.expect(&Axes::default(), vec![JobId(3), JobId(4)], Path::new("out"));
        sheets.picture_made(JobId(4), Path::new("out/b.png"));
        let text = serde_json::to_string(sheets.pending()).unwrap();
        let kept: Vec<PendingSheet> = serde_json::from_str(&text).unwrap();
        assert_eq!(kept, sheets.pending());
        assert_eq!(kept[0].cells[1].1.as_deref(), Some(Path::new("out/b.png")));
    }
}
