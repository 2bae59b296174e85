//! Making the pictures of a job set: checkpoint by checkpoint, group by group, with what can be
//! done beside the networks done beside them.

use std::{
    collections::HashSet,
    ops::ControlFlow,
    path::PathBuf,
    rc::Rc,
    sync::mpsc::{self, Receiver, SyncSender},
    thread::{self, Scope, ScopedJoinHandle},
    time::Duration,
};

use emberbrush_layers::interrupt::Cancelled;
use thiserror::Error;

use super::{BatchPlan, BatchSize, Item, JobModel, Manifest, ManifestError, groups::Groups};
use crate::{
    diffusion::DiffusionPipeline,
    editing::{self, GroupPicture, Sources},
    error::PipelineError,
    metadata::{self, MadeWith, ModelHash},
    picture::{self, Effort, FileFormat, Picture, PictureError},
    progress::ProgressEvent,
    prompt::PromptSyntax,
    request::{GenerationRequest, Mode},
};

/// How a job set is made.
pub struct RunSettings<'a> {
    /// What the files are.
    pub format: FileFormat,
    /// How hard they are compressed.
    pub effort: Effort,
    /// How many pictures go through the UNet at once.
    pub batch_size: BatchSize,
    /// Loads a checkpoint. Each is loaded once, and none while another is in memory.
    pub load: &'a dyn Fn(&JobModel) -> Result<DiffusionPipeline, PipelineError>,
}

/// Something that happened while a job set was made. The answer `Break` stops it.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// Pictures are begun, all at once.
    Begin(&'a [&'a Item]),
    /// What the pipeline tells.
    Progress(ProgressEvent),
    /// A picture is on disk.
    Written {
        /// The picture.
        item: &'a Item,
        /// Its file.
        path: PathBuf,
        /// How long it took to make; writing it is not counted.
        took: Duration,
    },
    /// A checkpoint could not be loaded, so its pictures cannot be made.
    NotLoaded {
        /// The checkpoint.
        model: &'a JobModel,
        /// The pictures that are missing.
        items: &'a [&'a Item],
        /// Why.
        error: PipelineError,
    },
    /// A picture could not be made or written.
    Failed {
        /// The picture.
        item: &'a Item,
        /// Why.
        error: ItemError,
    },
}

/// Why a picture of a job set is not there.
#[derive(Debug, Error)]
pub enum ItemError {
    /// It could not be made.
    #[error(transparent)]
    Making(#[from] PipelineError),
    /// The picture that it starts from could not be read.
    #[error(transparent)]
    Source(PictureError),
    /// It could not be encoded.
    #[error(transparent)]
    Encoding(PictureError),
    /// It could not be written.
    #[error(transparent)]
    Writing(#[from] ManifestError),
    /// The thread that writes has ended.
    #[error("pictures cannot be written any more, because writing one failed unexpectedly")]
    Writer,
}

/// Told what happens, from two threads.
type OnEvent<'a> = dyn Fn(RunEvent<'_>) -> ControlFlow<()> + Sync + 'a;

/// A picture that is to be written.
struct Finished<'a> {
    item: &'a Item,
    /// The name of its checkpoint.
    model: &'a str,
    texts: Vec<(&'static str, String)>,
    picture: Picture,
    took: Duration,
}

/// Makes those of `items` that the manifest does not hold, and gives the number of pictures that
/// failed.
///
/// While the pictures of a group are made, the prompts of the next are encoded and the picture
/// before is written.
///
/// # Errors
///
/// [`Cancelled`] where `on_event` breaks. Whatever else goes wrong is told of its picture, and the
/// rest goes on.
pub fn run(
    plan: &BatchPlan,
    items: &[&Item],
    manifest: &mut Manifest,
    settings: &RunSettings<'_>,
    on_event: &OnEvent<'_>,
) -> Result<usize, Cancelled> {
    let missing = items.iter().map(|item| item.index).filter(|&index| !manifest.contains(index));
    let missing: HashSet<usize> = missing.collect();
    let (format, effort) = (settings.format, settings.effort);
    thread::scope(|scope| {
        // Without room for more than the picture that is being written, a slow disk slows the
        // run and does not fill the memory.
        let (sender, finished) = mpsc::sync_channel(0);
        let writer = scope.spawn(move || write(finished, manifest, format, effort, on_event));
        let sources = LastSources::default();
        let prompt_syntax = plan.prompt_syntax();
        let mut maker =
            Maker { settings, prompt_syntax, on_event, missing, sender, sources, failed: 0 };
        let made = plan.models().iter().enumerate().try_for_each(|(place, model)| {
            let items: Vec<&Item> =
                items.iter().copied().filter(|item| item.model == place).collect();
            maker.make(scope, model, &items)
        });
        let failed = maker.failed;
        drop(maker);
        let unwritten = writer.join().unwrap_or(1);
        made.map(|()| failed + unwritten)
    })
}

/// Encodes and writes pictures as they come, and gives the number of those that failed.
fn write(
    finished: Receiver<Finished<'_>>,
    manifest: &mut Manifest,
    format: FileFormat,
    effort: Effort,
    on_event: &OnEvent<'_>,
) -> usize {
    let mut failed = 0;
    for Finished { item, model, texts, picture, took } in finished {
        let written = picture::encode_with(&picture, format, &texts, effort)
            .map_err(ItemError::Encoding)
            .and_then(|bytes| Ok(manifest.write(item, model, &bytes, took.as_secs_f64())?));
        // The answer is heeded by the thread that makes pictures, which asks at every block.
        let _ = on_event(match written {
            Ok(path) => RunEvent::Written { item, path, took },
            Err(error) => {
                failed += 1;
                RunEvent::Failed { item, error }
            }
        });
    }
    failed
}

/// Makes pictures and hands them over to be written.
struct Maker<'a> {
    settings: &'a RunSettings<'a>,
    prompt_syntax: PromptSyntax,
    on_event: &'a OnEvent<'a>,
    /// The numbers of pictures that the manifest did not hold at the beginning.
    missing: HashSet<usize>,
    sender: SyncSender<Finished<'a>>,
    sources: LastSources,
    failed: usize,
}

impl<'a> Maker<'a> {
    /// Makes what is missing of the pictures of one checkpoint.
    fn make<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        model: &'a JobModel,
        items: &[&'a Item],
    ) -> Result<(), Cancelled>
    where
        'a: 'scope,
    {
        let missing: Vec<&Item> =
            items.iter().copied().filter(|item| self.is_missing(item)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut pipeline = match (self.settings.load)(model) {
            Ok(pipeline) => pipeline,
            Err(PipelineError::Cancelled(cancelled)) => return Err(cancelled),
            Err(error) => {
                self.failed += missing.len();
                return self.tell(RunEvent::NotLoaded { model, items: &missing, error });
            }
        };
        pipeline.set_prompt_syntax(self.prompt_syntax);
        let hash = ModelHash::start(pipeline.files());
        let mut groups = Groups::new(items, self.settings.batch_size);
        let mut next = self.next_group(&mut groups, &pipeline);
        while let Some(group) = next {
            next = self.next_group(&mut groups, &pipeline);
            let ahead = next.as_deref().map(|next| pipeline.prompts_ahead(&requests(next)));
            let on_event = self.on_event;
            let ahead = ahead.filter(|ahead| !ahead.is_empty()).map(|ahead| {
                let mut checkpoint =
                    move || on_event(RunEvent::Progress(ProgressEvent::Checkpoint));
                scope.spawn(move || ahead.encode(&mut checkpoint))
            });
            let made = self.make_group(&mut pipeline, model, &hash, &group);
            // What could not be encoded ahead fails again, and is told, when it is needed.
            if let Some(Ok(Ok(encoded))) = ahead.map(ScopedJoinHandle::join) {
                pipeline.keep_prompts(encoded);
            }
            made?;
        }
        Ok(())
    }

    /// The next group of which something is missing.
    fn next_group(
        &self,
        groups: &mut Groups<'a, '_>,
        pipeline: &DiffusionPipeline,
    ) -> Option<Vec<&'a Item>> {
        loop {
            let group = groups.next(pipeline)?;
            if group.iter().any(|item| self.is_missing(item)) {
                return Some(group);
            }
        }
    }

    /// Makes a whole group, of which only what is missing is written: alone, the rest of a group
    /// would be rounded in another way.
    fn make_group(
        &mut self,
        pipeline: &mut DiffusionPipeline,
        model: &'a JobModel,
        hash: &ModelHash,
        group: &[&'a Item],
    ) -> Result<(), Cancelled> {
        let mut ready = Vec::with_capacity(group.len());
        for &item in group {
            match self.sources.get(&item.request) {
                Ok(sources) => ready.push((item, sources)),
                Err(error) if self.is_missing(item) => {
                    self.failed += 1;
                    self.tell(RunEvent::Failed { item, error: ItemError::Source(error) })?;
                }
                Err(_) => {}
            }
        }
        if !ready.iter().any(|(item, _)| self.is_missing(item)) {
            return Ok(());
        }
        let items: Vec<&Item> = ready.iter().map(|(item, _)| *item).collect();
        self.tell(RunEvent::Begin(&items))?;
        let requests: Vec<_> =
            ready.iter().map(|(item, sources)| (&item.request, sources.as_deref())).collect();
        let (dtype, vae) = (pipeline.dtype_name(), pipeline.vae_hash());
        let (on_event, prompt_syntax) = (self.on_event, self.prompt_syntax);
        editing::edit_group(
            pipeline,
            &requests,
            &mut |event| on_event(RunEvent::Progress(event)),
            &mut |GroupPicture { place, batch, adapter_hashes, took, edited }| {
                let item = items[place];
                if !self.is_missing(item) {
                    return;
                }
                let handed_over = edited.map_err(ItemError::Making).and_then(|edited| {
                    let with = MadeWith {
                        model: model.name.clone(),
                        model_hash: hash.get(),
                        dtype: dtype.clone(),
                        prompt_syntax,
                        adapter_hashes,
                        vae: vae.as_ref().map(|vae| vae.record()),
                    };
                    let texts = metadata::texts_of_batch(&item.request, 0, &with, batch);
                    let picture = edited.picture;
                    let finished = Finished { item, model: &model.name, texts, picture, took };
                    self.sender.send(finished).map_err(|_| ItemError::Writer)
                });
                if let Err(error) = handed_over {
                    self.failed += 1;
                    // The answer is heeded at the next block.
                    let _ = on_event(RunEvent::Failed { item, error });
                }
            },
        )
    }

    fn is_missing(&self, item: &Item) -> bool {
        self.missing.contains(&item.index)
    }

    fn tell(&self, event: RunEvent<'_>) -> Result<(), Cancelled> {
        match (self.on_event)(event) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Cancelled),
        }
    }
}

fn requests<'a>(group: &[&'a Item]) -> Vec<&'a GenerationRequest> {
    group.iter().map(|item| &item.request).collect()
}

/// The pictures that the last request started from, for jobs that share them.
#[derive(Default)]
struct LastSources(Option<(Mode, Option<Rc<Sources>>)>);

impl LastSources {
    fn get(&mut self, request: &GenerationRequest) -> Result<Option<Rc<Sources>>, PictureError> {
        if let Some((mode, sources)) = &self.0
            && *mode == request.mode
        {
            return Ok(sources.clone());
        }
        let sources = Sources::read(&request.mode)?.map(Rc::new);
        self.0 = Some((request.mode.clone(), sources.clone()));
        Ok(sources)
    }
}
