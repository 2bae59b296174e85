//! Files of models and of adapters.

use emberbrush_pipeline::{
    adapters::AdapterError,
    checkpoint::{
        CheckpointError, WeightError, pickle::PickleError, safetensors_file::SafetensorsError,
    },
};

use super::{Explain, Explanation, files::read};

impl Explain for CheckpointError {
    fn explain(&self) -> Explanation {
        match self {
            Self::NotFound { path } => Explanation::new("error-missing").with("path", path),
            Self::NotACheckpoint { path } => {
                Explanation::new("error-no-checkpoint").with("path", path)
            }
            Self::Unsupported { path, .. } => {
                Explanation::new("error-unsupported").with("path", path)
            }
            Self::Io { path, source } => read(path, source),
            Self::Json { path, .. } | Self::Tokenizer { path, .. } => {
                Explanation::new("error-configuration").with("path", path)
            }
            Self::NoWeights { path } => Explanation::new("error-no-weights").with("path", path),
            Self::ShardWithout { path, key } => {
                Explanation::new("error-incomplete").with("path", path).with("key", key)
            }
            Self::Safetensors(error) => error.explain(),
            Self::Pickle(error) => error.explain(),
            Self::Weights(error) => error.explain(),
        }
    }
}

impl Explain for SafetensorsError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Io { path, source } => read(path, source),
            Self::Invalid { path, .. } => Explanation::new("error-damaged").with("path", path),
        }
    }
}

impl Explain for PickleError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Io { path, source } => read(path, source),
            Self::Forbidden { path, .. } => {
                Explanation::new("error-pickle-code").with("path", path)
            }
            Self::Invalid { path, .. } => Explanation::new("error-damaged").with("path", path),
        }
    }
}

impl Explain for WeightError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Missing { origin, key, .. } => {
                Explanation::new("error-incomplete").with("path", origin).with("key", key)
            }
            Self::Shape { origin, key, .. } => {
                Explanation::new("error-tensor-shape").with("path", origin).with("key", key)
            }
            Self::Unreadable { origin, key, .. } => {
                Explanation::new("error-tensor-unreadable").with("path", origin).with("key", key)
            }
            Self::Config(_) => Explanation::new("error-model-configuration"),
        }
    }
}

impl Explain for AdapterError {
    fn explain(&self) -> Explanation {
        match self {
            Self::NotFound { file, .. } => {
                Explanation::new("error-adapter-missing").with("file", file)
            }
            Self::File(error) => error.explain(),
            Self::NoAdapter { path, .. } => Explanation::new("error-no-adapter").with("path", path),
            Self::MissingPart { path, .. }
            | Self::Parts { path, .. }
            | Self::Ranks { path, .. } => Explanation::new("error-damaged").with("path", path),
            Self::Shape { path, checkpoint, .. }
            | Self::EmbeddingShape { path, checkpoint, .. }
            | Self::NothingFits { path, checkpoint, .. } => {
                Explanation::new("error-adapter-other").with("path", path).with("model", checkpoint)
            }
            Self::NoEmbedding { path, .. } => {
                Explanation::new("error-no-embedding").with("path", path)
            }
            Self::Tensor(error) => error.explain(),
        }
    }
}
