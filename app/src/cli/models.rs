//! The flags of `models`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
#[cfg(feature = "download")]
use emberbrush_library::hub::Origin;
use emberbrush_library::{convert::WeightType, name::ModelName};

/// Arguments of `models`.
#[derive(Debug, Args)]
pub(crate) struct ModelsArguments {
    #[command(subcommand)]
    pub(crate) command: ModelsCommand,
}

/// What to do with the library of models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Print the models of the library.
    List(ListArguments),
    /// Add a checkpoint folder or file that is on this machine. It stays where it is, unless it is
    /// copied.
    Add(AddArguments),
    /// Download a model, from the Hugging Face hub or from an address. An interrupted download goes
    /// on with the same command.
    #[cfg(feature = "download")]
    Pull(PullArguments),
    /// Keep a token of the Hugging Face hub, which is read from standard input, for models that
    /// need an agreement.
    #[cfg(feature = "download")]
    Login(LoginArguments),
    /// Take a model out of the library. Its files go to the system's bin; those of a model that
    /// was added without --copy stay where they are.
    Remove(RemoveArguments),
    /// Read a model in full, and tell its hashes and what of it is not a number.
    Verify(VerifyArguments),
    /// Write a model anew: as a single file or as a folder, or its weights in another type.
    Convert(ConvertArguments),
}

impl ModelsCommand {
    /// Whether output is JSON, one object a line.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::List(arguments) => arguments.json,
            Self::Add(arguments) => arguments.json,
            Self::Remove(arguments) => arguments.json,
            Self::Verify(arguments) => arguments.json,
            Self::Convert(arguments) => arguments.json,
            #[cfg(feature = "download")]
            Self::Pull(arguments) => arguments.json,
            #[cfg(feature = "download")]
            Self::Login(arguments) => arguments.json,
        }
    }
}

/// Arguments of `models list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `models add`.
#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// A checkpoint folder, or a .safetensors, .ckpt or .pt file.
    pub(crate) path: PathBuf,
    /// What it is to be called [default: the name of the folder or file].
    #[arg(long)]
    pub(crate) name: Option<ModelName>,
    /// Copy it into the library.
    #[arg(long)]
    pub(crate) copy: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `models remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// The name of a model.
    pub(crate) name: String,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Delete the files instead of moving them to the system's bin.
    #[arg(long)]
    pub(crate) permanently: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `models verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The name of a model, or the path of a checkpoint folder or file.
    pub(crate) model: PathBuf,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `models convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArguments {
    /// The name of a model, or the path of a checkpoint folder or .safetensors file.
    pub(crate) model: PathBuf,
    /// A folder whose configuration files go before those that a single file is taken to have.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) config: Option<PathBuf>,
    /// What to write: a single file where the name ends in .safetensors, else a folder in Hugging
    /// Face layout. It must not exist.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// The type of its weights: f16, f32 or bf16 [default: as they are].
    #[arg(long)]
    pub(crate) dtype: Option<WeightType>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `models pull`.
#[cfg(feature = "download")]
#[derive(Debug, Args)]
pub(crate) struct PullArguments {
    /// OWNER/NAME or OWNER/NAME@REVISION, or the https address of a file.
    #[arg(value_name = "MODEL")]
    pub(crate) origin: Origin,
    /// What it is to be called [default: the name of the repository or file].
    #[arg(long)]
    pub(crate) name: Option<ModelName>,
    /// The file to take from a repository that holds several models.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<String>,
    /// Take weights in full precision, where the repository has both.
    #[arg(long)]
    pub(crate) full: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `models login`.
#[cfg(feature = "download")]
#[derive(Debug, Args)]
pub(crate) struct LoginArguments {
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}
