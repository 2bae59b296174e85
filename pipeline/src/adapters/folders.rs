//! From the names of adapters to files.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{AdapterError, AdapterSelection};

/// How deep folders are searched.
const MAX_DEPTH: usize = 8;

/// Endings of adapter files, in the order in which they are preferred. Embeddings are often files
/// of `torch.save`.
const ENDINGS: [&str; 3] = ["safetensors", "pt", "bin"];

/// Where adapters that are given by name are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdapterFolders {
    /// Low-rank adapters.
    pub lora: Option<PathBuf>,
    /// Embeddings of textual inversion, which prompts name.
    pub embeddings: Option<PathBuf>,
}

/// A file as it was when it was found: one that is written anew is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// Where it is.
    pub path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

/// A low-rank adapter that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLora {
    /// Its file.
    pub file: FoundFile,
    /// The weight in the UNet.
    pub unet: f64,
    /// The weight in the text encoders.
    pub text: f64,
}

impl FoundFile {
    fn new(path: PathBuf) -> Option<Self> {
        let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some(Self { path, length: metadata.len(), modified: metadata.modified().ok() })
    }

    /// What people call it: the file's name without its ending.
    pub fn name(&self) -> String {
        name(&self.path)
    }
}

impl AdapterFolders {
    /// Finds the low-rank adapters of a selection: as files, or else by name in the folder.
    ///
    /// # Errors
    ///
    /// Where there is no such file.
    pub fn find_loras(&self, selection: &AdapterSelection) -> Result<Vec<FoundLora>, AdapterError> {
        let folder = self.lora.as_deref();
        let found = selection.lora.iter().map(|lora| {
            let file = find(&lora.file, folder, "--lora-dir")?;
            Ok(FoundLora { file, unet: lora.unet, text: lora.text })
        });
        found.collect()
    }

    /// Whether everything that a selection lists is there.
    ///
    /// # Errors
    ///
    /// Where there is no file for one of them.
    pub fn check(&self, selection: &AdapterSelection) -> Result<(), AdapterError> {
        self.find_loras(selection)?;
        self.find_embeddings(selection, std::iter::empty()).map(|_| ())
    }

    /// Finds the embeddings of a selection, and those of the folder whose names occur in one of
    /// `prompts`.
    ///
    /// # Errors
    ///
    /// Where there is no file for one of the selection.
    pub fn find_embeddings<'a>(
        &self,
        selection: &AdapterSelection,
        prompts: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<FoundFile>, AdapterError> {
        let folder = self.embeddings.as_deref();
        let mut found = Vec::new();
        for file in &selection.embedding {
            found.push(find(file, folder, "--embeddings")?);
        }
        let prompts: Vec<String> = prompts.map(str::to_lowercase).collect();
        if let Some(folder) = folder.filter(|_| prompts.iter().any(|prompt| !prompt.is_empty())) {
            for path in files_below(folder) {
                let name = name(&path).to_lowercase();
                let is_named = prompts.iter().any(|prompt| prompt.contains(&name));
                let is_known = found.iter().any(|file: &FoundFile| file.path == path);
                if is_named && !is_known {
                    found.extend(FoundFile::new(path));
                }
            }
        }
        Ok(found)
    }
}

/// The file, or the one of that name below the folder, which `flag` chooses.
fn find(file: &Path, folder: Option<&Path>, flag: &str) -> Result<FoundFile, AdapterError> {
    find_file(file, folder).ok_or_else(|| AdapterError::NotFound {
        file: file.display().to_string(),
        place: match folder {
            Some(folder) => format!("it is no file, and {} has none", folder.display()),
            None => format!("there is no such file; {flag} names a folder for names"),
        },
    })
}

fn find_file(file: &Path, folder: Option<&Path>) -> Option<FoundFile> {
    if let Some(found) = FoundFile::new(file.to_owned()) {
        return Some(found);
    }
    let folder = folder?;
    if let Some(found) = FoundFile::new(folder.join(file)) {
        return Some(found);
    }
    let wanted = file.to_str()?;
    files_below(folder).into_iter().find(|path| name(path) == wanted).and_then(FoundFile::new)
}

/// What flags and prompts call the adapters in a folder and the folders in it, in order. A folder
/// that cannot be read has none.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = files_below(folder).iter().map(|path| name(path)).collect();
    names.sort();
    names.dedup();
    names
}

/// A file's name without its ending.
pub(super) fn name(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The adapter files in a folder and the folders in it, in order.
pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(folder, MAX_DEPTH, &mut files);
    files.sort_by_key(|path| (ending(path), path.clone()));
    files
}

fn ending(path: &Path) -> Option<usize> {
    let extension = path.extension()?.to_str()?;
    ENDINGS.iter().position(|ending| extension.eq_ignore_ascii_case(ending))
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if depth > 0 {
                collect(&path, depth - 1, files);
            }
        } else if ending(&path).is_some() {
            files.push(path);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_below_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("styles");
        fs::create_dir(&below).unwrap();
        fs::write(below.join("ink v1.2.safetensors"), "x").unwrap();
        fs::write(below.join("notes.txt"), "x").unwrap();
        assert_eq!(names(folder.path()), ["ink v1.2"]);
        let path = Some(folder.path().to_owned());
        let folders = AdapterFolders { lora: path.clone(), embeddings: path };
        let select = |text: &str| AdapterSelection {
            lora: vec![text.parse().unwrap()],
            ..AdapterSelection::default()
        };
        for spelling in ["ink v1.2:0.5", "styles/ink v1.2.safetensors:0.5"] {
            let found = folders.find_loras(&select(spelling)).unwrap();
            assert_eq!(found[0].file.path, below.join("ink v1.2.safetensors"));
            assert_eq!((found[0].file.name().as_str(), found[0].unet), ("ink v1.2", 0.5));
        }
        let message = folders.find_loras(&select("notes")).unwrap_err().to_string();
        assert!(message.starts_with("notes: it is no file, and "), "{message}");
        let named = |prompt: &str| {
            let prompts = [prompt].into_iter();
            folders.find_embeddings(&AdapterSelection::default(), prompts).unwrap().len()
        };
        assert_eq!((named("a (Ink V1.2:1.3) cat"), named("a cat"), named("")), (1, 0, 0));
        let message = AdapterFolders::default().find_loras(&select("ink")).unwrap_err().to_string();
        assert!(message.contains("--lora-dir"), "{message}");
    }
}
