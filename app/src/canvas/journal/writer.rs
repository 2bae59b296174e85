//! What is written of a document: only what differs from the state before.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use emberbrush_pipeline::picture::{Effort, FileFormat, Picture, PngCompression, encode_with};
use image::{DynamicImage, GrayImage, RgbaImage};
use tempfile::NamedTempFile;

use super::{
    JournalError, OpenDocument,
    record::{Header, Kind, SIGNATURE, push},
};
use crate::canvas::{
    document::{Document, SketchTiles},
    manifest,
    mask::MaskTiles,
    tiles::{TILE_SIDE, TiledImage},
};

/// Bytes that a journal may grow by before it is written anew.
const MOST_GROWTH: u64 = 512 << 20;

/// Writes the states of a document one after the other.
pub(super) struct Writer {
    path: PathBuf,
    open: Option<OpenJournal>,
}

struct OpenJournal {
    file: File,
    length: u64,
    first_length: u64,
    last: Document,
    names: HashMap<usize, String>,
    next_name: u64,
}

impl Writer {
    /// A journal at `path`, which is written anew at first.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// Writes what leads to `state` from the one before.
    pub(super) fn write(&mut self, state: &OpenDocument) -> Result<(), JournalError> {
        let is_same = self.open.as_ref().is_some_and(|open| {
            Arc::ptr_eq(open.last.picture(), state.document.picture())
                && open.length < open.first_length + MOST_GROWTH
        });
        if is_same { self.append(state) } else { self.write_anew(state) }
    }

    /// Removes the journal.
    pub(super) fn remove(&mut self) -> Result<(), JournalError> {
        self.open = None;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(self.io(error)),
            _ => Ok(()),
        }
    }

    fn write_anew(&mut self, state: &OpenDocument) -> Result<(), JournalError> {
        self.open = None;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let new = || {
            fs::create_dir_all(folder)?;
            let mut file = NamedTempFile::with_prefix_in(".canvas-", folder)?;
            file.write_all(SIGNATURE)?;
            Ok(file)
        };
        let file: NamedTempFile = new().map_err(|error| self.io(error))?;
        let (width, height) = state.document.size();
        let (mut names, mut next_name) = (HashMap::new(), 0);
        let records = self.records(
            state,
            (&TiledImage::new(width, height, 0), &TiledImage::new(width, height, [0; 4])),
            &mut names,
            &mut next_name,
        )?;
        let finish = |mut file: NamedTempFile| {
            file.write_all(&records)?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)
        };
        let file = finish(file).map_err(|error| self.io(error))?;
        let length = (SIGNATURE.len() + records.len()) as u64;
        self.open = Some(OpenJournal {
            file,
            length,
            first_length: length,
            last: state.document.clone(),
            names,
            next_name,
        });
        Ok(())
    }

    fn append(&mut self, state: &OpenDocument) -> Result<(), JournalError> {
        let Some(mut open) = self.open.take() else { return self.write_anew(state) };
        let records = self.records(
            state,
            (open.last.mask(), open.last.sketch()),
            &mut open.names,
            &mut open.next_name,
        )?;
        open.file.write_all(&records).map_err(|error| self.io(error))?;
        open.length += records.len() as u64;
        open.last = state.document.clone();
        self.open = Some(open);
        Ok(())
    }

    /// What leads to `state` from a document with `before`'s mask and sketch and the pictures
    /// that have `names`. Tiles of an earlier state of another size mean nothing.
    fn records(
        &self,
        state: &OpenDocument,
        before: (&MaskTiles, &SketchTiles),
        names: &mut HashMap<usize, String>,
        next_name: &mut u64,
    ) -> Result<Vec<u8>, JournalError> {
        let document = &state.document;
        let content =
            |source| JournalError::Content { path: self.path.display().to_string(), source };
        let mut used = HashMap::new();
        let mut new_parts = Vec::new();
        let manifest = manifest::describe(document, &mut |part, _| {
            let name = match used.get(&part.address()).or(names.get(&part.address())) {
                Some(name) => String::clone(name),
                None => {
                    *next_name += 1;
                    let name = next_name.to_string();
                    new_parts.push((name.clone(), part));
                    name
                }
            };
            used.insert(part.address(), name.clone());
            name
        });
        let mut records = Vec::new();
        for (name, part) in new_parts {
            let png = part.encode(PngCompression::Fast).map_err(|error| content(error.into()))?;
            let number = name.parse().unwrap_or(0);
            push(&mut records, Kind::Picture, number, &png);
        }
        // A state that only names pictures that are still in use: others may get their addresses.
        *names = used;
        let header = Header {
            name: document.name.clone(),
            file: state.file.clone(),
            unsaved: state.unsaved,
            document: manifest,
        };
        let json = serde_json::to_vec(&header).map_err(|error| content(error.into()))?;
        push(&mut records, Kind::Header, 0, &json);
        let encode = |tile: DynamicImage| {
            let effort = Effort { png_compression: PngCompression::Fast, ..Default::default() };
            encode_with(&Picture::new(tile), FileFormat::Png, &[], effort)
                .map_err(|error| content(error.into()))
        };
        for index in document.mask().changed_tiles(before.0) {
            let Some(tile) = document.mask().tile(index) else { continue };
            let pixels = GrayImage::from_raw(TILE_SIDE, TILE_SIDE, tile.to_vec());
            let png = encode(DynamicImage::ImageLuma8(pixels.unwrap_or_default()))?;
            push(&mut records, Kind::MaskTile, index as u32, &png);
        }
        for index in document.sketch().changed_tiles(before.1) {
            let Some(tile) = document.sketch().tile(index) else { continue };
            let flat = tile.as_flattened().to_vec();
            let pixels = RgbaImage::from_raw(TILE_SIDE, TILE_SIDE, flat);
            let png = encode(DynamicImage::ImageRgba8(pixels.unwrap_or_default()))?;
            push(&mut records, Kind::SketchTile, index as u32, &png);
        }
        push(&mut records, Kind::Commit, 0, &[]);
        Ok(records)
    }

    fn io(&self, source: std::io::Error) -> JournalError {
        JournalError::Io { path: self.path.display().to_string(), source }
    }
}
