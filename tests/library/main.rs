//! The library of models.

#![allow(clippy::unwrap_used, clippy::panic)]

mod convert;
mod folder;
mod verify;
