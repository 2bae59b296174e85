//! `emberbrush models`

#[cfg(feature = "download")]
mod download;
mod progress;

use std::{
    collections::BTreeMap,
    io::{BufRead, IsTerminal, Write},
    ops::ControlFlow,
};

use anyhow::bail;
use emberbrush_library::{
    add::Adding,
    convert::convert,
    folder::{Library, Model},
    index::Source,
    progress::Progress,
    remove::{for_good, to_bin},
    verify::{VerifiedFile, verify},
};
use emberbrush_pipeline::checkpoint::inspect::inspect;
use progress::ProgressReport;
use serde_json::{Value, json};

use crate::{
    cli::models::{
        AddArguments, ConvertArguments, ListArguments, ModelsArguments, ModelsCommand,
        RemoveArguments, VerifyArguments,
    },
    interruption::Interruption,
    model,
    report::{object, println},
};

pub(crate) fn run(arguments: &ModelsArguments, interruption: &Interruption) -> anyhow::Result<()> {
    let library = Library::of_person();
    match &arguments.command {
        ModelsCommand::List(arguments) => list(&library, arguments),
        ModelsCommand::Add(arguments) => add(&library, arguments, interruption),
        ModelsCommand::Remove(arguments) => remove(&library, arguments),
        ModelsCommand::Verify(arguments) => verify_model(&library, arguments, interruption),
        ModelsCommand::Convert(arguments) => convert_model(&library, arguments, interruption),
        #[cfg(feature = "download")]
        ModelsCommand::Pull(arguments) => download::pull(&library, arguments, interruption),
        #[cfg(feature = "download")]
        ModelsCommand::Login(arguments) => download::login(arguments),
    }
}

fn list(library: &Library, arguments: &ListArguments) -> anyhow::Result<()> {
    let models = library.models()?;
    for model in &models {
        let found = facts(model);
        if arguments.json {
            let mut line = described(model);
            match found {
                Ok(family) => line["family"] = json!(family),
                Err(error) => line["error"] = json!(error),
            }
            object(&line);
        } else {
            let what = match found {
                Ok(family) => family.to_owned(),
                Err(error) => format!("cannot be used: {error}"),
            };
            let size = bytesize::ByteSize(model.bytes()).to_string();
            println(&format!("{:<24} {size:>9}  {what}, {}", model.name, told(&model.source)));
        }
    }
    if models.is_empty() && !arguments.json {
        println(&format!("no models in {}", library.folder().display()));
    }
    Ok(())
}

/// What kind of checkpoint a model is, or why it is none.
fn facts(model: &Model) -> Result<&'static str, String> {
    let files = model::files(Some(model.path.as_path())).map_err(|error| error.to_string())?;
    inspect(&files).map(|found| found.family.name()).map_err(|error| error.to_string())
}

fn described(model: &Model) -> Value {
    let mut line = json!(model);
    line["bytes"] = json!(model.bytes());
    line
}

/// Where a model came from, in words.
fn told(source: &Source) -> String {
    match source {
        Source::Found => "found in the folder".to_owned(),
        Source::Linked { path } => format!("at {}", path.display()),
        Source::Copied { path } => format!("copied from {}", path.display()),
        Source::Repository { repository, commit, .. } => {
            format!("{repository} at {}", commit.get(..8).unwrap_or(commit))
        }
        Source::Url { url } => format!("from {url}"),
    }
}

fn add(
    library: &Library,
    arguments: &AddArguments,
    interruption: &Interruption,
) -> anyhow::Result<()> {
    let mut report = ProgressReport::new(arguments.json);
    let adding = if arguments.copy { Adding::Copy } else { Adding::Link };
    let added = library.add(
        &arguments.path,
        arguments.name.clone(),
        adding,
        &mut watched(&mut report, interruption),
    )?;
    drop(report);
    tell_model(&added, arguments.json);
    Ok(())
}

/// Reports progress, and ends where the person asks for it.
fn watched<'a>(
    report: &'a mut ProgressReport,
    interruption: &'a Interruption,
) -> impl FnMut(Progress<'_>) -> ControlFlow<()> + 'a {
    |progress| {
        report.tell(&progress);
        interruption.flow()
    }
}

fn tell_model(model: &Model, json: bool) {
    if json {
        let mut line = described(model);
        line["event"] = json!("model");
        object(&line);
    } else {
        println(&format!("{}: {}", model.name, model.path.display()));
    }
}

fn remove(library: &Library, arguments: &RemoveArguments) -> anyhow::Result<()> {
    let model = library.find(&arguments.name)?;
    if !arguments.yes && !is_confirmed(&model, arguments.permanently)? {
        bail!("{} is left as it is", model.name);
    }
    let put_away = if arguments.permanently { for_good } else { to_bin };
    library.remove(&model, put_away)?;
    if arguments.json {
        object(&json!({ "event": "removed", "name": model.name }));
    } else {
        println(&format!("{} is removed", model.name));
    }
    Ok(())
}

fn is_confirmed(model: &Model, permanently: bool) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("to remove {} without being asked, add --yes", model.name);
    }
    let size = bytesize::ByteSize(model.bytes());
    let what = match (model.is_linked(), permanently) {
        (true, _) => format!("forget {}; its files stay", model.name),
        (false, false) => format!("move {} ({size}) to the bin", model.name),
        (false, true) => format!("delete {} ({size}) for good", model.name),
    };
    let mut out = std::io::stderr().lock();
    write!(out, "{what}? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn verify_model(
    library: &Library,
    arguments: &VerifyArguments,
    interruption: &Interruption,
) -> anyhow::Result<()> {
    let mut report = ProgressReport::new(arguments.json);
    let (path, published) = match arguments.model.exists() {
        true => (arguments.model.clone(), BTreeMap::new()),
        false => {
            let model = library.find(&arguments.model.to_string_lossy())?;
            (model.path, model.published)
        }
    };
    let files = verify(&path, &published, &mut watched(&mut report, interruption))?;
    drop(report);
    for file in &files {
        if arguments.json {
            let mut line = json!(file);
            line["sound"] = json!(file.is_sound());
            object(&line);
        } else {
            print_verified(file);
        }
    }
    match files.iter().filter(|file| !file.is_sound()).count() {
        0 => Ok(()),
        broken => bail!("{broken} of {} files are not sound", files.len()),
    }
}

fn convert_model(
    library: &Library,
    arguments: &ConvertArguments,
    interruption: &Interruption,
) -> anyhow::Result<()> {
    let mut report = ProgressReport::new(arguments.json);
    let model = library.resolve(&arguments.model);
    let mut on_progress = watched(&mut report, interruption);
    let ConvertArguments { config, output, dtype, .. } = arguments;
    convert(&model, config.as_deref(), output, *dtype, &mut on_progress)?;
    drop(on_progress);
    drop(report);
    if arguments.json {
        object(&json!({ "event": "converted", "path": arguments.output }));
    } else {
        println(&arguments.output.display().to_string());
    }
    Ok(())
}

fn print_verified(file: &VerifiedFile) {
    let size = bytesize::ByteSize(file.bytes);
    println(&format!("{}: {size}, {} tensors", file.file, file.tensors));
    println(&format!("  sha256 {}", file.sha256));
    match &file.published {
        Some(published) if !file.is_published() => {
            println(&format!("  not what was published: {published}"));
        }
        Some(_) => println("  as it was published"),
        None => {}
    }
    for found in &file.not_finite {
        println(&format!("  {}: {} NaN, {} infinite", found.key, found.nan, found.infinite));
    }
}
