//! Downloading a model into the library.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use emberbrush_pipeline::checkpoint::{files::CheckpointFiles, folder::family};
use sha2::{Digest, Sha256};
use url::Url;

use super::{
    Hub, HubError, Origin,
    client::{Announced, Client},
    listing::{ListedFile, Listing},
    selection::{MODEL_INDEX, checkpoint_files, single_file},
    transfer::{Fetched, Patience, Wanted, fetch},
};
use crate::{
    add,
    error::LibraryError,
    folder::{Library, Model, sync_folder},
    index::{Record, Source},
    name::ModelName,
    progress::{OnProgress, Progress, tell},
    verify::hex,
};

/// What is remembered of files that are whole, in the folder of an unfinished download.
const FINISHED: &str = ".finished.json";

/// Which of the published precisions of weights is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// `fp16`, else `bf16`, else what there is.
    #[default]
    Half,
    /// What has no variant in its name, else half precision.
    Full,
}

impl Precision {
    /// The variants in file names, the preferred one first.
    pub(super) fn variants(self) -> [&'static str; 3] {
        match self {
            Self::Half => [".fp16", ".bf16", ""],
            Self::Full => ["", ".fp16", ".bf16"],
        }
    }
}

/// What is to be downloaded, and from whom.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// The model.
    pub origin: Origin,
    /// What it is to be called; by default as its repository or file.
    pub name: Option<ModelName>,
    /// The file of a repository that is not in Hugging Face layout, or of several in one.
    pub file: Option<String>,
    /// Which precision of weights is taken.
    pub precision: Precision,
    /// The hub, and who asks it.
    pub hub: Hub,
    /// How broken connections are opened again.
    pub patience: Patience,
}

impl Library {
    /// Downloads a model. What an interrupted download of the same left is gone on with.
    ///
    /// # Errors
    ///
    /// Where the name is taken, there is no room, the server refuses or sends something else than
    /// was published, or nothing of what it has can be used.
    pub fn pull(
        &self,
        request: &PullRequest,
        on_progress: OnProgress<'_>,
    ) -> Result<Model, LibraryError> {
        let folder = self.staging(&request.origin)?;
        let client = Client::new(request.hub.clone(), folder.clone())?;
        let _lock = lock(&folder, &request.origin)?;
        let pull = Pull { library: self, request, client, folder };
        let model = match &request.origin {
            Origin::Repository { repository, revision } => {
                pull.repository(repository, revision, on_progress)
            }
            Origin::Url(url) => pull.url(url, on_progress),
        }?;
        fs::remove_dir_all(&pull.folder).map_err(LibraryError::io(&pull.folder))?;
        Ok(model)
    }

    /// The folder of an unfinished download, the same for the same origin.
    fn staging(&self, origin: &Origin) -> Result<PathBuf, LibraryError> {
        let hash = hex(&Sha256::digest(origin.to_string().as_bytes()));
        let folder = self.partial_folder()?.join(&hash[..16]);
        fs::create_dir_all(&folder).map_err(LibraryError::io(&folder))?;
        Ok(folder)
    }
}

/// Keeps other programs from downloading the same to the same place.
fn lock(folder: &Path, origin: &Origin) -> Result<File, LibraryError> {
    let path = folder.join(".lock");
    let lock = File::create(&path).map_err(LibraryError::io(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(HubError::Busy { what: origin.to_string() }.into()),
        Err(TryLockError::Error(error)) => Err(LibraryError::io(&path)(error)),
    }
}

struct Pull<'a> {
    library: &'a Library,
    request: &'a PullRequest,
    client: Client,
    /// Where everything is until it is whole.
    folder: PathBuf,
}

impl Pull<'_> {
    fn fetch(
        &self,
        wanted: &Wanted,
        path: &Path,
        before: u64,
        total: Option<u64>,
        on_progress: OnProgress<'_>,
    ) -> Result<Fetched, LibraryError> {
        let patience = self.request.patience;
        fetch(&self.client, patience, wanted, path, before, total, on_progress)
    }

    fn name(&self, otherwise: &str) -> Result<ModelName, LibraryError> {
        let name = match &self.request.name {
            Some(name) => name.clone(),
            None => ModelName::of_file(otherwise)?,
        };
        self.library.check_free(&name)?;
        Ok(name)
    }

    fn repository(
        &self,
        repository: &str,
        revision: &str,
        on_progress: OnProgress<'_>,
    ) -> Result<Model, LibraryError> {
        // A name that is taken is told before anything is asked for.
        let name = self.name(&self.request.origin.last_part())?;
        let listing = self.listing(repository, revision, on_progress)?;
        let source = Source::Repository {
            repository: repository.to_owned(),
            revision: revision.to_owned(),
            commit: listing.commit.clone(),
        };
        let index = listing.file(MODEL_INDEX).filter(|_| self.request.file.is_none());
        let Some(index) = index else {
            let file = single_file(repository, &listing, self.request.file.as_deref())?;
            let wanted = self.wanted(repository, &listing, file)?;
            return self.single(&wanted, &name, source, on_progress);
        };
        let wanted = self.wanted(repository, &listing, index)?;
        let path = self.folder.join("index");
        self.fetch(&wanted, &path, 0, None, on_progress)?;
        let bytes = fs::read(&path).map_err(LibraryError::io(&path))?;
        let model_index = serde_json::from_slice(&bytes).map_err(|error| HubError::Answer {
            what: format!("{repository}/{MODEL_INDEX}"),
            reason: error.to_string(),
        })?;
        let files = checkpoint_files(repository, &listing, &model_index, self.request.precision)?;
        let published = self.checkpoint(repository, &listing, files, on_progress)?;
        let whole = self.folder.join("model");
        self.library.take_in(&name, &whole, Record { source, published })
    }

    /// What the hub has.
    fn listing(
        &self,
        repository: &str,
        revision: &str,
        on_progress: OnProgress<'_>,
    ) -> Result<Listing, LibraryError> {
        let wanted = Wanted {
            name: format!("{} of {repository}", self.client.endpoint().address()),
            url: self.client.listing_url(repository, revision)?,
            published: Announced::default(),
            what: repository.to_owned(),
        };
        let path = self.folder.join("listing");
        self.fetch(&wanted, &path, 0, None, on_progress)?;
        let answer = fs::read(&path).map_err(LibraryError::io(&path))?;
        Ok(Listing::parse(repository, &answer)?)
    }

    fn wanted(
        &self,
        repository: &str,
        listing: &Listing,
        file: &ListedFile,
    ) -> Result<Wanted, HubError> {
        let url = self.client.file_url(repository, &listing.commit, &file.path)?;
        let published = Announced { sha256: file.sha256.clone(), size: file.size };
        Ok(Wanted { name: file.path.clone(), url, published, what: repository.to_owned() })
    }

    /// Fetches the files of a checkpoint; their hashes come back where they were published.
    fn checkpoint(
        &self,
        repository: &str,
        listing: &Listing,
        mut files: Vec<&ListedFile>,
        on_progress: OnProgress<'_>,
    ) -> Result<BTreeMap<String, String>, LibraryError> {
        let mut finished = Finished::read(&self.folder);
        let total = files.iter().filter_map(|file| file.size).sum();
        self.check_space(files.iter().copied(), &finished)?;
        // Configurations come first: what cannot be used is told before gigabytes are there.
        files.sort_by_key(|file| (file.sha256.is_some(), file.path.ends_with(".safetensors")));
        prune(&self.folder.join("model"), &files)?;
        let mut done = 0;
        let mut published = BTreeMap::new();
        let mut is_checked = false;
        for file in files {
            if file.path.ends_with(".safetensors") && !is_checked {
                family(&CheckpointFiles::Folder(self.folder.join("model")))?;
                is_checked = true;
            }
            let wanted = self.wanted(repository, listing, file)?;
            let target = self.folder.join("model").join(&file.path);
            let sha256 = match finished.hash(file, &target) {
                Some(sha256) => {
                    let bytes = Progress::Bytes { done, total: Some(total) };
                    tell(on_progress, bytes)?;
                    Some(sha256)
                }
                None => {
                    let path = self.folder.join("part");
                    let path = path.with_added_extension(file_key(&file.path));
                    let fetched = self.fetch(&wanted, &path, done, Some(total), on_progress)?;
                    move_to(&path, &target)?;
                    let Fetched { sha256, is_published, .. } = fetched;
                    if is_published {
                        finished.remember(&file.path, &sha256)?;
                    }
                    is_published.then_some(sha256)
                }
            };
            if let Some(sha256) = sha256 {
                published.insert(file.path.clone(), sha256);
            }
            done += file.size.unwrap_or_default();
        }
        Ok(published)
    }

    /// Refuses what is too large for the disk, before anything of it is fetched.
    fn check_space<'f>(
        &self,
        files: impl Iterator<Item = &'f ListedFile>,
        finished: &Finished,
    ) -> Result<(), LibraryError> {
        let missing = |file: &ListedFile| {
            let whole = finished.hash(file, &self.folder.join("model").join(&file.path)).is_some();
            let part = self.folder.join("part").with_added_extension(file_key(&file.path));
            let there = fs::metadata(part).map_or(0, |found| found.len());
            if whole { 0 } else { file.size.unwrap_or_default().saturating_sub(there) }
        };
        self.library.check_space(files.map(missing).fold(0, u64::saturating_add))
    }

    /// One file of a repository.
    fn single(
        &self,
        wanted: &Wanted,
        name: &ModelName,
        source: Source,
        on_progress: OnProgress<'_>,
    ) -> Result<Model, LibraryError> {
        let path = self.folder.join("part");
        let there = fs::metadata(&path).map_or(0, |found| found.len());
        let missing = wanted.published.size.unwrap_or_default().saturating_sub(there);
        self.library.check_space(missing)?;
        let fetched = self.fetch(wanted, &path, 0, wanted.published.size, on_progress)?;
        let ending = wanted.name.rsplit('.').next().unwrap_or("safetensors");
        self.take_single(&path, ending, name, source, fetched)
    }

    /// One file at an address, whose name the server may tell.
    fn url(&self, url: &Url, on_progress: OnProgress<'_>) -> Result<Model, LibraryError> {
        let last_part = self.request.origin.last_part();
        if let Ok(name) = ModelName::of_file(&last_part) {
            // Told before anything is fetched, where the address says it.
            self.library.check_free(self.request.name.as_ref().unwrap_or(&name))?;
        }
        let wanted = Wanted {
            name: last_part.clone(),
            url: url.clone(),
            published: Announced::default(),
            what: url.to_string(),
        };
        let path = self.folder.join("part");
        let fetched = self.fetch(&wanted, &path, 0, None, on_progress)?;
        let file_name = fetched.name.clone().unwrap_or(last_part);
        let name = self.name(&file_name)?;
        let ending = match file_name.rsplit_once('.') {
            Some((_, ending)) if ["ckpt", "pt", "pth"].contains(&ending) => ending,
            _ => "safetensors",
        };
        let source = Source::Url { url: url.to_string() };
        self.take_single(&path, ending, &name, source, fetched)
    }

    fn take_single(
        &self,
        path: &Path,
        ending: &str,
        name: &ModelName,
        source: Source,
        fetched: Fetched,
    ) -> Result<Model, LibraryError> {
        let whole = self.folder.join("model").with_added_extension(ending);
        move_to(path, &whole)?;
        if let Err(error) = add::check(&whole) {
            fs::remove_file(&whole).map_err(LibraryError::io(&whole))?;
            return Err(error);
        }
        let published = match fetched.is_published {
            true => BTreeMap::from([(String::new(), fetched.sha256)]),
            false => BTreeMap::new(),
        };
        self.library.take_in(name, &whole, Record { source, published })
    }
}

/// Removes what an earlier run fetched and this one does not want.
fn prune(model: &Path, wanted: &[&ListedFile]) -> Result<(), LibraryError> {
    let mut folders = vec![model.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if !wanted.iter().any(|file| model.join(&file.path) == path) {
                fs::remove_file(&path).map_err(LibraryError::io(&path))?;
            }
        }
    }
    Ok(())
}

/// A file name for the part of a file.
fn file_key(path: &str) -> String {
    hex(&Sha256::digest(path.as_bytes()))[..16].to_owned()
}

/// Gives a whole file its place.
fn move_to(part: &Path, target: &Path) -> Result<(), LibraryError> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(LibraryError::io(folder))?;
        fs::rename(part, target).map_err(LibraryError::io(target))?;
        sync_folder(folder);
    }
    Ok(())
}

/// The hashes of files that are whole, by path.
struct Finished {
    path: PathBuf,
    hashes: BTreeMap<String, String>,
}

impl Finished {
    fn read(folder: &Path) -> Self {
        let path = folder.join(FINISHED);
        let bytes = fs::read(&path).unwrap_or_default();
        Self { hashes: serde_json::from_slice(&bytes).unwrap_or_default(), path }
    }

    /// The hash of a file that an earlier run finished, where it is the one that is listed now.
    fn hash(&self, file: &ListedFile, target: &Path) -> Option<String> {
        let found = fs::metadata(target).ok()?;
        let hash = self.hashes.get(&file.path)?;
        let is_listed = file.sha256.as_ref() == Some(hash) && file.size == Some(found.len());
        is_listed.then(|| hash.clone())
    }

    fn remember(&mut self, path: &str, sha256: &str) -> Result<(), LibraryError> {
        self.hashes.insert(path.to_owned(), sha256.to_owned());
        let write = || fs::write(&self.path, serde_json::to_vec(&self.hashes)?);
        write().map_err(LibraryError::io(&self.path))
    }
}
