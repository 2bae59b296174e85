//! Ctrl-C: a run stops at its next block.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
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

/// Whether a run ended because someone asked it to.
pub(crate) fn is_cancellation(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(PipelineError::Cancelled(_)))
}
