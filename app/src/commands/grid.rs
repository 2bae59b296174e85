//! `emberbrush grid`

use emberbrush_pipeline::{
    batch::Grid,
    output::write_new,
    picture::{self, FileFormat, Picture},
};
use serde_json::{Map, json};

use crate::{cli::GridArguments, commands::batch, interruption::Interruption, report};

/// The table of all pictures.
const SHEET: &str = "sheet.png";

pub(crate) fn run(arguments: GridArguments, interruption: &Interruption) -> anyhow::Result<()> {
    let grid = Grid::new(arguments.x.clone(), arguments.y.clone())?;
    let prompt = arguments.prompt.clone();
    let arguments = arguments.into_batch()?;
    // Only what the axes say is to differ, so all cells have one seed.
    let seed = arguments.defaults.seed.unwrap_or_default();
    let fields = Map::from_iter([
        ("prompt".to_owned(), json!(prompt)),
        ("seed".to_owned(), json!(seed)),
        ("count".to_owned(), json!(1)),
    ]);
    let files = batch::make(&arguments, &grid.jobs(&fields), interruption)?;

    let wanted = arguments.output.join(SHEET);
    if wanted.exists() {
        return Ok(());
    }
    let mut pictures = Vec::new();
    for file in files {
        pictures.push(match file {
            Some(file) => Some(picture::read(&arguments.output.join(file))?.pixels.to_rgb8()),
            None => None,
        });
    }
    let sheet = Picture::new(grid.sheet(&pictures)?.into());
    let bytes = picture::encode(&sheet, FileFormat::Png, &[])?;
    let path = write_new(&bytes, &wanted)?;
    if arguments.json {
        report::object(&json!({ "event": "sheet", "path": path }));
    } else {
        report::println(&path.display().to_string());
    }
    Ok(())
}
