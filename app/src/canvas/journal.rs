//! The open document on disk as it changes, so that nothing is lost when the program ends
//! without being asked to.
//!
//! The journal is a file of records, each with its length and checksum. Only what differs from the
//! state before is written: tiles of mask and sketch, new pictures, and the manifest. A commit
//! record ends each state; what follows the last one is left out.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, Sender},
    thread::JoinHandle,
};

use emberbrush_pipeline::picture::{Picture, PngCompression};
use image::{DynamicImage, GrayImage, RgbaImage};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use thiserror::Error;

use super::{
    document::Document,
    manifest::{self, ContentError, Manifest},
    mask::MaskTiles,
    tiles::{TILE_SIDE, TiledImage},
};

/// Bytes that a journal may grow by before it is written anew.
const MOST_GROWTH: u64 = 512 << 20;

/// The first bytes of a journal.
const SIGNATURE: &[u8; 8] = b"EMBRJRN1";

/// Why a journal could not be written or read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file could not be used.
    #[error("{path}: the open document cannot be kept here: {source}")]
    Io {
        /// The journal.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A document could not be taken apart or put together.
    #[error("{path}: {source}")]
    Content {
        /// The journal.
        path: String,
        /// What is wrong.
        source: ContentError,
    },
}

/// A document and where it was saved, if it was.
#[derive(Debug, Clone)]
pub struct OpenDocument {
    /// The document.
    pub document: Document,
    /// Its file.
    pub file: Option<PathBuf>,
    /// Whether the file does not hold all of it.
    pub unsaved: bool,
}

impl OpenDocument {
    /// Whether nothing changed since `other`, of which this is a clone.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let (a, b) = (&self.document, &other.document);
        self.unsaved == other.unsaved
            && self.file == other.file
            && a.name == b.name
            && a.shows_the_same(b)
            && a.mask().size() == b.mask().size()
            && a.mask().changed_tiles(b.mask()).is_empty()
            && a.sketch().changed_tiles(b.sketch()).is_empty()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    name: String,
    file: Option<PathBuf>,
    unsaved: bool,
    document: Manifest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Picture = 1,
    Header = 2,
    MaskTile = 3,
    SketchTile = 4,
    Commit = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Picture, Self::Header, Self::MaskTile, Self::SketchTile, Self::Commit]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

enum Message {
    State(Box<OpenDocument>),
    Closed,
    Flush(Sender<Option<JournalError>>),
}

/// Writes the states of a document on a thread of its own. Dropping it writes what is left.
#[derive(Debug)]
pub struct Journal {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// A journal at `path`.
    ///
    /// # Errors
    ///
    /// [`JournalError::Io`] where no thread can be started.
    pub fn start(path: PathBuf) -> Result<Self, JournalError> {
        let (sender, receiver) = mpsc::channel();
        let failed = |source| JournalError::Io { path: path.display().to_string(), source };
        let writer = Writer::new(path.clone());
        let thread = std::thread::Builder::new()
            .name("canvas journal".to_owned())
            .spawn(move || run(writer, &receiver))
            .map_err(failed)?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// The document is now this. Costs little: it is written later, and only what changed.
    pub fn record(&self, state: OpenDocument) {
        self.send(Message::State(Box::new(state)));
    }

    /// There is no document any more.
    pub fn close(&self) {
        self.send(Message::Closed);
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    ///
    /// The first error since the last flush.
    pub fn flush(&self) -> Result<(), JournalError> {
        let (sender, receiver) = mpsc::channel();
        self.send(Message::Flush(sender));
        match receiver.recv() {
            Ok(Some(error)) => Err(error),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &self.sender {
            // A thread that is gone has told its error to the last flush.
            let _ = sender.send(message);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut writer: Writer, receiver: &Receiver<Message>) {
    let mut failure = None;
    while let Ok(first) = receiver.recv() {
        // Of the states that came while another was written only the last is needed.
        let mut state = None;
        let mut flushes = Vec::new();
        for message in std::iter::once(first).chain(receiver.try_iter()) {
            match message {
                Message::State(document) => state = Some(Some(document)),
                Message::Closed => state = Some(None),
                Message::Flush(sender) => flushes.push(sender),
            }
        }
        let result = match state {
            Some(Some(document)) => writer.write(&document),
            Some(None) => writer.remove(),
            None => Ok(()),
        };
        failure = failure.or(result.err());
        for flush in flushes {
            let _ = flush.send(failure.take());
        }
    }
}

struct Writer {
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
    fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    fn write(&mut self, state: &OpenDocument) -> Result<(), JournalError> {
        let is_same = self.open.as_ref().is_some_and(|open| {
            std::sync::Arc::ptr_eq(open.last.picture(), state.document.picture())
                && open.length < open.first_length + MOST_GROWTH
        });
        if is_same { self.append(state) } else { self.write_anew(state) }
    }

    fn remove(&mut self) -> Result<(), JournalError> {
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
        before: (&MaskTiles, &TiledImage<[u8; 4]>),
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
            let effort = emberbrush_pipeline::picture::Effort {
                png_compression: PngCompression::Fast,
                ..Default::default()
            };
            let format = emberbrush_pipeline::picture::FileFormat::Png;
            emberbrush_pipeline::picture::encode_with(&Picture::new(tile), format, &[], effort)
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

/// A record: kind, number, length and checksum of both and the content, then the content.
fn push(records: &mut Vec<u8>, kind: Kind, number: u32, content: &[u8]) {
    let mut head = vec![kind as u8];
    head.extend(number.to_le_bytes());
    head.extend((content.len() as u32).to_le_bytes());
    let checksum = checksum(&head, content);
    records.extend(head);
    records.extend(checksum.to_le_bytes());
    records.extend(content);
}

fn checksum(head: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(content);
    hasher.finalize()
}

/// The next whole record; `None` at the end or where the rest is damaged.
fn next_record(file: &mut impl Read, left: &mut u64) -> Option<(Kind, u32, Vec<u8>)> {
    let mut head = [0; 13];
    file.read_exact(&mut head).ok()?;
    *left = left.checked_sub(13)?;
    let number = |at: usize| {
        let four: [u8; 4] = head[at..at + 4].try_into().ok()?;
        Some(u32::from_le_bytes(four))
    };
    let (kind, index, length, expected) = (Kind::of(head[0])?, number(1)?, number(5)?, number(9)?);
    // A broken length must not ask for memory that the file cannot fill.
    *left = left.checked_sub(u64::from(length))?;
    let mut content = vec![0; length as usize];
    file.read_exact(&mut content).ok()?;
    (checksum(&head[..9], &content) == expected).then_some((kind, index, content))
}

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::ColorType;

    use super::*;
    use crate::canvas::{
        brush::{Brush, Ink, Stroke, StrokePoint},
        document::tests::{disc, layer, picture},
        layer::LayerId,
    };

    fn open(document: &Document) -> OpenDocument {
        let file = Some(PathBuf::from("apple.ember"));
        OpenDocument { document: document.clone(), file, unsaved: true }
    }

    fn stroke(document: &mut Document, ink: Ink, x: f32) {
        let brush = Brush { size: 9.0, hardness: 0.5 };
        let mut stroke = Stroke::new(brush, ink, document.sketch());
        let (mask, sketch) = document.surfaces_mut();
        stroke.extend(StrokePoint::new(x, 20.0), mask, sketch);
    }

    /// States that follow each other: strokes, layers, undo, another size, another picture.
    fn states() -> Vec<Document> {
        let mut document = Document::new("apple", picture(ColorType::Rgb8, 1));
        let mut states = vec![document.clone()];
        stroke(&mut document, Ink::MaskPaint, 20.0);
        states.push(document.clone());
        stroke(&mut document, Ink::SketchPaint([250, 100, 9]), 40.0);
        states.push(document.clone());
        document.add_layer(layer(&document, &disc(20.0, 20.0, 9.0), 3)).unwrap();
        document.clear_surfaces();
        states.push(document.clone());
        document.edit_layer(LayerId(1), |layer| layer.choose(2)).unwrap().unwrap();
        stroke(&mut document, Ink::MaskPaint, 10.0);
        states.push(document.clone());
        states.push(states[2].clone());
        let mut other = states[2].clone();
        other.add_layer(layer(&other, &disc(40.0, 30.0, 9.0), 1)).unwrap();
        states.push(other);
        let extension = emberbrush_pipeline::request::Extension { left: 90, ..Default::default() };
        document.extend(extension);
        stroke(&mut document, Ink::MaskPaint, 140.0);
        states.push(document.clone());
        states.push(Document::new("pear", picture(ColorType::Rgba16, 7)));
        states
    }

    fn assert_same(found: &OpenDocument, expected: &Document) {
        assert!(found.unsaved);
        assert_eq!(found.file.as_deref(), Some(Path::new("apple.ember")));
        let found = &found.document;
        assert_eq!(found.name, expected.name);
        assert_eq!(found.picture(), expected.picture());
        assert_eq!(found.mask().to_vec(0), expected.mask().to_vec(0));
        assert_eq!(found.sketch().to_vec([0; 4]), expected.sketch().to_vec([0; 4]));
        assert_eq!(found.layers().len(), expected.layers().len());
        assert_eq!(found.composite(), expected.composite());
    }

    #[test]
    fn each_state_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/canvas.journal");
        let mut writer = Writer::new(path.clone());
        assert!(recover(&path).unwrap().is_none());
        for state in states() {
            writer.write(&open(&state)).unwrap();
            assert_same(&recover(&path).unwrap().unwrap(), &state);
        }
        writer.remove().unwrap();
        assert!(recover(&path).unwrap().is_none());
        writer.remove().unwrap();
    }

    #[test]
    fn wherever_writing_stops_the_state_before_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("canvas.journal");
        let mut writer = Writer::new(path.clone());
        let states = states();
        let mut ends = Vec::new();
        for state in &states[..5] {
            writer.write(&open(state)).unwrap();
            ends.push(fs::metadata(&path).unwrap().len() as usize);
        }
        let whole = fs::read(&path).unwrap();
        for length in (ends[0]..whole.len()).step_by(37) {
            for damage in [false, true] {
                let mut bytes = whole[..length].to_vec();
                if damage {
                    bytes.extend([0x5A; 50]);
                }
                fs::write(&path, bytes).unwrap();
                let last = ends.iter().rposition(|&end| end <= length).unwrap();
                assert_same(&recover(&path).unwrap().unwrap(), &states[last]);
            }
        }
        fs::write(&path, &whole[..ends[0] / 2]).unwrap();
        assert!(recover(&path).unwrap().is_none());
        fs::write(&path, "something else").unwrap();
        assert!(recover(&path).unwrap().is_none());
    }

    #[test]
    fn a_stroke_adds_only_what_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("canvas.journal");
        let mut writer = Writer::new(path.clone());
        let pixels = image::RgbImage::from_fn(2000, 1000, |x, y| image::Rgb([x as u8, y as u8, 9]));
        let mut document = Document::new("large", Picture::new(DynamicImage::ImageRgb8(pixels)));
        writer.write(&open(&document)).unwrap();
        let before = fs::metadata(&path).unwrap().len();
        stroke(&mut document, Ink::MaskPaint, 60.0);
        writer.write(&open(&document)).unwrap();
        let added = fs::metadata(&path).unwrap().len() - before;
        assert!(added < 4000, "{added}");
        assert_same(&recover(&path).unwrap().unwrap(), &document);
    }

    #[test]
    fn the_thread_writes_the_last_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("canvas.journal");
        let journal = Journal::start(path.clone()).unwrap();
        let states = states();
        for state in &states {
            journal.record(open(state));
        }
        journal.flush().unwrap();
        assert_same(&recover(&path).unwrap().unwrap(), states.last().unwrap());
        journal.record(open(&states[1]));
        drop(journal);
        assert_same(&recover(&path).unwrap().unwrap(), &states[1]);
        let blocked = Journal::start(path.join("below/canvas.journal")).unwrap();
        blocked.record(open(&states[0]));
        let error = blocked.flush().unwrap_err().to_string();
        assert!(error.contains("cannot be kept here"), "{error}");
        let journal = Journal::start(path.clone()).unwrap();
        journal.close();
        journal.flush().unwrap();
        assert!(!path.exists());
    }
}
