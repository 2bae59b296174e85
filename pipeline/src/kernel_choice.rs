//! Which kernels are the fastest on a GPU, and their SPIR-V, kept from one start of the program to
//! the next.
//!
//! An operation has several kernels, and which one is the fastest depends on its shapes and on the
//! adapter. burn finds out at the first use of a shape: it compiles each of them and measures. For a
//! network that takes a minute or more, and every process would do it again. Those that were chosen
//! would still be generated and compiled to SPIR-V again.

use std::path::Path;

use burn::cubecl::{
    config::{
        CubeClRuntimeConfig, RuntimeConfig,
        autotune::{AutotuneConfig, AutotuneLevel},
        cache::CacheConfig,
        compilation::CompilationConfig,
        environment::EnvironmentConfig,
    },
    environment::file_name,
    records::{RecordLevel, RecordsConfig},
};

use crate::kernel_folder;

/// Lets the GPU that this process opens next find in the folder `cache` what was the fastest on
/// `adapter` before, and add to it. Returns whether there is nothing yet.
///
/// Another adapter or driver has a file of its own, since a kernel that was chosen for one need not
/// run on the other. Where the folder cannot be written, each process measures anew. The first
/// GPU decides for the process.
///
/// `CUBECL_*` variables of the environment are obeyed; a `cubecl.toml` in the current folder is
/// not, since a picture must not depend on where the program is started.
pub(crate) fn keep(cache: &Path, adapter: &str) -> bool {
    let configuration = configuration(cache, adapter).override_from_env();
    let (folder, file) = (cache.join(FOLDER), file_name(&configuration.environment.name));
    kernel_folder::prune(&folder, &file);
    CubeClRuntimeConfig::try_set(configuration);
    !folder.join(file).exists()
}

/// Where the files are in the program's cache folder.
const FOLDER: &str = "kernels";

fn configuration(cache: &Path, adapter: &str) -> CubeClRuntimeConfig {
    CubeClRuntimeConfig {
        environment: EnvironmentConfig {
            name: adapter.to_owned(),
            path: CacheConfig::Directory(cache.join(FOLDER)),
            // What was measured when and why is of use to burn's authors alone.
            records: RecordsConfig { level: RecordLevel::Off, ..RecordsConfig::default() },
        },
        autotune: AutotuneConfig {
            // Shapes whose sides round up to the same powers of 2.5 share a choice, in place of
            // powers of 2: at 512² the convolutions of Stable Diffusion's UNet then are 17 choices in
            // place of 25, and those of 256² and 512² together 28 in place of 45.
            level: AutotuneLevel::Minimal,
            ..AutotuneConfig::default()
        },
        compilation: CompilationConfig {
            // burn tells kernels of other builds of the program by the build id that the linker
            // leaves; without one it would take those of an earlier build for its own.
            cache: buildid::build_id().is_some(),
            ..CompilationConfig::default()
        },
        ..CubeClRuntimeConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_adapter_has_a_file_in_the_cache_folder() {
        let configuration = configuration(Path::new("/cache"), "NVIDIA H200 580.159.04");
        assert_eq!(configuration.environment.path.root(), Path::new("/cache/kernels"));
        assert_eq!(file_name(&configuration.environment.name), "NVIDIA_H200_580.159.04.db");
        assert_ne!(file_name("NVIDIA H200 580.159.04"), file_name("NVIDIA H200 581.0"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn builds_for_linux_can_be_told_apart_and_keep_their_kernels() {
        assert!(configuration(Path::new("/cache"), "NVIDIA H200").compilation.cache);
    }
}
