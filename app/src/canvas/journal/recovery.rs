//! A document from what its journal holds.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use super::{
    JournalError, OpenDocument,
    record::{Header, Kind, SIGNATURE, next_record},
};
use crate::canvas::{
    manifest::{self, ContentError},
    tiles::TILE_SIDE,
};

/// What the records up to a commit say.
#[derive(Default)]
struct Committed {
    pictures: HashMap<String, Vec<u8>>,
    header: Option<Header>,
    mask: BTreeMap<u32, Vec<u8>>,
    sketch: BTreeMap<u32, Vec<u8>>,
}

impl Committed {
    fn apply(&mut self, kind: Kind, number: u32, content: Vec<u8>) -> Result<(), ContentError> {
        match kind {
            Kind::Picture => {
                self.pictures.insert(number.to_string(), content);
            }
            Kind::Header => {
                let header: Header = serde_json::from_slice(&content)?;
                let size = |header: &Header| (header.document.width, header.document.height);
                if self.header.as_ref().is_some_and(|earlier| size(earlier) != size(&header)) {
                    self.mask.clear();
                    self.sketch.clear();
                }
                self.header = Some(header);
            }
            Kind::MaskTile => {
                self.mask.insert(number, content);
            }
            Kind::SketchTile => {
                self.sketch.insert(number, content);
            }
            Kind::Commit => {}
        }
        Ok(())
    }

    fn into_document(self) -> Result<Option<OpenDocument>, ContentError> {
        let Some(header) = self.header else { return Ok(None) };
        let mut document = header.document.assemble(&header.name, &mut |name, size| {
            let bytes = self
                .pictures
                .get(name)
                .ok_or_else(|| ContentError::Missing { part: name.to_owned() })?;
            manifest::decode(bytes, name, size)
        })?;
        let (mask, sketch) = document.surfaces_mut();
        let side = (TILE_SIDE, TILE_SIDE);
        for (index, png) in &self.mask {
            let tile = manifest::decode(png, "mask", side)?.pixels.into_luma8().into_raw();
            mask.set_tile(*index as usize, tile.into());
        }
        for (index, png) in &self.sketch {
            let tile = manifest::decode(png, "sketch", side)?.pixels.into_rgba8();
            let pixels: Vec<[u8; 4]> = tile.pixels().map(|pixel| pixel.0).collect();
            sketch.set_tile(*index as usize, pixels.into());
        }
        Ok(Some(OpenDocument { document, file: header.file, unsaved: header.unsaved }))
    }
}

/// The last state that a journal holds; `None` where there is no journal or no whole state.
///
/// # Errors
///
/// Where the file cannot be read or its content is not that of a document.
pub fn recover(path: &Path) -> Result<Option<OpenDocument>, JournalError> {
    let io = |source| JournalError::Io { path: path.display().to_string(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io)?,
    };
    let mut left = file.metadata().map_err(io)?.len();
    let mut file = BufReader::new(file);
    let mut signature = [0; SIGNATURE.len()];
    if file.read_exact(&mut signature).is_err() || &signature != SIGNATURE {
        return Ok(None);
    }
    left = left.saturating_sub(SIGNATURE.len() as u64);
    let content = |source| JournalError::Content { path: path.display().to_string(), source };
    let mut committed = Committed::default();
    let mut pending = Vec::new();
    while let Some((kind, number, bytes)) = next_record(&mut file, &mut left) {
        if kind == Kind::Commit {
            for (kind, number, bytes) in pending.drain(..) {
                committed.apply(kind, number, bytes).map_err(content)?;
            }
        } else {
            pending.push((kind, number, bytes));
        }
    }
    committed.into_document().map_err(content)
}
