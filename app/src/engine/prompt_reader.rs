//! How a loaded checkpoint reads prompts: with its tokenizer, and embeddings by their names.

use std::sync::{Arc, Mutex, PoisonError};

use emberbrush_pipeline::{
    adapters::{AdaptedNetwork, Embedding, FoundFile},
    diffusion::DiffusionPipeline,
    prompt::RunSteps,
};

use super::{PromptReader, UnreadPrompt};

/// The embeddings that were read, since a prompt is read anew with every letter that is typed.
#[derive(Debug, Default)]
struct Shelf(Mutex<Vec<Arc<Embedding>>>);

impl Shelf {
    /// The embedding of a file; none where the file holds none, which the run tells of.
    fn open(&self, file: FoundFile) -> Option<Arc<Embedding>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(embedding) = known.iter().find(|embedding| *embedding.file() == file) {
            return Some(Arc::clone(embedding));
        }
        let embedding = Arc::new(Embedding::open(file).ok()?);
        known.push(Arc::clone(&embedding));
        Some(embedding)
    }
}

/// Reads prompts as the first text encoder of a checkpoint does.
pub(super) fn prompt_reader(pipeline: &DiffusionPipeline) -> PromptReader {
    let own = pipeline.tokenizer().clone();
    let shelf = Shelf::default();
    PromptReader::new(move |UnreadPrompt { text, steps, adapters, folders }| {
        let found = folders.find_embeddings(adapters, [*text].into_iter());
        let mut tokenizer = own.clone();
        for embedding in found.unwrap_or_default().into_iter().filter_map(|file| shelf.open(file)) {
            let vectors = embedding.vectors(AdaptedNetwork::TextEncoder);
            for name in embedding.names() {
                // A name that cannot be added stands for itself, as in the run.
                if let Some(vectors) = vectors {
                    let _ = tokenizer.add_embedding(name, vectors.count);
                }
            }
        }
        tokenizer.read_prompt(text, RunSteps::new(*steps)).map_err(|error| error.to_string())
    })
}
