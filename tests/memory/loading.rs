//! What loading a checkpoint takes of memory.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;

use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::DiffusionPipeline,
    memory::{peak_resident_bytes, resident_bytes},
};
use emberbrush_tests::single_file::{CheckpointFile, Tensors, write_hollow};

/// Beside the weights, which a CPU maps and does not read.
const MOST_BYTES: u64 = 200_000_000;

/// The file has the names and shapes of Stable Diffusion 1.5 in f16 and no numbers in it, so it
/// takes no room on the disk.
#[test]
fn a_single_file_of_2_gb_takes_little_beside_its_weights() {
    let file = CheckpointFile::new("sd15.safetensors", |path| {
        write_hollow(path, "sd15", &Tensors::new(), |_| {});
    });
    assert!(fs::metadata(file.path()).unwrap().len() > 2_000_000_000);
    let files = folder::locate(file.path()).unwrap();
    let device = device::open(DeviceChoice::Cpu).unwrap();
    // The system counts the peak from now on (`proc(5)`, `clear_refs`).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = resident_bytes().unwrap();
    let (pipeline, report) = DiffusionPipeline::load(&files, device, ComputeDtype::F32).unwrap();
    let taken = peak_resident_bytes().unwrap() - before;
    drop(pipeline);
    assert_eq!(report.unused_keys, [""; 0]);
    eprintln!("loading took {:.0} MB", taken as f64 / 1e6);
    assert!(taken <= MOST_BYTES, "{taken}");
}
