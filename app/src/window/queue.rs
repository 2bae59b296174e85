//! The jobs that wait, run and are done.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::preferences::Preferences;
use crate::{
    engine::{Delivery, Job, JobEnd, JobId, ModelSource, Setup, SourcePictures},
    failure::Failure,
};
use emberbrush_pipeline::request::GenerationRequest;

/// The most finished jobs that are listed.
const MAX_ENDED: usize = 200;

/// Who asked for a job, and so who is told of its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The Prompt place.
    Prompt,
    /// A job file or the export dialog.
    Batch,
    /// The Canvas place. Its jobs live with its document and are not journaled with the queue.
    Canvas,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryState {
    /// It waits for its turn.
    Waiting,
    /// The engine works on it.
    Running,
    /// All its pictures are there.
    Done,
    /// It was stopped.
    Cancelled,
    /// It failed.
    Failed(Failure),
}

/// A job in the list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Its number.
    pub id: JobId,
    /// Who asked for it.
    pub origin: Origin,
    /// What to make.
    pub request: GenerationRequest,
    /// With which checkpoint.
    pub model: ModelSource,
    /// What stands in for its autoencoder.
    #[serde(default)]
    pub vae: Option<PathBuf>,
    /// Where the pictures go.
    pub delivery: Delivery,
    /// How far it is.
    pub state: EntryState,
    /// Pictures that are done.
    pub made: u32,
    /// Pictures to start from that are in memory.
    #[serde(skip)]
    pub sources: Option<SourcePictures>,
}

impl Entry {
    /// Whether it waits or runs.
    pub fn is_open(&self) -> bool {
        matches!(self.state, EntryState::Waiting | EntryState::Running)
    }
}

/// What is asked for, before it has a number.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Who asks.
    pub origin: Origin,
    /// What to make.
    pub request: GenerationRequest,
    /// With which checkpoint.
    pub model: ModelSource,
    /// What stands in for its autoencoder.
    pub vae: Option<PathBuf>,
    /// Where the pictures go.
    pub delivery: Delivery,
    /// Pictures to start from that are in memory.
    pub sources: Option<SourcePictures>,
}

/// The list of jobs, in the order in which they are made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Queue {
    entries: Vec<Entry>,
    /// Whether no further job is begun.
    pub paused: bool,
    /// Whether the settings of the Prompt place are made again and again.
    pub forever: bool,
    next_id: u64,
    /// Counts changes, so that the journal knows of them without comparing.
    #[serde(skip)]
    revision: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { entries: Vec::new(), paused: false, forever: false, next_id: 1, revision: 0 }
    }
}

impl Queue {
    /// A queue as it is after a restart: what ran waits, and goes on after the pictures that are
    /// there.
    pub fn restored(mut self) -> Self {
        self.entries.retain(|entry| entry.origin != Origin::Canvas);
        for entry in &mut self.entries {
            if entry.state == EntryState::Running {
                entry.state = EntryState::Waiting;
            }
        }
        self.next_id = self.entries.iter().map(|entry| entry.id.0 + 1).max().unwrap_or(1);
        self
    }

    /// A copy without what cannot be kept on disk.
    pub fn for_journal(&self) -> Self {
        let mut copy = self.clone();
        copy.entries.retain(|entry| entry.origin != Origin::Canvas);
        copy
    }

    /// A value that is another one after each change.
    pub fn revision(&self) -> (u64, bool, bool) {
        (self.revision, self.paused, self.forever)
    }

    /// All jobs.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The job of a number.
    pub fn get(&self, id: JobId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    fn get_mut(&mut self, id: JobId) -> Option<&mut Entry> {
        self.revision += 1;
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    /// The job that runs.
    pub fn running(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.state == EntryState::Running)
    }

    /// Pictures that are still to be made.
    pub fn pictures_left(&self) -> u64 {
        self.open().map(|entry| u64::from(entry.request.count.saturating_sub(entry.made))).sum()
    }

    fn open(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_open())
    }

    /// Number of jobs that wait or run.
    pub fn open_count(&self) -> usize {
        self.open().count()
    }

    /// Adds a job at the end.
    pub fn add(&mut self, job: NewJob) -> JobId {
        self.revision += 1;
        let id = JobId(self.next_id);
        self.next_id += 1;
        let NewJob { origin, request, model, vae, delivery, sources } = job;
        self.entries.push(Entry {
            id,
            origin,
            request,
            model,
            vae,
            delivery,
            state: EntryState::Waiting,
            made: 0,
            sources,
        });
        let ended = self.entries.iter().filter(|entry| !entry.is_open()).count();
        if ended > MAX_ENDED
            && let Some(oldest) = self.entries.iter().position(|entry| !entry.is_open())
        {
            self.entries.remove(oldest);
        }
        id
    }

    /// Begins the next job where none runs and the queue is not paused, on the device and with the
    /// folders that are preferred.
    pub fn begin_next(&mut self, preferences: &Preferences) -> Option<Job> {
        if self.paused || self.running().is_some() {
            return None;
        }
        let entry = self.entries.iter_mut().find(|entry| entry.state == EntryState::Waiting)?;
        entry.state = EntryState::Running;
        self.revision += 1;
        Some(Job {
            id: entry.id,
            request: entry.request.clone(),
            first: entry.made,
            setup: Setup {
                model: entry.model.clone(),
                vae: entry.vae.clone(),
                device: preferences.device,
            },
            wildcards: preferences.wildcards_folder.clone(),
            adapter_folders: preferences.adapter_folders(),
            preview_decoder: preferences.preview_decoder_in_use().cloned(),
            sources: entry.sources.clone(),
            delivery: entry.delivery.clone(),
            written: preferences.written,
        })
    }

    /// A picture of a job is done.
    pub fn picture_made(&mut self, id: JobId) {
        if let Some(entry) = self.get_mut(id) {
            entry.made += 1;
        }
    }

    /// A job ended.
    pub fn ended(&mut self, id: JobId, end: JobEnd) {
        if let Some(entry) = self.get_mut(id) {
            entry.state = match end {
                JobEnd::Done => EntryState::Done,
                JobEnd::Cancelled => EntryState::Cancelled,
                JobEnd::Failed(failure) => EntryState::Failed(failure),
            };
            entry.sources = None;
        }
    }

    /// Takes a waiting job back. The one that runs has to be stopped by the engine.
    pub fn cancel_waiting(&mut self, id: JobId) {
        if let Some(entry) = self.get_mut(id)
            && entry.state == EntryState::Waiting
        {
            entry.state = EntryState::Cancelled;
        }
    }

    /// Takes all waiting jobs back.
    pub fn cancel_all_waiting(&mut self) {
        self.revision += 1;
        for entry in &mut self.entries {
            if entry.state == EntryState::Waiting {
                entry.state = EntryState::Cancelled;
            }
        }
    }

    /// Lets a job that was stopped or failed wait again, for the pictures that it lacks.
    pub fn retry(&mut self, id: JobId) {
        self.revision += 1;
        if let Some(place) = self.entries.iter().position(|entry| entry.id == id) {
            let entry = &self.entries[place];
            // The pictures that a canvas job started from are gone; the canvas asks anew.
            if entry.origin != Origin::Canvas
                && matches!(entry.state, EntryState::Cancelled | EntryState::Failed(_))
            {
                let mut entry = self.entries.remove(place);
                entry.state = EntryState::Waiting;
                self.entries.push(entry);
            }
        }
    }

    /// Moves a waiting job before the waiting one that stands before it, or after the one that
    /// follows it.
    pub fn move_waiting(&mut self, id: JobId, direction: Direction) {
        self.revision += 1;
        let waiting: Vec<usize> = (0..self.entries.len())
            .filter(|&place| self.entries[place].state == EntryState::Waiting)
            .collect();
        let Some(rank) = waiting.iter().position(|&place| self.entries[place].id == id) else {
            return;
        };
        let other = match direction {
            Direction::Up => rank.checked_sub(1),
            Direction::Down => Some(rank + 1),
        };
        if let Some(&other) = other.and_then(|other| waiting.get(other)) {
            self.entries.swap(waiting[rank], other);
        }
    }

    /// Takes jobs that are done, stopped or failed off the list.
    pub fn clear_ended(&mut self) {
        self.revision += 1;
        self.entries.retain(Entry::is_open);
    }
}

/// Where a job moves in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards the one that runs.
    Up,
    /// Towards the end.
    Down,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use emberbrush_pipeline::schedulers::Sampler;

    use super::*;

    fn job(prompt: &str, count: u32) -> NewJob {
        NewJob {
            origin: Origin::Prompt,
            request: GenerationRequest {
                width: 64,
                height: 64,
                steps: 2,
                guidance_scale: 1.0,
                sampler: Sampler::Euler,
                seed: 1,
                count,
                ..GenerationRequest::new(prompt)
            },
            model: ModelSource::InTheBox,
            vae: None,
            delivery: Delivery::Memory,
            sources: None,
        }
    }

    fn prompts(queue: &Queue) -> Vec<&str> {
        queue.entries().iter().map(|entry| entry.request.prompt.as_str()).collect()
    }

    #[test]
    fn one_runs_and_the_others_wait() {
        let mut queue = Queue::default();
        let first = queue.add(job("a", 2));
        let second = queue.add(job("b", 1));
        assert_eq!(queue.begin_next(&Preferences::default()).unwrap().id, first);
        assert!(queue.begin_next(&Preferences::default()).is_none());
        queue.picture_made(first);
        assert_eq!(queue.pictures_left(), 2);
        queue.ended(first, JobEnd::Done);
        queue.paused = true;
        assert!(queue.begin_next(&Preferences::default()).is_none());
        queue.paused = false;
        assert_eq!(queue.begin_next(&Preferences::default()).unwrap().id, second);
    }

    #[test]
    fn waiting_jobs_move_and_the_running_one_stays() {
        let mut queue = Queue::default();
        let ids: Vec<_> = ["a", "b", "c"].map(|prompt| queue.add(job(prompt, 1))).to_vec();
        queue.begin_next(&Preferences::default());
        queue.move_waiting(ids[1], Direction::Up);
        assert_eq!(prompts(&queue), ["a", "b", "c"]);
        queue.move_waiting(ids[2], Direction::Up);
        assert_eq!(prompts(&queue), ["a", "c", "b"]);
        queue.move_waiting(ids[2], Direction::Down);
        assert_eq!(prompts(&queue), ["a", "b", "c"]);
    }

    #[test]
    fn what_failed_is_tried_again_for_what_it_lacks() {
        let mut queue = Queue::default();
        let id = queue.add(job("a", 3));
        queue.begin_next(&Preferences::default());
        queue.picture_made(id);
        let failure = Failure::of_thread(&std::io::Error::other("none left"));
        queue.ended(id, JobEnd::Failed(failure));
        queue.retry(id);
        let again = queue.begin_next(&Preferences::default()).unwrap();
        assert_eq!((again.first, again.request.count), (1, 3));
    }

    #[test]
    fn a_restart_keeps_the_jobs_and_goes_on_where_they_were() {
        let mut queue = Queue::default();
        let id = queue.add(job("a", 3));
        queue.add(NewJob { origin: Origin::Canvas, ..job("fill", 3) });
        queue.begin_next(&Preferences::default());
        queue.picture_made(id);
        let before = queue.revision();
        queue.picture_made(id);
        assert_ne!(queue.revision(), before, "the journal is told");
        queue.entries[0].made = 1;
        let text = serde_json::to_string(&queue.for_journal()).unwrap();
        let mut restored = serde_json::from_str::<Queue>(&text).unwrap().restored();
        assert_eq!(prompts(&restored), ["a"]);
        assert_eq!(restored.begin_next(&Preferences::default()).unwrap().first, 1);
        assert!(restored.add(job("b", 1)).0 > id.0);
    }

    #[test]
    fn cancelled_jobs_do_not_begin() {
        let mut queue = Queue::default();
        let first = queue.add(job("a", 1));
        let second = queue.add(job("b", 1));
        queue.cancel_waiting(first);
        assert_eq!(queue.begin_next(&Preferences::default()).unwrap().id, second);
        queue.cancel_waiting(second);
        assert_eq!(queue.running().unwrap().id, second, "the engine stops what runs");
    }
}
