//! What the program says while and after it works: a progress bar on a terminal, plain lines
//! when piped, or JSON, one object a line.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    time::Duration,
};

use emberbrush_pipeline::{
    adapters::UnusedKeys,
    device::OpenDevice,
    memory::StepDown,
    picture::Recount,
    progress::{ProgressEvent, Stage},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::interruption::Cancellation;

/// Warnings beyond this many of one kind are counted and not listed.
const LISTED_KEYS: usize = 8;

/// Tells of one run.
#[derive(Debug)]
pub(crate) enum Reporter {
    /// A bar on a terminal.
    Bar(ProgressBar),
    /// Lines on standard error.
    Lines,
    /// Objects on standard output.
    Json,
}

impl Reporter {
    /// The way that suits where the output goes.
    pub(crate) fn new(json: bool) -> Self {
        if json {
            Self::Json
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template(
                "{msg} {wide_bar} {pos}/{len} · {per_sec} · {eta} left",
            ) {
                bar.set_style(style);
            }
            Self::Bar(bar)
        } else {
            Self::Lines
        }
    }

    /// The checkpoint is ready.
    pub(crate) fn loaded(&self, model: &str, device: &OpenDevice, dtype: &str, took: Duration) {
        let seconds = took.as_secs_f64();
        let name = &device.info.name;
        match self {
            Self::Json => object(&json!({
                "event": "loaded", "model": model, "device": name, "dtype": dtype, "seconds": seconds,
            })),
            Self::Bar(_) | Self::Lines => {
                self.line(&format!("Loaded {model} on {name} in {dtype}, {seconds:.1} s"));
                if device.is_new {
                    self.line(&format!(
                        "{name} is used for the first time: the fastest kernels are looked for, which \
                         takes minutes once"
                    ));
                }
            }
        }
    }

    /// The files hold tensors that nothing needs.
    pub(crate) fn unused_keys(&self, keys: &[String]) {
        self.unused_keys_of("the checkpoint", keys);
    }

    /// A file holds tensors that nothing needs.
    fn unused_keys_of(&self, file: &str, keys: &[String]) {
        if keys.is_empty() {
            return;
        }
        if let Self::Json = self {
            object(&json!({
                "event": "warning", "kind": "unused-keys", "file": file, "keys": keys,
            }));
            return;
        }
        let mut listed = keys.iter().take(LISTED_KEYS).cloned().collect::<Vec<_>>().join(", ");
        if keys.len() > LISTED_KEYS {
            listed.push_str(&format!(" and {} more", keys.len() - LISTED_KEYS));
        }
        self.line(&format!("Warning: {file} holds tensors that are not used: {listed}"));
    }

    /// A picture is begun.
    pub(crate) fn begin(&self, index: u32, count: u32, seed: u64, steps: u32) {
        match self {
            Self::Json => object(
                &json!({ "event": "begin", "index": index, "count": count, "seed": seed, "steps": steps }),
            ),
            Self::Bar(bar) => {
                bar.reset();
                bar.set_length(u64::from(steps));
                bar.set_message(format!("picture {} of {count}, seed {seed}", index + 1));
            }
            Self::Lines => self.line(&format!("Picture {} of {count}, seed {seed}", index + 1)),
        }
    }

    /// Something happened in a run.
    pub(crate) fn progress(&self, event: &ProgressEvent) {
        match event {
            ProgressEvent::Checkpoint => {}
            ProgressEvent::SteppedDown(step) => self.stepped_down(*step),
            ProgressEvent::UnusedKeys(UnusedKeys { path, keys }) => {
                self.unused_keys_of(path, keys);
            }
            ProgressEvent::Stage(stage) => self.stage(*stage),
            ProgressEvent::Step { step, steps, duration, .. } => {
                self.step(*step, *steps, *duration)
            }
        }
    }

    /// A run takes less memory than was asked for.
    fn stepped_down(&self, step: StepDown) {
        match self {
            Self::Json => {
                object(&json!({ "event": "stepped-down", "step": step, "text": step.to_string() }));
            }
            Self::Bar(_) | Self::Lines => self.line(&format!("To save memory: {step}")),
        }
    }

    fn stage(&self, stage: Stage) {
        match self {
            Self::Json => object(&json!({ "event": "stage", "stage": stage })),
            Self::Bar(bar) => {
                if matches!(stage, Stage::Decode | Stage::Enlarge) {
                    bar.set_message(stage.to_string());
                }
            }
            Self::Lines if stage == Stage::Enlarge => self.line("Enlarging the picture"),
            Self::Lines => {}
        }
    }

    fn step(&self, step: u32, steps: u32, duration: Duration) {
        let seconds = duration.as_secs_f64();
        match self {
            Self::Json => object(&json!({
                "event": "step", "step": step, "steps": steps, "seconds": seconds,
            })),
            Self::Bar(bar) => {
                bar.set_length(u64::from(steps));
                bar.set_position(u64::from(step));
            }
            Self::Lines => {
                let left = seconds * f64::from(steps - step);
                self.line(&format!(
                    "step {step}/{steps} · {:.2} it/s · {left:.0} s left",
                    1.0 / seconds
                ));
            }
        }
    }

    /// A job set is begun, or gone on with.
    pub(crate) fn batch(&self, images: usize, made: usize) {
        match self {
            Self::Json => {
                object(&json!({ "event": "batch", "images": images, "made-before": made }));
            }
            Self::Bar(_) | Self::Lines if made > 0 => {
                self.line(&format!("{made} of {} were made before", counted(images)));
            }
            Self::Bar(_) | Self::Lines => self.line(&counted(images)),
        }
    }

    /// A picture of a job set could not be made.
    pub(crate) fn failed_job(&self, index: usize, line: usize, error: &anyhow::Error) {
        match self {
            Self::Json => object(&json!({
                "event": "failed", "index": index, "line": line, "message": message(error),
            })),
            Self::Bar(_) | Self::Lines => {
                self.line(&format!("Error in the job of line {line}: {}", message(error)));
            }
        }
    }

    /// The checkpoint of some pictures, given by number and line, could not be loaded.
    pub(crate) fn failed_model(
        &self,
        model: &str,
        pictures: &[(usize, usize)],
        error: &anyhow::Error,
    ) {
        if let Self::Json = self {
            for &(index, line) in pictures {
                self.failed_job(index, line, error);
            }
            return;
        }
        let line = pictures.first().map_or(0, |(_, line)| *line);
        self.line(&format!(
            "Error: the model {model} of {}, first of the job of line {line}, could not be loaded: {}",
            counted(pictures.len()),
            message(error),
        ));
    }

    /// A picture is on disk. Its path goes to standard output, where scripts look for it.
    ///
    /// `outside` is what was counted outside the mask in the file, and whether its format keeps
    /// every pixel.
    pub(crate) fn written(
        &self,
        path: &Path,
        wanted: &Path,
        seed: u64,
        took: Duration,
        outside: Option<(Recount, bool)>,
    ) {
        let seconds = took.as_secs_f64();
        if let Self::Json = self {
            let mut event = json!({
                "event": "image", "path": path, "seed": seed, "seconds": seconds,
                "renamed": path != wanted,
            });
            if let Some((recount, lossless)) = outside {
                event["pixels_outside_mask"] = recount.outside.into();
                event["pixels_changed_outside_mask"] = recount.changed.into();
                event["lossless"] = lossless.into();
            }
            object(&event);
            return;
        }
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
        if path != wanted {
            self.line(&format!("{} exists and is left as it is", wanted.display()));
        }
        if let Some((Recount { outside, changed }, lossless)) = outside {
            let reason = match (changed, lossless) {
                (0, _) | (_, true) => "",
                (_, false) => " by the file format, which does not keep every pixel; PNG does",
            };
            self.line(&format!("{changed} pixels changed outside the mask, of {outside}{reason}"));
        }
        println(&path.display().to_string());
    }

    /// A line beside the progress, on standard error.
    fn line(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| eprintln(text)),
            Self::Lines | Self::Json => eprintln(text),
        }
    }
}

/// Tells that the run was cancelled.
pub(crate) fn cancelled(what: Cancellation, json: bool) {
    if json {
        object(&json!({ "event": "cancelled" }));
        return;
    }
    eprintln(match what {
        Cancellation::Pictures => "Cancelled. Pictures that were finished are kept.",
        Cancellation::Model => {
            "Cancelled. Nothing was changed; a download goes on with the same command."
        }
    });
}

/// What an error says with its causes, of which most are part of its own words already.
pub(crate) fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told {
        told if told.is_empty() => cause,
        told if told.contains(&cause) => told,
        told => format!("{told}: {cause}"),
    })
}

fn counted(pictures: usize) -> String {
    if pictures == 1 { "1 picture".to_owned() } else { format!("{pictures} pictures") }
}

/// Tells why the program failed.
pub(crate) fn failed(error: &anyhow::Error, json: bool) {
    if json {
        object(&json!({ "event": "error", "message": message(error) }));
    } else {
        eprintln(&format!("Error: {}", message(error)));
    }
}

/// Prints one JSON object as a line.
pub(crate) fn object(value: &Value) {
    println(&value.to_string());
}

/// Prints a line. A reader that has gone away is no reason to lose work, so errors are ignored.
pub(crate) fn println(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn eprintln(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Tells how work goes on, on standard error.
pub(crate) fn tell(text: &str) {
    eprintln(text);
}

/// Tells of something that does not keep the program from going on.
pub(crate) fn warn(text: &str) {
    eprintln(&format!("Warning: {text}"));
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("no such file").context("a.txt: cannot be read: no such file");
        assert_eq!(message(&error), "a.txt: cannot be read: no such file");
        assert_eq!(message(&error.context("jobs")), "jobs: a.txt: cannot be read: no such file");
    }
}
