//! The arguments of `generate` that show unfinished pictures.

use std::path::PathBuf;

use clap::Args;

/// Unfinished pictures.
#[derive(Debug, Args)]
#[command(next_help_heading = "Unfinished pictures")]
pub(crate) struct PreviewArguments {
    /// Write what the picture may become after each step into this folder, as SEED-STEP.png.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) previews: Option<PathBuf>,
    /// The small autoencoder (TAESD), a file or a folder, that makes them at full size [default:
    /// colours that are estimated from the latents, one pixel for each].
    #[arg(long, value_name = "PATH", requires = "previews")]
    pub(crate) preview_decoder: Option<PathBuf>,
}
