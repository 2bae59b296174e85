//! What the golden tests share: the fixtures and the comparison of values.

#![allow(clippy::expect_used, clippy::panic)]

pub mod families;
pub mod hub_server;
pub mod runs;
pub mod single_file;
mod unet_case;

use std::{
    collections::BTreeMap,
    ops::Deref,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};
use emberbrush_layers::weights::{WeightSource, Weights};
use emberbrush_pipeline::checkpoint::safetensors_file::SafetensorsFile;
use serde_json::{Map, Value};
use tempfile::TempDir;
pub use unet_case::UNetCase;

/// Drives the window without a screen.
#[cfg(feature = "gui")]
pub use egui_kittest;

/// Largest allowed `max|Δ| / max|golden|` for one network.
pub const NETWORK_TOLERANCE: f32 = 5e-5;

/// Largest allowed `max|Δ| / max|golden|` for a whole pipeline.
pub const PIPELINE_TOLERANCE: f32 = 1e-3;

/// The folder of the fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// A tiny checkpoint, laid out as published in a temporary folder.
#[derive(Debug)]
pub struct CheckpointFolder(TempDir);

impl Deref for CheckpointFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        self.0.path()
    }
}

/// Lays out a tiny checkpoint, completed with the files that fixtures share.
///
/// Vocabularies and networks that several checkpoints have in common are stored once;
/// `fixtures/checkpoints/shared.json` says which file stands for which.
pub fn checkpoint(name: &str) -> CheckpointFolder {
    let stored = fixtures().join("checkpoints");
    let complete = TempDir::with_prefix(name).expect("temporary folder");
    lay_out(&stored.join(name), complete.path());
    let shared = std::fs::read(stored.join("shared.json")).expect("shared.json");
    let shared: BTreeMap<String, String> =
        serde_json::from_slice(&shared).expect("shared.json maps file to file");
    for (target, source) in &shared {
        if let Some(below) = target.strip_prefix(&format!("{name}/")) {
            let target = complete.path().join(below);
            std::fs::create_dir_all(target.parent().expect("parent")).expect("create folder");
            std::fs::copy(stored.join(source), target).expect("copy shared file");
        }
    }
    CheckpointFolder(complete)
}

/// Lays out a tiny ControlNet as published, with other values for some keys of its configuration.
pub fn controlnet(name: &str, changes: &Map<String, Value>) -> CheckpointFolder {
    let complete = TempDir::with_prefix(name).expect("temporary folder");
    lay_out(&fixtures().join("controlnets").join(name), complete.path());
    let path = complete.path().join("config.json");
    let mut config: Map<String, Value> =
        serde_json::from_slice(&std::fs::read(&path).expect("config.json")).expect("object");
    config.extend(changes.clone());
    std::fs::write(path, Value::Object(config).to_string()).expect("write config.json");
    CheckpointFolder(complete)
}

fn lay_out(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("create folder");
    for entry in std::fs::read_dir(from).expect("fixture folder") {
        let entry = entry.expect("fixture entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            lay_out(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy fixture");
        }
    }
}

/// A file of golden tensors that diffusers computed.
pub struct Golden {
    file: SafetensorsFile,
    device: Device,
}

impl Golden {
    /// Opens `fixtures/goldens/{name}.safetensors`; tensors are made on `device`.
    pub fn open(name: &str, device: &Device) -> Self {
        let path = fixtures().join("goldens").join(format!("{name}.safetensors"));
        let file = SafetensorsFile::open(path).expect("golden file");
        Self { file, device: device.clone() }
    }

    /// Whether the file holds `key`.
    pub fn contains(&self, key: &str) -> bool {
        self.file.shape(key).is_some()
    }

    /// Every key of the file.
    pub fn keys(&self) -> Vec<String> {
        self.file.metadata().offset_keys()
    }

    /// The shape of `key`.
    pub fn shape(&self, key: &str) -> Vec<usize> {
        self.file.shape(key).unwrap_or_else(|| panic!("no golden `{key}`"))
    }

    /// A tensor of numbers.
    pub fn tensor<const D: usize>(&self, key: &str) -> Tensor<D> {
        Tensor::from_data(self.data(key), (&self.device, DType::F32))
    }

    /// A tensor of integers, such as token ids.
    pub fn integers<const D: usize>(&self, key: &str) -> Tensor<D, Int> {
        Tensor::from_data(self.data(key), &self.device)
    }

    /// The values as they are stored.
    pub fn data(&self, key: &str) -> TensorData {
        self.file.read(key).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A case of `goldens/pipelines.json`, and its picture as bytes `[64, 64, 3]`.
pub fn pipeline_case(name: &str) -> (Value, Vec<u8>) {
    let case = runs::case("pipelines", name);
    let golden = Golden::open("pipelines", &Device::flex());
    let picture = values(&golden.tensor::<4>(&format!("{name}.image")));
    (case, picture.iter().map(|value| (value * 255.0).round_ties_even() as u8).collect())
}

/// Largest allowed difference of an f32 output from diffusers' `expected`, whose f64 output is `exact`.
///
/// Some inputs amplify rounding so much that diffusers' f32 output is further than
/// [`NETWORK_TOLERANCE`] from its own f64 output; two f32 results are then allowed three times that
/// distance.
pub fn tolerance_of_rounding(expected: &Tensor<4>, exact: &Tensor<4>) -> f32 {
    let rounding = relative_difference(expected, exact);
    if rounding > NETWORK_TOLERANCE { 3.0 * rounding } else { NETWORK_TOLERANCE }
}

/// The largest difference of two equally shaped tensors, relative to the golden's largest value.
pub fn relative_difference<const D: usize>(actual: &Tensor<D>, golden: &Tensor<D>) -> f32 {
    assert_eq!(actual.dims(), golden.dims(), "shape");
    let actual = values(actual);
    let golden = values(golden);
    let scale = golden.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
    let difference = actual.iter().zip(&golden).fold(0_f32, |largest, (a, g)| {
        if (a - g).is_nan() { f32::INFINITY } else { largest.max((a - g).abs()) }
    });
    difference / scale.max(f32::MIN_POSITIVE)
}

/// Fails where `actual` is further from `golden` than `tolerance`, relative to its largest value.
#[track_caller]
pub fn assert_close<const D: usize>(
    what: &str,
    actual: &Tensor<D>,
    golden: &Tensor<D>,
    tolerance: f32,
) {
    let difference = relative_difference(actual, golden);
    assert!(
        difference <= tolerance,
        "{what}: relative difference {difference:.2e} above {tolerance:.0e}"
    );
}

/// The values of a tensor as f32, in row-major order.
pub fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().convert::<f32>().try_to_vec::<f32>().expect("f32 values")
}

/// Builds a network from a safetensors file of a fixture, in f32.
pub fn load<T, E: std::fmt::Display>(
    path: impl Into<PathBuf>,
    device: &Device,
    build: impl FnOnce(&Weights<'_>) -> Result<T, E>,
) -> T {
    load_in(path, device, FloatDType::F32, build)
}

/// [`load`] in another type.
pub fn load_in<T, E: std::fmt::Display>(
    path: impl Into<PathBuf>,
    device: &Device,
    dtype: FloatDType,
    build: impl FnOnce(&Weights<'_>) -> Result<T, E>,
) -> T {
    let file = SafetensorsFile::open(path).unwrap_or_else(|error| panic!("{error}"));
    let weights = Weights::new(&file, device, dtype);
    build(&weights).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs `test` where there is an adapter that wgpu can use, a software renderer included.
///
/// Elsewhere the test is skipped with a reason, unless `EMBERBRUSH_REQUIRE_WGPU` is set: then a
/// missing adapter fails.
#[cfg(feature = "wgpu")]
pub fn with_adapter(test: impl FnOnce()) {
    use emberbrush_pipeline::device::{DeviceKind, list};

    let usable = |kind| match kind {
        DeviceKind::Cpu => false,
        DeviceKind::Software => !cfg!(feature = "vulkan"),
        _ => true,
    };
    let adapters: Vec<_> = list().into_iter().filter(|device| usable(device.kind)).collect();
    if !adapters.is_empty() {
        test();
    } else if std::env::var_os("EMBERBRUSH_REQUIRE_WGPU").is_some() {
        panic!("EMBERBRUSH_REQUIRE_WGPU is set, but there is no adapter");
    } else {
        eprintln!("skipped: this machine has no adapter that wgpu can use");
    }
}
