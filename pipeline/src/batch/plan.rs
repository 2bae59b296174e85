//! Which images a job set means: fixed by the jobs and the settings alone.

use std::{fmt, str::FromStr};

use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{
    FileNamePattern, Job,
    file_name::{self, Surroundings},
};
use crate::{
    error::PipelineError,
    picture::FileFormat,
    prompt::{ExpansionError, Wildcards, expand},
    request::{FieldError, GenerationRequest},
};

/// The most images of one job set.
const MAX_ITEMS: usize = 1_000_000;

/// What is the same for all jobs.
#[derive(Debug)]
pub struct PlanSettings<'a> {
    /// The values of fields that a job does not state.
    pub base: GenerationRequest,
    /// The seed of the first image, from which those of all jobs without one count on. Without it
    /// they come from the job set.
    pub seed: Option<u64>,
    /// Where wildcards come from.
    pub wildcards: &'a dyn Wildcards,
    /// How files are called.
    pub pattern: FileNamePattern,
    /// What they are.
    pub format: FileFormat,
    /// The checkpoint's name.
    pub model: String,
}

/// One image.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its number in the job set, from 0.
    pub index: usize,
    /// The line of its job, from 1.
    pub line: usize,
    /// What it is: one image, its own seed, alternatives and wildcards replaced.
    pub request: GenerationRequest,
    /// The name of its file.
    pub file: String,
}

/// Why a job set means no images.
#[derive(Debug, Error)]
pub enum PlanError {
    /// A job's fields are wrong.
    #[error("line {line}: {source}")]
    Fields {
        /// The job's line.
        line: usize,
        /// What is wrong.
        source: FieldError,
    },
    /// A job's request cannot be met.
    #[error("line {line}: {source}")]
    Request {
        /// The job's line.
        line: usize,
        /// What is wrong.
        source: PipelineError,
    },
    /// A job's prompt could not be expanded.
    #[error("line {line}: {source}")]
    Prompt {
        /// The job's line.
        line: usize,
        /// What is wrong.
        source: ExpansionError,
    },
    /// There are too many images.
    #[error("line {line}: with this job there are more than {MAX_ITEMS} images")]
    TooMany {
        /// The job's line.
        line: usize,
    },
}

/// The images of a job set.
#[derive(Debug, Clone)]
pub struct BatchPlan {
    items: Vec<Item>,
    digest: String,
}

impl BatchPlan {
    /// Works out every image. Equal arguments give equal plans, on every machine.
    ///
    /// # Errors
    ///
    /// With the line of the first job that is wrong.
    pub fn new(jobs: &[Job], settings: &PlanSettings<'_>) -> Result<Self, PlanError> {
        let job_seed = seed_of_jobs(jobs);
        let mut items: Vec<Item> = Vec::new();
        for job in jobs {
            let line = job.line;
            let mut request = settings
                .base
                .with_fields(&job.fields)
                .map_err(|source| PlanError::Fields { line, source })?;
            if !job.fields.contains_key("seed") {
                let index = items.len() as u64;
                request.seed = settings.seed.map_or_else(
                    || derived_seed(&job_seed, index),
                    |seed| seed.wrapping_add(index),
                );
            }
            request.check().map_err(|source| PlanError::Request { line, source })?;
            if items.len() + request.count as usize > MAX_ITEMS {
                return Err(PlanError::TooMany { line });
            }
            for number in 0..request.count {
                let seed = request.seed_of(number);
                let expand = |prompt: &str| {
                    expand(prompt, seed, settings.wildcards)
                        .map_err(|source| PlanError::Prompt { line, source })
                };
                let single = GenerationRequest {
                    prompt: expand(&request.prompt)?,
                    negative_prompt: expand(&request.negative_prompt)?,
                    seed,
                    count: 1,
                    ..request.clone()
                };
                let index = items.len();
                items.push(Item { index, line, request: single, file: String::new() });
            }
        }
        let mut digest = Sha256::new();
        digest.update(format!("{}\n{}\n{:?}\n", settings.model, settings.format, settings.pattern));
        for item in &items {
            digest.update(serde_json::to_string(&item.request).unwrap_or_default());
            digest.update("\n");
        }
        Ok(Self { items, digest: hexadecimal(&digest.finalize()) })
    }

    /// Names the files. `date` is that of the first run, so that later ones give the same names.
    pub fn name_files(&mut self, settings: &PlanSettings<'_>, date: &str) {
        let around = Surroundings { model: &settings.model, date, count: self.items.len() };
        let names = self
            .items
            .iter()
            .map(|item| settings.pattern.name(&item.request, item.index, around))
            .collect();
        let names = file_name::distinct(names, settings.format.extension());
        for (item, name) in self.items.iter_mut().zip(names) {
            item.file = name;
        }
    }

    /// All images, in order.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// SHA-256 of everything that decides the images, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// SHA-256 of the jobs.
fn seed_of_jobs(jobs: &[Job]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for job in jobs {
        digest.update(Value::from(job.fields.clone()).to_string());
        digest.update("\n");
    }
    digest.finalize().into()
}

/// A seed of 32 bits, which is short enough to type again.
fn derived_seed(jobs: &[u8; 32], index: u64) -> u64 {
    let mut digest = Sha256::new();
    digest.update(jobs);
    digest.update(index.to_le_bytes());
    let digest = digest.finalize();
    digest.iter().take(4).fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

/// Bytes in hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A part of a job set: every `of`-th image, beginning with the `number`-th.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    of: usize,
}

/// Text that names no part.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no part of a job set; write K/N, such as 1/3, 2/3 and 3/3")]
pub struct UnknownShard(String);

impl Default for Shard {
    fn default() -> Self {
        Self { number: 1, of: 1 }
    }
}

impl Shard {
    /// Whether the part holds the image of this number, from 0.
    pub fn contains(self, index: usize) -> bool {
        index % self.of == self.number - 1
    }

    /// What the part's manifest is called.
    pub(super) fn manifest_name(self) -> String {
        match self.of {
            1 => "manifest.jsonl".to_owned(),
            of => format!("manifest-{}-of-{of}.jsonl", self.number),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = UnknownShard;

    fn from_str(text: &str) -> Result<Self, UnknownShard> {
        let parse = || {
            let (number, of) = text.split_once('/')?;
            let (number, of) = (number.parse().ok()?, of.parse().ok()?);
            (1..=of).contains(&number).then_some(Self { number, of })
        };
        parse().ok_or_else(|| UnknownShard(text.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        prompt::NoWildcards,
        request::Mode,
        rng::RngSource,
        schedulers::{Sampler, Schedule},
    };

    fn settings() -> PlanSettings<'static> {
        PlanSettings {
            base: GenerationRequest {
                mode: Mode::TextToImage,
                prompt: String::new(),
                negative_prompt: String::new(),
                width: 64,
                height: 64,
                steps: 2,
                guidance_scale: 1.0,
                sampler: Sampler::Euler,
                schedule: Schedule::Automatic,
                seed: 0,
                rng: RngSource::Torch,
                count: 1,
            },
            seed: None,
            wildcards: &NoWildcards,
            pattern: "{index}-{seed}-{prompt}-{date}".parse().unwrap(),
            format: FileFormat::Png,
            model: "model".to_owned(),
        }
    }

    fn job(line: usize, fields: Value) -> Job {
        Job { line, fields: fields.as_object().unwrap().clone() }
    }

    #[test]
    fn jobs_become_images() {
        let jobs = [
            job(1, json!({ "prompt": "{a|b}", "seed": 7, "count": 2 })),
            job(4, json!({ "prompt": "c" })),
        ];
        let mut plan = BatchPlan::new(&jobs, &settings()).unwrap();
        plan.name_files(&settings(), "2026-01-02");
        let items = plan.items();
        assert_eq!(items.len(), 3);
        assert_eq!((items[1].request.seed, items[1].request.count, items[1].line), (8, 1, 1));
        assert_eq!(items[0].file, format!("1-7-{}-2026-01-02.png", items[0].request.prompt));
        let again = BatchPlan::new(&jobs, &settings()).unwrap();
        assert_eq!(again.digest(), plan.digest());
        assert_eq!(again.items()[2].request, items[2].request);
        let other = PlanSettings { seed: Some(1), ..settings() };
        let other = BatchPlan::new(&jobs, &other).unwrap();
        assert_eq!(other.items()[2].request.seed, 3);
        assert_ne!(other.digest(), plan.digest());
    }

    #[test]
    fn wrong_jobs_are_told_with_their_line() {
        for (fields, message) in [
            (json!({ "promt": "a" }), "line 3: unknown field `promt`"),
            (json!({ "steps": "many" }), "line 3: field `steps`: "),
            (json!({ "width": 65 }), "line 3: the width must be a multiple"),
            (json!({ "prompt": "__x__" }), "line 3: the prompt names the wildcard"),
            (json!({ "count": 2_000_000 }), "line 3: with this job"),
        ] {
            let error = BatchPlan::new(&[job(3, fields)], &settings()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn shards_are_a_partition() {
        let shards: Vec<Shard> = (1..=3).map(|k| format!("{k}/3").parse().unwrap()).collect();
        for index in 0..10 {
            assert_eq!(shards.iter().filter(|shard| shard.contains(index)).count(), 1);
        }
        for bad in ["0/3", "4/3", "1", "1/0", "a/b", ""] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
