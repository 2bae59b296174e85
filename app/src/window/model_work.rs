//! Long work with models: each piece has a thread of its own, and the window looks how far it is.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use egui::Context;
use emberbrush_library::{
    add::Adding,
    error::LibraryError,
    folder::{Library, Model},
    name::ModelName,
    progress::{Obstacle, Progress},
    verify::{VerifiedFile, verify},
};

use crate::failure::Failure;

/// What is worked on, and where the window tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A model that is downloaded or added.
    NewModel,
    /// A model of the library.
    Model(ModelName),
}

/// How far a piece of work is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HowFar {
    /// Bytes that are done.
    pub(super) done: u64,
    /// Bytes of all, where they are known.
    pub(super) total: Option<u64>,
    /// The file that is worked on.
    pub(super) file: String,
    /// Why nothing is done for a while, and how long.
    pub(super) waits: Option<(Obstacle, Duration)>,
}

/// How a piece of work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// There is a new model.
    Added(ModelName),
    /// A model was read in full.
    Verified(Vec<VerifiedFile>),
    /// Someone stopped it.
    Stopped,
    /// It failed.
    Failed(Failure),
}

/// Work that goes on.
struct Running {
    subject: Subject,
    shared: Arc<Shared>,
    thread: JoinHandle<Ended>,
}

#[derive(Default)]
struct Shared {
    is_stopped: AtomicBool,
    how_far: Mutex<HowFar>,
}

/// All work with models.
#[derive(Default)]
pub(super) struct ModelWork {
    running: Vec<Running>,
    ended: Vec<(Subject, Ended)>,
}

impl ModelWork {
    /// How far the work on something is; `None` where nothing is done with it.
    pub(super) fn how_far(&self, subject: &Subject) -> Option<HowFar> {
        let running = self.running.iter().find(|running| running.subject == *subject)?;
        let how_far = running.shared.how_far.lock().unwrap_or_else(PoisonError::into_inner);
        Some(how_far.clone())
    }

    /// How the last work on something ended.
    pub(super) fn ended(&self, subject: &Subject) -> Option<&Ended> {
        self.ended.iter().find(|(of, _)| of == subject).map(|(_, ended)| ended)
    }

    /// Forgets how the last work on something ended.
    pub(super) fn dismiss(&mut self, subject: &Subject) {
        self.ended.retain(|(of, _)| of != subject);
    }

    /// Tells at once that something failed.
    pub(super) fn failed(&mut self, subject: Subject, failure: impl Into<Failure>) {
        self.dismiss(&subject);
        self.ended.push((subject, Ended::Failed(failure.into())));
    }

    /// Stops the work on something.
    pub(super) fn stop(&self, subject: &Subject) {
        for running in self.running.iter().filter(|running| running.subject == *subject) {
            running.shared.is_stopped.store(true, Ordering::Relaxed);
        }
    }

    /// Takes in what ended; whether something did.
    pub(super) fn poll(&mut self) -> bool {
        let (ended, running): (Vec<_>, Vec<_>) =
            self.running.drain(..).partition(|running| running.thread.is_finished());
        self.running = running;
        let any = !ended.is_empty();
        for Running { subject, thread, .. } in ended {
            let ended = thread
                .join()
                .unwrap_or_else(|payload| Ended::Failed(Failure::of_panic(payload.as_ref())));
            self.dismiss(&subject);
            self.ended.push((subject, ended));
        }
        any
    }

    /// Adds a checkpoint folder or file, which stays where it is.
    pub(super) fn add(&mut self, ctx: &Context, library: &Library, path: PathBuf) {
        let library = library.clone();
        self.start(ctx, Subject::NewModel, move |on_progress| {
            added(library.add(&path, None, Adding::Link, on_progress))
        });
    }

    /// Reads a model in full.
    pub(super) fn verify(&mut self, ctx: &Context, model: Model) {
        let subject = Subject::Model(model.name.clone());
        self.start(ctx, subject, move |on_progress| {
            match verify(&model.path, &model.published, on_progress) {
                Ok(files) => Ended::Verified(files),
                Err(error) => failed(error),
            }
        });
    }

    /// Downloads a model.
    #[cfg(feature = "download")]
    pub(super) fn pull(
        &mut self,
        ctx: &Context,
        library: &Library,
        request: emberbrush_library::hub::PullRequest,
    ) {
        let library = library.clone();
        self.start(ctx, Subject::NewModel, move |on_progress| {
            added(library.pull(&request, on_progress))
        });
    }

    fn start(
        &mut self,
        ctx: &Context,
        subject: Subject,
        work: impl FnOnce(&mut dyn FnMut(Progress<'_>) -> ControlFlow<()>) -> Ended + Send + 'static,
    ) {
        self.dismiss(&subject);
        let shared = Arc::<Shared>::default();
        let (told, ctx) = (Arc::clone(&shared), ctx.clone());
        let spawned = thread::Builder::new().name("models".to_owned()).spawn(move || {
            let ended = work(&mut |progress| {
                if told.take(&progress) {
                    ctx.request_repaint();
                }
                match told.is_stopped.load(Ordering::Relaxed) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
            ctx.request_repaint();
            ended
        });
        match spawned {
            Ok(thread) => self.running.push(Running { subject, shared, thread }),
            Err(error) => self.failed(subject, Failure::of_thread(&error)),
        }
    }
}

impl Shared {
    /// Takes in what happened; whether there is something new to see.
    fn take(&self, progress: &Progress<'_>) -> bool {
        let mut how_far = self.how_far.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Checkpoint => return false,
            Progress::File { name } => {
                (*name).clone_into(&mut how_far.file);
                how_far.waits = None;
            }
            Progress::Bytes { done, total } => {
                (how_far.done, how_far.total, how_far.waits) = (*done, *total, None);
            }
            Progress::Waiting { obstacle, pause, .. } => how_far.waits = Some((*obstacle, *pause)),
        }
        true
    }
}

fn added(result: Result<Model, LibraryError>) -> Ended {
    match result {
        Ok(model) => Ended::Added(model.name),
        Err(error) => failed(error),
    }
}

fn failed(error: LibraryError) -> Ended {
    match error {
        LibraryError::Cancelled => Ended::Stopped,
        error => Ended::Failed(error.into()),
    }
}
