//! Reading checkpoints: files, layouts and families.

pub mod safetensors_file;
