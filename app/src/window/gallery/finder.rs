//! Looks for pictures in the index beside the window: thousands of them take longer than a frame.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use super::index::{Filter, GalleryIndex, GalleryPicture, IndexError};

enum Wish {
    Find(Filter),
    /// Letting go of thousands of pictures takes long, too.
    Forget(Vec<GalleryPicture>),
}

type Found = Result<Vec<GalleryPicture>, IndexError>;

/// Looks for pictures on a thread of its own.
#[derive(Debug)]
pub(super) struct Finder {
    wishes: Sender<Wish>,
    found: Receiver<Found>,
    awaits: bool,
}

impl Finder {
    /// Starts the thread. `wake` is called when pictures are found.
    ///
    /// # Errors
    ///
    /// Where the system refuses the thread.
    pub(super) fn start(
        database: PathBuf,
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (wishes, wished) = channel::<Wish>();
        let (sender, found) = channel();
        thread::Builder::new().name("gallery search".to_owned()).spawn(move || {
            let mut index = None;
            for wish in wished {
                let filter = match wish {
                    Wish::Find(filter) => filter,
                    Wish::Forget(pictures) => {
                        drop(pictures);
                        continue;
                    }
                };
                let opened = match index.take() {
                    Some(opened) => Ok(opened),
                    None => GalleryIndex::open(&database),
                };
                let pictures = opened.and_then(|opened| index.insert(opened).search(&filter));
                if sender.send(pictures).is_err() {
                    return;
                }
                wake();
            }
        })?;
        Ok(Self { wishes, found, awaits: false })
    }

    /// Whether pictures are being looked for.
    pub(super) fn awaits(&self) -> bool {
        self.awaits
    }

    /// Asks for the pictures that a filter lets through.
    pub(super) fn find(&mut self, filter: Filter) {
        self.awaits = self.wishes.send(Wish::Find(filter)).is_ok();
    }

    /// What was found since this was last asked.
    pub(super) fn found(&mut self) -> Option<Found> {
        let found = self.found.try_recv().ok()?;
        self.awaits = false;
        Some(found)
    }

    /// Lets go of pictures.
    pub(super) fn forget(&self, pictures: Vec<GalleryPicture>) {
        // Without the thread they are let go of here.
        let _ = self.wishes.send(Wish::Forget(pictures));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pictures_are_found_beside_the_window() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("gallery.sqlite");
        let path = folder.path().join("apple.png");
        image::RgbImage::new(8, 8).save(&path).unwrap();
        GalleryIndex::open(&database).unwrap().add_file(&path).unwrap();
        let (wake, woken) = channel();
        let mut finder = Finder::start(database, move || wake.send(()).unwrap()).unwrap();
        assert!(!finder.awaits() && finder.found().is_none());
        for (text, count) in [("apple", 1), ("cup", 0)] {
            finder.find(Filter { text: text.to_owned(), starred_only: false });
            assert!(finder.awaits());
            woken.recv_timeout(Duration::from_secs(30)).unwrap();
            let found = finder.found().unwrap().unwrap();
            assert_eq!((found.len(), finder.awaits()), (count, false));
            finder.forget(found);
        }
    }

    #[test]
    fn an_index_that_cannot_be_opened_is_told_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("data/gallery.sqlite");
        let (wake, woken) = channel();
        let waker = move || wake.send(()).unwrap();
        let mut finder = Finder::start(database.clone(), waker).unwrap();
        let mut find = || {
            finder.find(Filter::default());
            woken.recv_timeout(Duration::from_secs(30)).unwrap();
            finder.found().unwrap()
        };
        assert!(find().is_err());
        std::fs::create_dir(database.parent().unwrap()).unwrap();
        assert_eq!(find().unwrap(), Vec::new());
    }
}
