//! How a loaded checkpoint reads prompts: with its tokenizer, and embeddings by their names.

use std::sync::{Arc, Mutex, PoisonError};

use emberbrush_pipeline::{
    adapters::{Embedding, FoundFile},
    diffusion::DiffusionPipeline,
    prompt::{RunSteps, Tokenizer},
};

use super::{PromptReader, UnreadPrompt};
use crate::failure::Failure;

/// A tokenizer that knows the embeddings of some files.
type WithEmbeddings = (Vec<FoundFile>, Arc<Tokenizer>);

/// Reads prompts as the first text encoder of a checkpoint does.
pub(super) fn prompt_reader(pipeline: &DiffusionPipeline) -> PromptReader {
    let own = Arc::new(pipeline.tokenizer().clone());
    // A prompt is read anew with every letter that is typed, mostly with the same embeddings.
    let last: Mutex<Option<WithEmbeddings>> = Mutex::default();
    PromptReader::new(move |UnreadPrompt { text, steps, adapters, folders }| {
        let found = folders.find_embeddings(adapters, [*text].into_iter()).unwrap_or_default();
        let tokenizer = if found.is_empty() {
            Arc::clone(&own)
        } else {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            match &*last {
                Some((files, tokenizer)) if *files == found => Arc::clone(tokenizer),
                _ => {
                    let tokenizer = Arc::new(with_embeddings(&own, &found));
                    *last = Some((found, Arc::clone(&tokenizer)));
                    tokenizer
                }
            }
        };
        tokenizer.read_prompt(text, RunSteps::new(*steps)).map_err(Failure::from)
    })
}

/// The tokenizer with the embeddings of some files. A file that holds none, of which the run tells, is passed over.
fn with_embeddings(tokenizer: &Tokenizer, files: &[FoundFile]) -> Tokenizer {
    let mut tokenizer = tokenizer.clone();
    for embedding in files.iter().filter_map(|file| Embedding::open(file.clone()).ok()) {
        embedding.add_names(&mut tokenizer);
    }
    tokenizer
}
