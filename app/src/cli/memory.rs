//! How much memory runs take: arguments of every command that loads a checkpoint.

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use emberbrush_pipeline::memory::{MemoryAllowance, MemoryMode};

/// How much memory runs take.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct MemoryArguments {
    /// Take what makes a run fast, or as little as it can be made with: the VAE in tiles, one picture
    /// at once, attention in slices, the text encoder dropped after the prompt.
    #[arg(long = "memory", value_enum, value_name = "MODE", default_value_t = ModeArgument::Normal)]
    mode: ModeArgument,
    /// The most memory that a run may take, such as 2GiB; it takes less where it must, or is
    /// refused [default: what the machine and its control groups leave].
    #[arg(long = "memory-limit", value_name = "SIZE")]
    limit: Option<ByteSize>,
}

/// [`MemoryMode`] as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeArgument {
    Normal,
    Low,
}

impl MemoryArguments {
    /// What they allow.
    pub(crate) fn allowance(&self) -> MemoryAllowance {
        let mode = match self.mode {
            ModeArgument::Normal => MemoryMode::Normal,
            ModeArgument::Low => MemoryMode::Low,
        };
        MemoryAllowance { mode, limit: self.limit.map(|size| size.as_u64()) }
    }
}
