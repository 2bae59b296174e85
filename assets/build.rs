//! Lists the files of the model in the box, so that they become part of the program.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

const MODEL: &str = "default-model";

/// What of the model's folder is not the model.
const LEFT_OUT: &[&str] = &["train"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={MODEL}");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join(MODEL);
    let mut files = Vec::new();
    collect(&root, &root, &mut files)?;
    files.sort();
    let mut code = String::from("&[\n");
    for file in files {
        let path = root.join(&file);
        writeln!(code, "    ({file:?}, include_bytes!({:?})),", path.display().to_string())
            .map_err(io::Error::other)?;
    }
    code.push(']');
    let target = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("default_model.rs");
    fs::write(target, code)
}

/// Collects the paths of all files below `folder`, relative to `root`, with `/` between parts.
fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(relative) = path.strip_prefix(root) else { continue };
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        let relative = parts.join("/");
        if LEFT_OUT.contains(&relative.as_str()) {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if !relative.ends_with(".md") && !relative.starts_with('.') {
            files.push(relative);
        }
    }
    Ok(())
}
