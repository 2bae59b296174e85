//! What the folder of models holds, and what is kept when the index is lost.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use emberbrush_tests::checkpoint;

use emberbrush_library::{
    add::Adding, error::LibraryError, folder::Library, index::Source, name::ModelName,
    progress::Progress, remove::for_good,
};

fn library() -> (tempfile::TempDir, Library) {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::new(folder.path().join("models"));
    (folder, library)
}

fn go_on(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn named(name: &str) -> Option<ModelName> {
    Some(name.parse().unwrap())
}

fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(inside).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let below = entry.path().strip_prefix(folder).unwrap().to_owned();
                files.push((below, fs::read(entry.path()).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_copy_is_whole_and_a_link_leaves_the_original_when_it_is_removed() {
    let (_folder, library) = library();
    let original = checkpoint("sd15-tiny");
    let copied = library.add(&original, named("copy"), Adding::Copy, &mut go_on).unwrap();
    let linked = library.add(&original, named("link"), Adding::Link, &mut go_on).unwrap();
    assert_eq!(content(&copied.path), content(&original));
    assert_eq!(linked.path, original.canonicalize().unwrap());
    assert_eq!(library.models().unwrap(), [copied.clone(), linked.clone()]);
    assert_eq!(library.resolve(Path::new("link")), linked.path);
    assert_eq!(library.resolve(Path::new("neither")), Path::new("neither"));
    // What lies in the current folder goes before a model of that name.
    assert!(Path::new("src").is_dir());
    let src = library.add(&original, named("src"), Adding::Link, &mut go_on).unwrap();
    assert_eq!(library.resolve(Path::new("src")), Path::new("src"));
    library.remove(&src, for_good).unwrap();

    let before = content(&original);
    for model in [&copied, &linked] {
        library.remove(model, for_good).unwrap();
    }
    assert_eq!(content(&original), before);
    assert_eq!(library.models().unwrap(), []);
}

#[test]
fn a_lost_or_broken_index_is_made_from_the_folder() {
    let (_folder, library) = library();
    let original = checkpoint("sd15-tiny");
    library.add(&original, named("copy"), Adding::Copy, &mut go_on).unwrap();
    let linked = library.add(&original, named("link"), Adding::Link, &mut go_on).unwrap();
    let index = library.folder().join("index.json");
    let names = || library.models().unwrap().into_iter().map(|model| model.name.to_string());
    for broken in [Some("{ half"), None] {
        match broken {
            Some(text) => fs::write(&index, text).unwrap(),
            None => fs::remove_file(&index).unwrap(),
        }
        assert_eq!(names().collect::<Vec<_>>(), ["copy", "link"]);
        assert_eq!(library.find("link").unwrap().source, linked.source);
        library.add(&original, named("more"), Adding::Link, &mut go_on).unwrap();
        assert_eq!(names().collect::<Vec<_>>(), ["copy", "link", "more"]);
        library.remove(&library.find("more").unwrap(), for_good).unwrap();
    }
    // What is laid into the folder by hand is a model; what is gone is none.
    fs::rename(library.folder().join("copy"), library.folder().join("moved")).unwrap();
    assert_eq!(names().collect::<Vec<_>>(), ["link", "moved"]);
    assert_eq!(library.find("moved").unwrap().source, Source::Found);
}

#[test]
fn names_that_are_taken_and_what_is_no_model_are_refused() {
    let (folder, library) = library();
    let original = checkpoint("sd15-tiny");
    library.add(&original, named("tiny"), Adding::Link, &mut go_on).unwrap();
    let again = library.add(&original, named("tiny"), Adding::Copy, &mut go_on);
    assert!(matches!(again, Err(LibraryError::Taken { .. })));
    let broken = folder.path().join("broken.safetensors");
    fs::write(&broken, "not a header").unwrap();
    for path in [folder.path(), &broken, &folder.path().join("absent")] {
        assert!(library.add(path, None, Adding::Copy, &mut go_on).is_err(), "{path:?}");
    }
    assert_eq!(library.models().unwrap().len(), 1);
}

#[test]
fn a_copy_that_is_stopped_leaves_nothing() {
    let (_folder, library) = library();
    let mut steps = 0;
    let mut stop = |_: Progress<'_>| {
        steps += 1;
        if steps < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let copied = library.add(&checkpoint("sd15-tiny"), None, Adding::Copy, &mut stop);
    assert!(matches!(copied, Err(LibraryError::Cancelled)));
    assert_eq!(library.models().unwrap(), []);
    assert_eq!(fs::read_dir(library.folder().join(".partial")).unwrap().count(), 0);
}
