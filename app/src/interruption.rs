//! Ctrl-C: a run stops at its next block.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
use emberbrush_library::error::LibraryError;
use emberbrush_pipeline::error::PipelineError;

/// Whether the person has asked to stop.
#[derive(Debug, Clone)]
pub(crate) struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// Listens for Ctrl-C and for the system's request to end.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let handler = Arc::clone(&flag);
        ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed))
            .context("cannot listen for Ctrl-C")?;
        Ok(Self(flag))
    }

    /// `Break` once the person has asked to stop.
    pub(crate) fn flow(&self) -> ControlFlow<()> {
        if self.0.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// What ended because someone asked it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancellation {
    /// Making pictures.
    Pictures,
    /// Something with a model.
    Model,
}

impl Cancellation {
    /// Whether an error is none, but what someone asked for.
    pub(crate) fn of(error: &anyhow::Error) -> Option<Self> {
        if matches!(error.downcast_ref(), Some(PipelineError::Cancelled(_))) {
            Some(Self::Pictures)
        } else if matches!(error.downcast_ref(), Some(LibraryError::Cancelled)) {
            Some(Self::Model)
        } else {
            None
        }
    }
}
