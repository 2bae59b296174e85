//! What the program carries with it: the model in the box.

/// The name under which people see the model in the box.
pub const DEFAULT_MODEL_NAME: &str = "emberbrush-default";

/// The files of the model in the box: relative path and content.
pub static DEFAULT_MODEL: &[(&str, &[u8])] =
    include!(concat!(env!("OUT_DIR"), "/default_model.rs"));
