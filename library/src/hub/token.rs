//! The token by which a hub knows who asks.

use std::{
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
};

use super::HubError;

/// A token, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

impl Token {
    /// A token; `None` where the text is empty or cannot be one.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_token = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        is_token.then(|| Self(text.to_owned()))
    }

    /// The token of `HF_TOKEN`, of the system's keyring, or of the file in which Hugging Face's own
    /// programs keep it, in this order.
    pub fn of_person() -> Option<Self> {
        let named = std::env::var("HF_TOKEN").ok();
        named.and_then(|text| Self::new(&text)).or_else(system_keyring::read).or_else(|| {
            let text = fs::read_to_string(token_file()?).ok()?;
            Self::new(&text)
        })
    }

    /// Keeps the token in the system's keyring, or where there is none in the file in which
    /// Hugging Face's own programs keep it.
    ///
    /// # Errors
    ///
    /// Where neither can be written.
    pub fn keep(&self) -> Result<TokenPlace, HubError> {
        if system_keyring::write(self) {
            return Ok(TokenPlace::Keyring);
        }
        let refuse = |reason: String| HubError::Token { reason };
        let path = token_file().ok_or_else(|| refuse("there is no home folder".to_owned()))?;
        write_private(&path, &self.0)
            .map_err(|error| refuse(format!("{}: {error}", path.display())))?;
        Ok(TokenPlace::File(path))
    }

    /// What the hub is shown.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// Where a token is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenPlace {
    /// In the system's keyring.
    Keyring,
    /// In a file that only the person can read.
    File(PathBuf),
}

impl fmt::Display for TokenPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyring => formatter.write_str("the system's keyring"),
            Self::File(path) => write!(formatter, "{}", path.display()),
        }
    }
}

#[cfg(feature = "keyring")]
mod system_keyring {
    //! The system's keyring.

    use keyring::{Entry, Result};

    use super::Token;

    fn entry() -> Result<Entry> {
        Entry::new("emberbrush", "huggingface.co")
    }

    /// The token in the keyring, where there is one that opens.
    pub(super) fn read() -> Option<Token> {
        Token::new(&entry().ok()?.get_password().ok()?)
    }

    /// Whether the keyring took the token.
    pub(super) fn write(token: &Token) -> bool {
        entry().and_then(|entry| entry.set_password(&token.0)).is_ok()
    }
}

#[cfg(not(feature = "keyring"))]
mod system_keyring {
    //! A build without the system's keyring.

    use super::Token;

    pub(super) fn read() -> Option<Token> {
        None
    }

    pub(super) fn write(_: &Token) -> bool {
        false
    }
}

/// `HF_TOKEN_PATH`, or `token` in `HF_HOME`, or in the folder where that is by default.
fn token_file() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("HF_TOKEN_PATH") {
        return Some(path.into());
    }
    let home = match std::env::var_os("HF_HOME") {
        Some(home) => PathBuf::from(home),
        None => directories::BaseDirs::new()?.home_dir().join(".cache/huggingface"),
    };
    Some(home.join("token"))
}

/// Writes a file that, where the system can do that, no other person reads.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    // Temporary files are readable by their owner alone.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
