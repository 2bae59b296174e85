//! The open document on disk as it changes, so that nothing is lost when the program ends
//! without being asked to.
//!
//! The journal is a file of records, each with its length and checksum. Only what differs from the
//! state before is written: tiles of mask and sketch, new pictures, and the manifest. A commit
//! record ends each state; what follows the last one is left out.

mod record;
mod recovery;
mod writer;

use std::{
    path::PathBuf,
    sync::mpsc::{self, Receiver, Sender},
    thread::JoinHandle,
};

pub use recovery::recover;
use thiserror::Error;
use writer::Writer;

use super::{document::Document, manifest::ContentError};

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, path::Path};

    use emberbrush_pipeline::picture::Picture;
    use image::{ColorType, DynamicImage};

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
