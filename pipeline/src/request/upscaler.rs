//! What makes pictures larger: a kernel, or a network.

use std::{
    convert::Infallible,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::HiresUpscaler;

/// What makes the picture of a first pass larger, written as one word: a name of
/// [`HiresUpscaler`], or else the path of a network's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Upscaler {
    /// A kernel over pixels or latents.
    Interpolation(HiresUpscaler),
    /// An ESRGAN upscaler.
    Network(PathBuf),
}

impl Upscaler {
    /// The network's file.
    pub fn network(&self) -> Option<&Path> {
        match self {
            Self::Interpolation(_) => None,
            Self::Network(path) => Some(path),
        }
    }

    /// What A1111 calls it: a network by its file without the ending.
    pub fn display_name(&self) -> String {
        match self {
            Self::Interpolation(upscaler) => upscaler.display_name().to_owned(),
            Self::Network(path) => network_name(path),
        }
    }
}

/// What A1111 calls the network in a file.
pub(crate) fn network_name(path: &Path) -> String {
    let name = path.file_stem().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

impl Default for Upscaler {
    fn default() -> Self {
        Self::Interpolation(HiresUpscaler::default())
    }
}

impl From<HiresUpscaler> for Upscaler {
    fn from(upscaler: HiresUpscaler) -> Self {
        Self::Interpolation(upscaler)
    }
}

impl From<String> for Upscaler {
    fn from(text: String) -> Self {
        text.parse().map_or_else(|_| Self::Network(text.into()), Self::Interpolation)
    }
}

impl From<Upscaler> for String {
    fn from(upscaler: Upscaler) -> Self {
        upscaler.to_string()
    }
}

impl FromStr for Upscaler {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.to_owned().into())
    }
}

impl fmt::Display for Upscaler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interpolation(upscaler) => upscaler.fmt(formatter),
            Self::Network(path) => path.display().fmt(formatter),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_a_file() {
        for upscaler in HiresUpscaler::ALL {
            let json = serde_json::to_string(&Upscaler::from(upscaler)).unwrap();
            assert_eq!(json, format!("\"{upscaler}\""));
            assert_eq!(serde_json::from_str::<Upscaler>(&json).unwrap(), upscaler.into());
        }
        let network: Upscaler = serde_json::from_str("\"models/4x-Sharp.safetensors\"").unwrap();
        assert_eq!(network.network(), Some(Path::new("models/4x-Sharp.safetensors")));
        assert_eq!(network.display_name(), "4x-Sharp");
        assert_eq!(network.to_string().parse(), Ok(network));
    }
}
