//! Downloading models: from the Hugging Face hub, or one file from an address.
//!
//! This is the only part of the program that opens a connection. What comes is written below
//! `.partial` and takes its name when all of it is there, as long as announced, and with the hash
//! that was published; what an interrupted run left is gone on with.
//!
//! The crate `hf-hub` names repositories, revisions and files to the hub and shows it the token.
//! Bytes are not taken by its downloads but in `transfer.rs`: they know no hashes, go on without
//! asking whether the server still has the same file, and cannot be stopped.

mod client;
mod listing;
mod origin;
mod pull;
mod selection;
mod token;
mod transfer;

use std::time::Duration;

use bytesize::ByteSize;
use thiserror::Error;

pub use client::{Endpoint, Hub};
pub use origin::Origin;
pub use pull::{Precision, PullRequest};
pub use token::{Token, TokenPlace};
pub use transfer::Patience;

/// Why a download failed.
#[derive(Debug, Error)]
pub enum HubError {
    /// What was given is neither a repository nor an address.
    #[error(
        "`{given}` is neither a repository, such as stabilityai/sd-turbo or OWNER/NAME@REVISION, \
         nor an https:// address"
    )]
    Origin {
        /// What was given.
        given: String,
    },
    /// An address that anyone on the way could change.
    #[error("{url}: only https:// addresses are downloaded from, and http:// ones of this machine")]
    Insecure {
        /// The address.
        url: String,
    },
    /// No connection, or one that broke again and again.
    #[error(
        "{url}: the connection failed: {reason}. What has come is kept: the same command goes on \
         from there"
    )]
    Connection {
        /// The address.
        url: String,
        /// The system's or server's answer.
        reason: String,
    },
    /// The server does not know who asks.
    #[error(
        "{what}: the server asks who you are (401). It does not exist, or it is private or needs \
         an agreement: then make a token at {endpoint}/settings/tokens and give it with \
         `emberbrush models login` or HF_TOKEN"
    )]
    Unauthorized {
        /// What was asked for.
        what: String,
        /// The hub.
        endpoint: String,
    },
    /// The server knows who asks, and refuses.
    #[error(
        "{what}: the server refuses it (403). Where the model needs an agreement, accept it at \
         {endpoint}/{what} with the account of your token, and see that the token may read it"
    )]
    Forbidden {
        /// What was asked for.
        what: String,
        /// The hub.
        endpoint: String,
    },
    /// There is no such thing.
    #[error("{what}: the server has no such model, revision or file (404)")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The server has had too many requests.
    #[error(
        "{what}: the server has had too many requests (429) and asks to wait {} s. Try again then; \
         a token raises the limit",
        pause.as_secs()
    )]
    TooManyRequests {
        /// What was asked for.
        what: String,
        /// How long the server asks to wait.
        pause: Duration,
    },
    /// Another answer that is none.
    #[error("{what}: the server answers {status}")]
    Status {
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
    },
    /// The server does not send what it announced.
    #[error(
        "{file}: the server sends {got} where {expected} were announced, so it is not kept. \
         Try again later"
    )]
    Size {
        /// The file.
        file: String,
        /// What was announced.
        expected: ByteSize,
        /// What comes.
        got: ByteSize,
    },
    /// The content is not what was published.
    #[error(
        "{file}: its SHA-256 is {got}, but {expected} was published, so it is not kept. Try again; \
         if it stays so, the file was changed on the way"
    )]
    Hash {
        /// The file.
        file: String,
        /// What was published.
        expected: String,
        /// What came.
        got: String,
    },
    /// What the server tells of a repository is not understood.
    #[error("{what}: the server's answer is not understood: {reason}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// The repository has nothing that can be used.
    #[error("{repository}: {reason}")]
    Repository {
        /// Owner and name.
        repository: String,
        /// What it has and what to do.
        reason: String,
    },
    /// Another program downloads the same.
    #[error("{what} is being downloaded by another program already")]
    Busy {
        /// What was asked for.
        what: String,
    },
    /// A token could not be kept.
    #[error("the token cannot be kept: {reason}. Give it with HF_TOKEN instead")]
    Token {
        /// The system's answer.
        reason: String,
    },
}
