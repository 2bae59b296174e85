//! Stopping a forward pass between two blocks.

use std::ops::ControlFlow;

use thiserror::Error;

/// A forward pass was stopped by its [`Checkpoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Called by the networks before each block; `Break` stops the forward pass there.
///
/// One evaluation of a large UNet takes seconds on a CPU, so a cancel that waited for its end
/// would feel broken.
pub type Checkpoint<'a> = dyn FnMut() -> ControlFlow<()> + 'a;

/// Calls `checkpoint` and turns its answer into a `Result`, for use with `?`.
pub fn pass(checkpoint: &mut Checkpoint<'_>) -> Result<(), Cancelled> {
    match checkpoint() {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Cancelled),
    }
}
