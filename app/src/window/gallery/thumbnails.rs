//! Small pictures for the gallery, decoded beside the window and kept within bounds.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use egui::{ColorImage, Context, TextureHandle, TextureOptions};

use crate::window::results::colour_image;

/// The longer side of a thumbnail in pixels.
const SIDE: u32 = 320;

/// The most thumbnails on the graphics card: 0.4 MB each.
const MAX_KEPT: usize = 400;

/// The most pictures that wait to be decoded; older wishes are dropped, since the person has
/// scrolled on.
const MAX_WAITING: usize = 96;

/// What a thumbnail is of: a picture and its state.
type Key = (PathBuf, i64);

#[derive(Debug, Default)]
struct Wishes {
    waiting: Mutex<Vec<Key>>,
    added: Condvar,
}

/// Thumbnails by file.
pub(super) struct Thumbnails {
    wishes: Arc<Wishes>,
    wished: HashSet<Key>,
    done: Receiver<(Key, Option<ColorImage>)>,
    kept: HashMap<Key, (Option<TextureHandle>, u64)>,
    /// Counts uses, to know what was used last.
    clock: u64,
}

impl Thumbnails {
    /// Starts the thread that decodes. `wake` is called when a picture is ready.
    ///
    /// # Errors
    ///
    /// Where the system refuses the thread.
    pub(super) fn start(wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let wishes = Arc::new(Wishes::default());
        let (sender, done) = channel();
        let queue = Arc::clone(&wishes);
        thread::Builder::new()
            .name("thumbnails".to_owned())
            .spawn(move || decode(&queue, &sender, &wake))?;
        Ok(Self { wishes, wished: HashSet::new(), done, kept: HashMap::new(), clock: 0 })
    }

    /// The thumbnail of a file that was last changed at `modified`; `None` until it is there, and
    /// for files that cannot be read.
    pub(super) fn get(&mut self, path: &std::path::Path, modified: i64) -> Option<TextureHandle> {
        let key = (path.to_owned(), modified);
        self.clock += 1;
        if let Some((texture, used)) = self.kept.get_mut(&key) {
            *used = self.clock;
            return texture.clone();
        }
        if self.wished.insert(key.clone()) {
            let mut waiting = self.wishes.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(key);
            if waiting.len() > MAX_WAITING {
                let dropped = waiting.remove(0);
                self.wished.remove(&dropped);
            }
            self.wishes.added.notify_one();
        }
        None
    }

    /// Those that are wished for and not there yet.
    pub(super) fn awaited(&self) -> usize {
        self.wished.len()
    }

    /// Takes in what was decoded. Called before each frame.
    pub(super) fn logic(&mut self, ctx: &Context) {
        while let Ok((key, image)) = self.done.try_recv() {
            self.wished.remove(&key);
            let texture =
                image.map(|image| ctx.load_texture("thumbnail", image, TextureOptions::LINEAR));
            self.kept.insert(key, (texture, self.clock));
        }
        if self.kept.len() > MAX_KEPT {
            let mut uses: Vec<u64> = self.kept.values().map(|(_, used)| *used).collect();
            uses.sort_unstable();
            let oldest = uses[uses.len() - MAX_KEPT * 3 / 4];
            self.kept.retain(|_, (_, used)| *used >= oldest);
        }
    }
}

fn decode(
    wishes: &Wishes,
    sender: &Sender<(Key, Option<ColorImage>)>,
    wake: &(impl Fn() + Send + 'static),
) {
    loop {
        let key = {
            let mut waiting = wishes.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                // The newest wish is what is in view.
                match waiting.pop() {
                    Some(key) => break key,
                    None => {
                        waiting =
                            wishes.added.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            }
        };
        let image = emberbrush_pipeline::picture::read(&key.0)
            .ok()
            .map(|picture| colour_image(&picture.pixels.thumbnail(SIDE, SIDE)));
        if sender.send((key, image)).is_err() {
            return;
        }
        wake();
    }
}
