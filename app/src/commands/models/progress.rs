//! How far long work with a model is: a bar on a terminal, plain lines when piped, or JSON.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use emberbrush_library::progress::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::report::{object, tell};

/// Between two lines of the same kind.
const PAUSE: Duration = Duration::from_secs(2);

/// Tells of one piece of work; what is on the terminal goes when it is dropped.
#[derive(Debug)]
pub(super) enum ProgressReport {
    /// A bar on a terminal.
    Bar(ProgressBar),
    /// Lines on standard error.
    Lines {
        /// When the last one was written.
        last: Option<Instant>,
    },
    /// Objects on standard output.
    Json {
        /// When the last one was written.
        last: Option<Instant>,
    },
}

impl ProgressReport {
    /// The way that suits where the output goes.
    pub(super) fn new(json: bool) -> Self {
        if json {
            return Self::Json { last: None };
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { last: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} · {bytes_per_sec} · {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// Something happened.
    pub(super) fn tell(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Checkpoint => {}
            Progress::File { name } => self.file(name),
            Progress::Bytes { done, total } => self.bytes(*done, *total),
            Progress::Waiting { reason, pause, .. } => self.waiting(reason, *pause),
        }
    }

    fn file(&self, name: &str) {
        match self {
            Self::Bar(bar) => bar.set_message(name.to_owned()),
            Self::Lines { .. } => tell(name),
            Self::Json { .. } => object(&json!({ "event": "file", "file": name })),
        }
    }

    fn bytes(&mut self, done: u64, total: Option<u64>) {
        if let Self::Bar(bar) = self {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(done);
            return;
        }
        let is_json = matches!(self, Self::Json { .. });
        if let Self::Lines { last } | Self::Json { last } = self {
            let now = Instant::now();
            if last.is_some_and(|last| now - last < PAUSE) && total != Some(done) {
                return;
            }
            *last = Some(now);
        }
        if is_json {
            object(&json!({ "event": "progress", "done": done, "total": total }));
            return;
        }
        let done = bytesize::ByteSize(done);
        match total {
            Some(total) => tell(&format!("{done} of {}", bytesize::ByteSize(total))),
            None => tell(&done.to_string()),
        }
    }

    fn waiting(&self, reason: &str, pause: Duration) {
        let seconds = pause.as_secs_f64();
        match self {
            Self::Bar(bar) => bar.suspend(|| tell(&format!("{reason}; again in {seconds:.0} s"))),
            Self::Lines { .. } => tell(&format!("{reason}; again in {seconds:.0} s")),
            Self::Json { .. } => {
                object(&json!({ "event": "waiting", "reason": reason, "seconds": seconds }));
            }
        }
    }
}

impl Drop for ProgressReport {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
