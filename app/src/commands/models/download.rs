//! `emberbrush models pull` and `login`

use std::io::{BufRead, IsTerminal};

use anyhow::Context;
use emberbrush_library::{
    folder::Library,
    hub::{Hub, Patience, Precision, PullRequest, Token},
};
use serde_json::json;

use super::{progress::ProgressReport, tell_model, watched};
use crate::{
    cli::models::{LoginArguments, PullArguments},
    interruption::Interruption,
    report::{object, println, tell},
};

pub(super) fn pull(
    library: &Library,
    arguments: &PullArguments,
    interruption: &Interruption,
) -> anyhow::Result<()> {
    let request = PullRequest {
        origin: arguments.origin.clone(),
        name: arguments.name.clone(),
        file: arguments.file.clone(),
        precision: if arguments.full { Precision::Full } else { Precision::Half },
        hub: Hub::of_person()?,
        patience: Patience::default(),
    };
    let mut report = ProgressReport::new(arguments.json);
    let model = library.pull(&request, &mut watched(&mut report, interruption))?;
    drop(report);
    tell_model(&model, arguments.json);
    Ok(())
}

pub(super) fn login(arguments: &LoginArguments) -> anyhow::Result<()> {
    if std::io::stdin().is_terminal() {
        tell("Paste a token of https://huggingface.co/settings/tokens and press Enter:");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("the token cannot be read")?;
    let token = Token::new(&line).context("that is no token; it is one word, such as hf_…")?;
    let place = token.keep()?;
    if arguments.json {
        object(&json!({ "event": "login", "place": place.to_string() }));
    } else {
        println(&format!("the token is in {place}"));
    }
    Ok(())
}
