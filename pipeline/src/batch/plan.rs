//! Which images a job set means: fixed by the jobs and the settings alone.

use std::{collections::HashMap, fmt, path::PathBuf, str::FromStr};

use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{
    FileNamePattern, Job,
    file_name::{self, Surroundings},
};
use crate::{
    picture::FileFormat,
    prompt::{ExpansionError, PromptSyntax, Wildcards, expand},
    request::{FieldError, GenerationRequest, RequestError},
};

/// The most images of one job set.
const MAX_ITEMS: usize = 1_000_000;

/// The field of a job that names its checkpoint.
pub(super) const MODEL: &str = "model";

/// The field of a job that names an autoencoder in place of its checkpoint's.
pub(super) const VAE: &str = "vae";

/// A checkpoint that images of a job set are made with.
#[derive(Debug, Clone, PartialEq)]
pub struct JobModel {
    /// Where it is; `None` for the model in the box. Different paths are different checkpoints.
    pub path: Option<PathBuf>,
    /// The autoencoder that stands in for its own.
    pub vae: Option<PathBuf>,
    /// Its name.
    pub name: String,
    /// The values of fields that a job does not state.
    pub base: GenerationRequest,
}

/// The checkpoint that a job names, and the autoencoder in place of its own; what it does not name
/// is that of all jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct StatedModel {
    /// The checkpoint.
    pub model: Option<String>,
    /// The autoencoder.
    pub vae: Option<String>,
}

/// What is the same for all jobs.
pub struct PlanSettings<'a> {
    /// The checkpoint of jobs that name none.
    pub model: JobModel,
    /// What a job names, which need not be one that can be loaded. Asked once for each.
    pub model_of: &'a dyn Fn(&StatedModel) -> JobModel,
    /// The seed of the first image, from which those of all jobs without one count on. Without it
    /// they come from the job set.
    pub seed: Option<u64>,
    /// How prompts are read. Literal ones keep their brackets, alternatives and wildcards.
    pub prompt_syntax: PromptSyntax,
    /// Where wildcards come from.
    pub wildcards: &'a dyn Wildcards,
    /// How files are called.
    pub pattern: FileNamePattern,
    /// What they are.
    pub format: FileFormat,
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
    /// The place of its checkpoint in [`BatchPlan::models`].
    pub model: usize,
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
        source: RequestError,
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
    models: Vec<JobModel>,
    prompt_syntax: PromptSyntax,
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
        let mut models = Models::new(settings);
        let mut items: Vec<Item> = Vec::new();
        let mut digest = Sha256::new();
        let name = &settings.model.name;
        digest.update(format!("{name}\n{}\n{:?}\n", settings.format, settings.pattern));
        if let Some(vae) = &settings.model.vae {
            digest.update(format!("vae {}\n", vae.display()));
        }
        if settings.prompt_syntax == PromptSyntax::Literal {
            digest.update("literal prompts\n");
        }
        for job in jobs {
            let line = job.line;
            let wrong = |source| PlanError::Fields { line, source: with_fields_of_models(source) };
            let mut fields = job.fields.clone();
            let mut path = |field| path_field(field, fields.remove(field)).map_err(wrong);
            let stated = StatedModel { model: path(MODEL)?, vae: path(VAE)? };
            let model = models.place(&stated);
            let base = &models.found[model].base;
            let mut request = base.with_fields(&fields).map_err(wrong)?;
            if !fields.contains_key("seed") {
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
            // A checkpoint that a job names may be put in its place after the first run, so what
            // it recommends must not count.
            let deciding = match &stated.model {
                None => request.clone(),
                Some(_) => settings.model.base.with_fields(&fields).map_err(wrong)?,
            };
            for number in 0..request.count {
                let seed = request.seed_of(number);
                let expand = |prompt: &str| match settings.prompt_syntax {
                    PromptSyntax::Weighted => expand(prompt, seed, settings.wildcards)
                        .map_err(|source| PlanError::Prompt { line, source }),
                    PromptSyntax::Literal => Ok(prompt.to_owned()),
                };
                let single = request.image(number).with_prompts(expand)?;
                let deciding = GenerationRequest {
                    prompt: single.prompt.clone(),
                    negative_prompt: single.negative_prompt.clone(),
                    conditioning: single.conditioning.clone(),
                    seed,
                    count: 1,
                    ..deciding.clone()
                };
                digest.update(serde_json::to_string(&deciding).unwrap_or_default());
                digest.update(stated.model.as_deref().unwrap_or_default());
                digest.update("\n");
                if let Some(vae) = &stated.vae {
                    digest.update(format!("vae {vae}\n"));
                }
                let index = items.len();
                items.push(Item { index, line, request: single, file: String::new(), model });
            }
        }
        let (models, digest) = (models.found, hexadecimal(&digest.finalize()));
        Ok(Self { items, models, prompt_syntax: settings.prompt_syntax, digest })
    }

    /// Names the files. `date` is that of the first run, so that later ones give the same names.
    pub fn name_files(&mut self, settings: &PlanSettings<'_>, date: &str) {
        let count = self.items.len();
        let name = |item: &Item| {
            let around = Surroundings { model: &self.models[item.model].name, date, count };
            settings.pattern.name(&item.request, item.index, around)
        };
        let names = self.items.iter().map(name).collect();
        let names = file_name::distinct(names, settings.format.extension());
        for (item, name) in self.items.iter_mut().zip(names) {
            item.file = name;
        }
    }

    /// All images, in order.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The checkpoints that they are made with, that of jobs which name none first.
    pub fn models(&self) -> &[JobModel] {
        &self.models
    }

    /// How their prompts are read.
    pub fn prompt_syntax(&self) -> PromptSyntax {
        self.prompt_syntax
    }

    /// SHA-256 of everything that decides the images, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// The checkpoints of a job set, and what jobs call them.
struct Models<'a> {
    found: Vec<JobModel>,
    places: HashMap<StatedModel, usize>,
    model_of: &'a dyn Fn(&StatedModel) -> JobModel,
}

impl<'a> Models<'a> {
    fn new(settings: &PlanSettings<'a>) -> Self {
        let found = vec![settings.model.clone()];
        Self { found, places: HashMap::new(), model_of: settings.model_of }
    }

    /// The place of what a job names.
    fn place(&mut self, stated: &StatedModel) -> usize {
        if *stated == StatedModel::default() {
            return 0;
        }
        if let Some(&place) = self.places.get(stated) {
            return place;
        }
        let model = (self.model_of)(stated);
        let is_same = |found: &JobModel| (&found.path, &found.vae) == (&model.path, &model.vae);
        let place = self.found.iter().position(is_same);
        let place = place.unwrap_or(self.found.len());
        if place == self.found.len() {
            self.found.push(model);
        }
        self.places.insert(stated.clone(), place);
        place
    }
}

/// Names the fields of a job that are not of its request, too, where known ones are listed.
fn with_fields_of_models(error: FieldError) -> FieldError {
    match error {
        FieldError::Unknown { field, known } => {
            FieldError::Unknown { field, known: format!("{known}, {MODEL}, {VAE}") }
        }
        other => other,
    }
}

/// What a job's field names.
fn path_field(field: &str, value: Option<Value>) -> Result<Option<String>, FieldError> {
    let what = if field == VAE { "an autoencoder" } else { "a checkpoint" };
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(path)) if !path.trim().is_empty() => Ok(Some(path)),
        Some(other) => Err(FieldError::Invalid {
            field: field.to_owned(),
            reason: format!("{other} is not the path of {what}"),
        }),
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
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{prompt::NoWildcards, schedulers::Sampler};

    fn stated(stated: &StatedModel, steps: u32) -> JobModel {
        let path = stated.model.as_deref().unwrap_or("model").trim_start_matches("./");
        JobModel { vae: stated.vae.as_ref().map(PathBuf::from), ..model(path, steps) }
    }

    fn model(path: &str, steps: u32) -> JobModel {
        JobModel {
            vae: None,
            path: Some(PathBuf::from(path)),
            name: path.trim_start_matches("models/").to_owned(),
            base: GenerationRequest {
                width: 64,
                height: 64,
                steps,
                guidance_scale: 1.0,
                sampler: Sampler::Euler,
                ..GenerationRequest::new("")
            },
        }
    }

    fn settings() -> PlanSettings<'static> {
        PlanSettings {
            model: model("model", 2),
            model_of: &|job| stated(job, 9),
            seed: None,
            prompt_syntax: PromptSyntax::Weighted,
            wildcards: &NoWildcards,
            pattern: "{index}-{seed}-{prompt}-{date}".parse().unwrap(),
            format: FileFormat::Png,
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
    fn literal_prompts_stay_as_they_are_and_make_another_job_set() {
        let jobs = [job(1, json!({ "prompt": "a {cat|dog} __kind__", "count": 2 }))];
        let literal = PlanSettings { prompt_syntax: PromptSyntax::Literal, ..settings() };
        let plan = BatchPlan::new(&jobs, &literal).unwrap();
        assert!(plan.items().iter().all(|item| item.request.prompt == "a {cat|dog} __kind__"));
        assert!(matches!(BatchPlan::new(&jobs, &settings()), Err(PlanError::Prompt { .. })));
        let jobs = [job(1, json!({ "prompt": "a cat" }))];
        let literal = BatchPlan::new(&jobs, &literal).unwrap();
        assert_ne!(literal.digest(), BatchPlan::new(&jobs, &settings()).unwrap().digest());
    }

    #[test]
    fn jobs_have_the_defaults_and_the_name_of_their_model() {
        let jobs = [
            job(1, json!({ "prompt": "a", "model": "models/big" })),
            job(2, json!({ "prompt": "b" })),
            job(3, json!({ "prompt": "c", "model": "./models/big", "steps": 3 })),
        ];
        let pattern = "{model}-{prompt}".parse().unwrap();
        let settings = PlanSettings { pattern, ..settings() };
        let mut plan = BatchPlan::new(&jobs, &settings).unwrap();
        plan.name_files(&settings, "");
        let found: Vec<_> = plan
            .items()
            .iter()
            .map(|item| (item.file.as_str(), item.model, item.request.steps))
            .collect();
        assert_eq!(found, [("big-a.png", 1, 9), ("model-b.png", 0, 2), ("big-c.png", 1, 3)]);
        let names: Vec<_> = plan.models().iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["model", "big"]);
        // A checkpoint that was absent in the first run does not make it another job set.
        let absent = PlanSettings { model_of: &|job| stated(job, 2), ..settings };
        assert_eq!(BatchPlan::new(&jobs, &absent).unwrap().digest(), plan.digest());
        let others = [job(1, json!({ "prompt": "a", "model": "models/other" }))];
        let other = BatchPlan::new(&others, &absent).unwrap();
        assert_ne!(other.digest(), BatchPlan::new(&jobs[..1], &absent).unwrap().digest());
    }

    #[test]
    fn jobs_may_name_an_autoencoder() {
        let jobs = [
            job(1, json!({ "prompt": "a" })),
            job(2, json!({ "prompt": "a", "vae": "taesd" })),
            job(3, json!({ "prompt": "a", "vae": "taesd", "model": "./model" })),
            job(4, json!({ "prompt": "a", "model": "model" })),
        ];
        let plan = BatchPlan::new(&jobs, &settings()).unwrap();
        let places: Vec<_> = plan.items().iter().map(|item| item.model).collect();
        assert_eq!(places, [0, 1, 1, 0]);
        let vaes: Vec<_> = plan.models().iter().map(|model| model.vae.clone()).collect();
        assert_eq!(vaes, [None, Some(PathBuf::from("taesd"))]);
        let digest = |job| BatchPlan::new(&[job], &settings()).unwrap().digest().to_owned();
        assert_ne!(digest(jobs[0].clone()), digest(jobs[1].clone()));
    }

    #[test]
    fn wrong_jobs_are_told_with_their_line() {
        for (fields, message) in [
            (json!({ "model": 3 }), "line 3: field `model`: 3 is not the path of a checkpoint"),
            (json!({ "vae": "" }), "line 3: field `vae`: \"\" is not the path of an autoencoder"),
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

    fn field() -> impl Strategy<Value = (String, Value)> {
        let name = prop::sample::select(vec![
            "prompt", "negative", "steps", "cfg", "sampler", "seed", "width", "height", "count",
            "model", "mode", "init", "mask", "strength", "hires", "extend", "scale", "other",
        ]);
        let value = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (0..200_u32).prop_map(|cells| Value::from(cells * 8)),
            any::<f64>().prop_map(|number| json!(number)),
            "(?s).{0,20}".prop_map(Value::from),
            Just(json!({ "left": 8 })),
            Just(json!(["ddim"])),
        ];
        (name.prop_map(str::to_owned), value)
    }

    proptest! {
        #[test]
        fn any_fields_are_planned_or_told_with_their_line(
            fields in prop::collection::vec(field(), 0..5),
        ) {
            let job = Job { line: 7, fields: fields.into_iter().collect() };
            let base = [("prompt".to_owned(), json!("a"))].into_iter().collect();
            let jobs = [Job { line: 1, fields: base }, job];
            match BatchPlan::new(&jobs, &settings()) {
                Ok(plan) => prop_assert!(plan.items().iter().all(|item| item.request.check().is_ok())),
                Err(error) => prop_assert!(error.to_string().starts_with("line 7: "), "{error}"),
            }
        }

        #[test]
        fn every_picture_is_in_one_shard(of in 1..40_usize, index in 0..10_000_usize) {
            let shards = (1..=of).map(|number| format!("{number}/{of}").parse::<Shard>().unwrap());
            prop_assert_eq!(shards.filter(|shard| shard.contains(index)).count(), 1);
        }
    }

    #[test]
    fn shards_are_read_within_bounds() {
        for bad in ["0/3", "4/3", "1", "1/0", "a/b", ""] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
