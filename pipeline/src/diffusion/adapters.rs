//! Adapters of requests: merged before pictures are made, always from the checkpoint's own
//! weights, and only into the layers that change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use emberbrush_text_encoder::prompt::{Prompt, PromptSyntax};

use super::{DiffusionPipeline, vocabulary::Words};
use crate::{
    adapters::{
        AdaptedNetwork, AdapterError, AdapterFolders, AdapterSelection, Embedding, FoundFile,
        FoundLora, LayerNames, LoraFile, LoraSelection, MAX_LORA_WEIGHT, Merge, NetworkMerge,
        UnusedKeys, WeightedLora,
    },
    checkpoint::{CheckpointError, files::CheckpointFiles},
    error::PipelineError,
    memory::AdapterMemory,
    metadata::AdapterHashes,
    request::GenerationRequest,
};

/// What is merged into the networks of a checkpoint, for all who read their weights.
#[derive(Debug, Clone, Default)]
pub(super) struct Merged(Arc<Mutex<BTreeMap<&'static str, Arc<NetworkMerge>>>>);

impl Merged {
    /// What is merged into the network in the folder `component`.
    pub(super) fn of(&self, component: &str) -> Arc<NetworkMerge> {
        let merged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        merged.get(component).cloned().unwrap_or_default()
    }

    fn set(&self, network: AdaptedNetwork, merge: Arc<NetworkMerge>) {
        let mut merged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        merged.insert(network.component(), merge);
    }
}

/// Adapters that were found, with their files.
type OpenLoras = Vec<(FoundLora, Arc<LoraFile>)>;

/// The adapters of a loaded checkpoint.
#[derive(Debug, Default)]
pub(super) struct Adapters {
    folders: AdapterFolders,
    /// What was merged last, with the files of it.
    loras: OpenLoras,
    /// Weights that a merge which failed may have changed or not.
    unsure: BTreeMap<AdaptedNetwork, BTreeSet<String>>,
    /// Read when the first adapter is merged.
    names: OnceLock<LayerNames>,
    /// Every embedding that was read.
    embeddings: Mutex<Vec<Arc<Embedding>>>,
}

impl Adapters {
    /// Whether these are merged, and nothing else.
    fn are(&self, loras: &[FoundLora]) -> bool {
        self.unsure.is_empty()
            && self.loras.len() == loras.len()
            && self.loras.iter().zip(loras).all(|((merged, _), wanted)| merged == wanted)
    }

    /// Reads an embedding, where it is not known.
    fn embedding(&self, file: FoundFile) -> Result<Arc<Embedding>, AdapterError> {
        let mut known = self.embeddings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(embedding) = known.iter().find(|embedding| *embedding.file() == file) {
            return Ok(Arc::clone(embedding));
        }
        let embedding = Arc::new(Embedding::open(file)?);
        known.push(Arc::clone(&embedding));
        Ok(embedding)
    }

    /// Opens the file of an adapter, where it is not open already.
    fn open(&self, file: &FoundFile) -> Result<Arc<LoraFile>, PipelineError> {
        match self.loras.iter().find(|(open, _)| open.file == *file) {
            Some((_, open)) => Ok(Arc::clone(open)),
            None => Ok(Arc::new(LoraFile::open(&file.path)?)),
        }
    }
}

impl DiffusionPipeline {
    /// Chooses where adapters that are given by name are looked for.
    pub fn set_adapter_folders(&mut self, folders: AdapterFolders) {
        self.adapters.folders = folders;
    }

    /// Merges a request's adapters, where others are merged or none, and gives the keys that have
    /// no use. Pictures are made with what their requests say; this is for merging ahead of them.
    ///
    /// # Errors
    ///
    /// Adapters that are not found, broken or for another model. What was merged before stays
    /// then, or, where a file could not be read to its end, is merged anew with the next request.
    pub fn use_adapters(
        &mut self,
        selection: &AdapterSelection,
    ) -> Result<Vec<UnusedKeys>, PipelineError> {
        let found = self.adapters.folders.find_loras(selection)?;
        if self.adapters.are(&found) {
            return Ok(Vec::new());
        }
        let (loras, merge) = self.read_adapters(found)?;
        for network in self.adapted_networks() {
            self.merge(network, merge.network(network))?;
        }
        self.adapters.loras = loras;
        self.kept_prompts.clear();
        Ok(merge.unused_keys)
    }

    /// Opens adapters and finds what they change.
    fn read_adapters(&self, found: Vec<FoundLora>) -> Result<(OpenLoras, Merge), PipelineError> {
        let mut loras = Vec::with_capacity(found.len());
        for lora in found {
            let file = self.adapters.open(&lora.file)?;
            loras.push((lora, file));
        }
        if loras.is_empty() {
            return Ok((loras, Merge::default()));
        }
        let weighted: Vec<_> =
            loras.iter().map(|(lora, file)| WeightedLora::new(lora, Arc::clone(file))).collect();
        let names = match self.adapters.names.get() {
            Some(names) => names,
            None => {
                let read = LayerNames::read(self.components.files(), &self.adapted_networks())?;
                self.adapters.names.get_or_init(|| read)
            }
        };
        let merge = Merge::new(&weighted, names, &self.name)?;
        Ok((loras, merge))
    }

    /// What the adapters of a request take of memory.
    ///
    /// # Errors
    ///
    /// Those of [`use_adapters`](Self::use_adapters).
    pub(super) fn adapter_memory(
        &self,
        request: &GenerationRequest,
    ) -> Result<AdapterMemory, PipelineError> {
        let found = self.adapters.folders.find_loras(&self.adapters_of(request)?)?;
        let (loras, merge) = self.read_adapters(found)?;
        Ok(AdapterMemory::new(&merge, loras.iter().map(|(_, file)| file.as_ref())))
    }

    /// The adapters of a request: those that it lists, and then those that its prompt names.
    ///
    /// # Errors
    ///
    /// Where the prompt cannot be read.
    pub fn adapters_of(
        &self,
        request: &GenerationRequest,
    ) -> Result<AdapterSelection, PipelineError> {
        selected(request, self.prompt_syntax)
    }

    /// The embeddings that a request selects, and those of the folder that its prompts name.
    ///
    /// # Errors
    ///
    /// Files that are not there, hold no embedding, or are for another model.
    pub(super) fn words_of(&self, request: &GenerationRequest) -> Result<Words, PipelineError> {
        let prompts = prompts(request);
        let found = self.adapters.folders.find_embeddings(&request.adapters, prompts)?;
        let widths = self.text.widths();
        let read = found.into_iter().map(|file| {
            let embedding = self.adapters.embedding(file)?;
            embedding.check(&widths, &self.name)?;
            Ok(embedding)
        });
        Ok(Words(read.collect::<Result<Vec<_>, AdapterError>>()?.into()))
    }

    /// Names and hashes of the adapters that are merged and of the embeddings that the request's
    /// prompts name; a file that cannot be read any more is left out.
    pub fn adapter_hashes(&self, request: &GenerationRequest) -> AdapterHashes {
        let named =
            |(found, open): &(FoundLora, Arc<LoraFile>)| Some((found.file.name(), open.hash()?));
        AdapterHashes {
            lora: self.adapters.loras.iter().filter_map(named).collect(),
            embedding: self.embedding_hashes(request),
        }
    }

    fn embedding_hashes(&self, request: &GenerationRequest) -> Vec<(String, String)> {
        let Ok(words) = self.words_of(request) else { return Vec::new() };
        let vocabulary = self.text.first.vocabularies.with(&words);
        let named: Vec<&str> = prompts(request)
            .flat_map(|prompt| vocabulary.tokenizer.embeddings_in(prompt))
            .collect();
        let is_named = |embedding: &&Arc<Embedding>| {
            embedding.names().iter().any(|name| named.contains(&name.as_str()))
        };
        let hash = |embedding: &Arc<Embedding>| Some((embedding.file().name(), embedding.hash()?));
        words.0.iter().filter(is_named).filter_map(hash).collect()
    }

    /// Whether these adapters are merged, and nothing else.
    pub(super) fn has_adapters(&self, selection: &AdapterSelection) -> bool {
        self.adapters.folders.find_loras(selection).is_ok_and(|found| self.adapters.are(&found))
    }

    /// The networks that adapters can change.
    fn adapted_networks(&self) -> Vec<AdaptedNetwork> {
        let has = |network: &AdaptedNetwork| {
            *network == AdaptedNetwork::UNet || self.text.part_of(network.component()).is_some()
        };
        AdaptedNetwork::ALL.into_iter().filter(has).collect()
    }

    /// Reads the layers of a network again that `merge` changes in another way than what is
    /// merged now.
    fn merge(
        &mut self,
        network: AdaptedNetwork,
        merge: Arc<NetworkMerge>,
    ) -> Result<(), CheckpointError> {
        let component = network.component();
        let merged = self.components.merged().of(component);
        let mut changed = self.adapters.unsure.remove(&network).unwrap_or_default();
        changed.extend(merged.difference(&merge).cloned());
        if changed.is_empty() {
            return Ok(());
        }
        self.components.merged().set(network, merge);
        let read = match self.text.part_of(component) {
            Some(part) => part.reload(&changed),
            None => self
                .components
                .reload(component, self.dtype, &changed, |weights| self.unet.reload(weights)),
        };
        if read.is_err() {
            self.adapters.unsure.insert(network, changed);
        }
        read
    }
}

/// The adapters that a request lists, and then those that its prompt names.
///
/// # Errors
///
/// Where the prompt cannot be read.
fn selected(
    request: &GenerationRequest,
    syntax: PromptSyntax,
) -> Result<AdapterSelection, PipelineError> {
    let mut adapters = request.adapters.clone();
    if syntax == PromptSyntax::Weighted {
        let prompt = Prompt::read(&request.prompt)?;
        adapters.lora.extend(prompt.loras.into_iter().map(|lora| LoraSelection {
            file: lora.name.into(),
            unet: lora.unet.clamp(-MAX_LORA_WEIGHT, MAX_LORA_WEIGHT),
            text: lora.text_encoder.clamp(-MAX_LORA_WEIGHT, MAX_LORA_WEIGHT),
        }));
    }
    Ok(adapters)
}

/// What the adapters of a request take of memory with a checkpoint that is not loaded.
///
/// # Errors
///
/// Adapters that are not found, broken or for another model.
pub(crate) fn adapter_memory(
    files: &CheckpointFiles,
    folders: &AdapterFolders,
    request: &GenerationRequest,
    syntax: PromptSyntax,
) -> Result<AdapterMemory, PipelineError> {
    let found = folders.find_loras(&selected(request, syntax)?)?;
    if found.is_empty() {
        return Ok(AdapterMemory::default());
    }
    let mut loras = Vec::with_capacity(found.len());
    for lora in &found {
        loras.push(WeightedLora::new(lora, Arc::new(LoraFile::open(&lora.file.path)?)));
    }
    let has =
        |network: &AdaptedNetwork| files.contains(&format!("{}/config.json", network.component()));
    let networks: Vec<_> = AdaptedNetwork::ALL.into_iter().filter(has).collect();
    let merge = Merge::new(&loras, &LayerNames::read(files, &networks)?, &files.name())?;
    Ok(AdapterMemory::new(&merge, loras.iter().map(|lora| lora.file.as_ref())))
}

/// The texts in which embeddings may be named.
fn prompts(request: &GenerationRequest) -> impl Iterator<Item = &str> {
    let options = &request.conditioning;
    let second = [&options.prompt_2, &options.negative_2].into_iter().flatten();
    [&request.prompt, &request.negative_prompt].into_iter().chain(second).map(String::as_str)
}
