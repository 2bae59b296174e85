//! Where the networks run: the devices of this machine, and the choice among them.

use std::{fmt, str::FromStr};

use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::PipelineError;
#[cfg(all(feature = "wgpu", not(target_vendor = "apple")))]
use crate::graphics_memory::{Card, GraphicsMemory};

/// Which device a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// A discrete GPU, then an integrated one, then the CPU; never a software renderer.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU that `auto` prefers, or any adapter where there is no other.
    Wgpu,
    /// The adapter with this number in the list of devices.
    WgpuIndex(usize),
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "wgpu" => Ok(Self::Wgpu),
            _ => text
                .strip_prefix("wgpu:")
                .and_then(|index| index.parse().ok())
                .map(Self::WgpuIndex)
                .ok_or_else(|| DeviceError::Unknown(text.to_owned())),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, DeviceError> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Wgpu => formatter.write_str("wgpu"),
            Self::WgpuIndex(index) => write!(formatter, "wgpu:{index}"),
        }
    }
}

/// Why a device could not be used.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// The name means nothing.
    #[error("no such device: `{0}`; use auto, cpu, wgpu or wgpu:N (see `emberbrush devices`)")]
    Unknown(String),
    /// The machine has no such adapter.
    #[error("no such device: {asked}; this machine has: {available} (see `emberbrush devices`)")]
    Absent {
        /// What was asked for.
        asked: DeviceChoice,
        /// What there is.
        available: String,
    },
    /// The program was built without that backend.
    #[error("{0} is not part of this build; build with `--features {1}`")]
    NotBuilt(&'static str, &'static str),
    /// The adapter could not be opened.
    #[error("{name} could not be opened: {reason}. Try `--device cpu`")]
    Initialisation {
        /// The adapter.
        name: String,
        /// The driver's answer.
        reason: String,
    },
    /// The device cannot compute in that type.
    #[error("{name} cannot compute in {dtype}; use `--dtype auto`")]
    UnsupportedDtype {
        /// The device.
        name: String,
        /// The type.
        dtype: &'static str,
    },
}

/// What kind of hardware a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// The processor itself.
    Cpu,
    /// A graphics card.
    DiscreteGpu,
    /// Graphics in the processor.
    IntegratedGpu,
    /// A GPU that a hypervisor passes on.
    VirtualGpu,
    /// A renderer that runs on the processor, such as llvmpipe.
    Software,
    /// Anything else.
    Other,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cpu => "CPU",
            Self::DiscreteGpu => "discrete GPU",
            Self::IntegratedGpu => "integrated GPU",
            Self::VirtualGpu => "virtual GPU",
            Self::Software => "software renderer",
            Self::Other => "other",
        })
    }
}

/// A device of this machine.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceInfo {
    /// What to give as `--device`.
    pub id: DeviceChoice,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// The interface to it: `flex` on the CPU, or a graphics API.
    pub backend: String,
    /// Memory in bytes, where known: the machine's, or the part of it or the memory of its own
    /// that a graphics card calls local.
    pub memory: Option<u64>,
    /// Whether `auto` takes it.
    pub automatic: bool,
    /// Its number among the adapters of its kind, as wgpu counts them.
    #[serde(skip)]
    #[cfg_attr(not(feature = "wgpu"), allow(dead_code, reason = "only adapters are numbered"))]
    index_in_kind: usize,
    /// Its driver and the driver's version; empty on the CPU.
    #[serde(skip)]
    #[cfg_attr(not(feature = "wgpu"), allow(dead_code, reason = "only adapters have drivers"))]
    driver: String,
}

/// A device that is ready, and the type to compute in.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// burn's handle.
    pub device: Device,
    /// What it is.
    pub info: DeviceInfo,
    /// Whether no program has found out yet which kernels are the fastest on it. The first pictures
    /// then take minutes longer.
    pub is_new: bool,
}

/// The floating-point type of the networks' weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComputeDtype {
    /// f16 on a GPU that has it, f32 elsewhere.
    #[default]
    Auto,
    /// 32 bits.
    F32,
    /// 16 bits, IEEE.
    F16,
    /// 16 bits with f32's range.
    Bf16,
}

impl OpenDevice {
    /// Waits until the device has done all that it was asked to do.
    ///
    /// # Errors
    ///
    /// Where the device failed meanwhile.
    pub fn synchronise(&self) -> Result<(), PipelineError> {
        self.device.sync().map_err(|error| PipelineError::Execution {
            device: self.info.name.clone(),
            reason: error.to_string(),
        })
    }

    /// The type of activations, where weights are of the type `dtype`.
    pub fn activation_dtype(&self, dtype: FloatDType) -> FloatDType {
        if self.info.kind == DeviceKind::Cpu { FloatDType::F32 } else { dtype }
    }

    /// The type that `dtype` means here: that of the networks' weights.
    ///
    /// # Errors
    ///
    /// Where the device cannot compute in the type that was asked for.
    pub fn float_dtype(&self, dtype: ComputeDtype) -> Result<FloatDType, DeviceError> {
        let supported = |wanted: FloatDType, name| {
            let on_gpu = self.info.kind != DeviceKind::Cpu;
            // The CPU keeps weights in bf16, and computes all else in f32.
            let on_cpu = !on_gpu && wanted == FloatDType::BF16;
            if on_cpu || on_gpu && self.device.supports_dtype(wanted) {
                Ok(wanted)
            } else {
                Err(DeviceError::UnsupportedDtype { name: self.info.name.clone(), dtype: name })
            }
        };
        match dtype {
            ComputeDtype::Auto => Ok(supported(FloatDType::F16, "f16").unwrap_or(FloatDType::F32)),
            ComputeDtype::F32 => Ok(FloatDType::F32),
            ComputeDtype::F16 => supported(FloatDType::F16, "f16"),
            ComputeDtype::Bf16 => supported(FloatDType::BF16, "bf16"),
        }
    }
}

/// Every device of this machine that this build can use, the CPU first.
pub fn list() -> Vec<DeviceInfo> {
    let mut devices: Vec<DeviceInfo> = [
        #[cfg(feature = "cpu")]
        vec![cpu()],
        #[cfg(feature = "wgpu")]
        adapters(),
    ]
    .concat();
    if let Some(device) = automatic(&devices).and_then(|index| devices.get_mut(index)) {
        device.automatic = true;
    }
    devices
}

/// The device that `auto` takes: a discrete GPU, then an integrated one, then a virtual one,
/// then the CPU.
fn automatic(devices: &[DeviceInfo]) -> Option<usize> {
    [DeviceKind::DiscreteGpu, DeviceKind::IntegratedGpu, DeviceKind::VirtualGpu, DeviceKind::Cpu]
        .iter()
        .find_map(|kind| devices.iter().position(|device| device.kind == *kind))
}

/// Opens the device that `choice` means.
pub fn open(choice: DeviceChoice) -> Result<OpenDevice, DeviceError> {
    #[cfg(not(feature = "wgpu"))]
    if matches!(choice, DeviceChoice::Wgpu | DeviceChoice::WgpuIndex(_)) {
        return Err(DeviceError::NotBuilt("the GPU backend", "wgpu"));
    }
    #[cfg(not(feature = "cpu"))]
    if choice == DeviceChoice::Cpu {
        return Err(DeviceError::NotBuilt("the CPU backend", "cpu"));
    }
    // Asking the graphics driver takes a moment that `--device cpu` need not pay.
    #[cfg(feature = "cpu")]
    if choice == DeviceChoice::Cpu {
        return open_listed(cpu());
    }
    let devices = list();
    open_listed(select(choice, &devices)?.clone())
}

/// The listed device that `choice` means.
fn select(choice: DeviceChoice, devices: &[DeviceInfo]) -> Result<&DeviceInfo, DeviceError> {
    let found = match choice {
        DeviceChoice::Auto => devices.iter().find(|device| device.automatic),
        DeviceChoice::Wgpu => devices
            .iter()
            .find(|device| device.automatic && device.kind != DeviceKind::Cpu)
            .or_else(|| devices.iter().find(|device| device.kind != DeviceKind::Cpu)),
        exact => devices.iter().find(|device| device.id == exact),
    };
    found.ok_or_else(|| DeviceError::Absent {
        asked: choice,
        available: devices
            .iter()
            .map(|device| format!("{} ({})", device.id, device.name))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

fn open_listed(info: DeviceInfo) -> Result<OpenDevice, DeviceError> {
    let (device, is_new) = match info.kind {
        #[cfg(feature = "cpu")]
        DeviceKind::Cpu => (Device::flex(), false),
        #[cfg(feature = "wgpu")]
        _ => open_adapter(&info)?,
        #[cfg(not(feature = "wgpu"))]
        _ => return Err(DeviceError::NotBuilt("the GPU backend", "wgpu")),
    };
    Ok(OpenDevice { device, info, is_new })
}

#[cfg(feature = "cpu")]
fn cpu() -> DeviceInfo {
    DeviceInfo {
        id: DeviceChoice::Cpu,
        name: processor_name().unwrap_or_else(|| "processor".to_owned()),
        kind: DeviceKind::Cpu,
        backend: "flex".to_owned(),
        memory: crate::memory::total_bytes(),
        automatic: false,
        index_in_kind: 0,
        driver: String::new(),
    }
}

/// The processor's own name, where the system tells it.
#[cfg(feature = "cpu")]
fn processor_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(feature = "wgpu")]
fn adapters() -> Vec<DeviceInfo> {
    use std::collections::BTreeMap;

    let backends = native_backends();
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    #[cfg(not(target_vendor = "apple"))]
    let mut graphics_memory = GraphicsMemory::ask();
    let mut seen: BTreeMap<(u8, u8), usize> = BTreeMap::new();
    pollster::block_on(instance.enumerate_adapters(backends))
        .into_iter()
        .enumerate()
        .map(|(index, adapter)| {
            let info = adapter.get_info();
            let counter = seen.entry((info.backend as u8, info.device_type as u8)).or_default();
            let index_in_kind = *counter;
            *counter += 1;
            #[cfg(not(target_vendor = "apple"))]
            let memory = graphics_memory.take(&Card {
                vendor: info.vendor,
                device: info.device,
                name: info.name.clone(),
            });
            #[cfg(target_vendor = "apple")]
            let memory = None;
            DeviceInfo {
                id: DeviceChoice::WgpuIndex(index),
                name: info.name,
                kind: match info.device_type {
                    wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu,
                    wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu,
                    wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu,
                    wgpu::DeviceType::Cpu => DeviceKind::Software,
                    wgpu::DeviceType::Other => DeviceKind::Other,
                },
                backend: info.backend.to_string(),
                memory,
                automatic: false,
                index_in_kind,
                driver: format!("{} {}", info.driver, info.driver_info),
            }
        })
        .collect()
}

/// The graphics API of each system that burn computes on.
#[cfg(feature = "wgpu")]
fn native_backends() -> wgpu::Backends {
    if cfg!(target_vendor = "apple") { wgpu::Backends::METAL } else { wgpu::Backends::VULKAN }
}

#[cfg(feature = "wgpu")]
fn open_adapter(info: &DeviceInfo) -> Result<(Device, bool), DeviceError> {
    use std::{
        collections::HashMap,
        sync::{Mutex, PoisonError},
    };

    use burn::tensor::DeviceKind as Adapter;

    use crate::{kernel_choice, places::cache_folder};

    // A runtime can be initialised once in a process; later openings share it.
    static OPENED: Mutex<Option<HashMap<DeviceChoice, (Device, bool)>>> = Mutex::new(None);

    if info.kind == DeviceKind::Software && cfg!(feature = "vulkan") {
        // Mesa's renderer crashes the process while it compiles burn's SPIR-V kernels (22.3, 25.0);
        // SwiftShader (5.0) runs them and computes something else.
        return Err(DeviceError::Initialisation {
            name: info.name.clone(),
            reason: "software renderers cannot run this build's SPIR-V kernels; one without the \
                     feature `vulkan` can use them, for tests"
                .to_owned(),
        });
    }
    let index = info.index_in_kind;
    let adapter = match info.kind {
        DeviceKind::DiscreteGpu => Adapter::DiscreteGpu(index),
        DeviceKind::IntegratedGpu => Adapter::IntegratedGpu(index),
        DeviceKind::VirtualGpu => Adapter::VirtualGpu(index),
        DeviceKind::Software => Adapter::Cpu,
        DeviceKind::Cpu | DeviceKind::Other => Adapter::DefaultDevice,
    };
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let opened = opened.get_or_insert_with(HashMap::new);
    if let Some(device) = opened.get(&info.id) {
        return Ok(device.clone());
    }
    let is_new = kernel_choice::keep(&cache_folder(), &format!("{} {}", info.name, info.driver));
    let device = Device::wgpu_options().device_kind(adapter).init().map_err(|error| {
        DeviceError::Initialisation { name: info.name.clone(), reason: error.to_string() }
    })?;
    opened.insert(info.id, (device.clone(), is_new));
    Ok((device, is_new))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn device(id: DeviceChoice, kind: DeviceKind) -> DeviceInfo {
        DeviceInfo {
            id,
            name: id.to_string(),
            kind,
            backend: String::new(),
            memory: None,
            automatic: false,
            index_in_kind: 0,
            driver: String::new(),
        }
    }

    fn machine(kinds: &[DeviceKind]) -> Vec<DeviceInfo> {
        let mut devices = vec![device(DeviceChoice::Cpu, DeviceKind::Cpu)];
        for (index, kind) in kinds.iter().enumerate() {
            devices.push(device(DeviceChoice::WgpuIndex(index), *kind));
        }
        if let Some(index) = automatic(&devices) {
            devices[index].automatic = true;
        }
        devices
    }

    #[test]
    fn auto_prefers_discrete_then_integrated_then_the_cpu() {
        use DeviceKind::{DiscreteGpu, IntegratedGpu, Software};
        let taken = |kinds: &[DeviceKind]| {
            select(DeviceChoice::Auto, &machine(kinds)).map(|device| device.kind).unwrap()
        };
        assert_eq!(taken(&[IntegratedGpu, DiscreteGpu, Software]), DiscreteGpu);
        assert_eq!(taken(&[Software, IntegratedGpu]), IntegratedGpu);
        assert_eq!(taken(&[]), DeviceKind::Cpu);
    }

    #[test]
    fn auto_never_takes_a_software_renderer() {
        let machine = machine(&[DeviceKind::Software]);
        assert_eq!(select(DeviceChoice::Auto, &machine).unwrap().kind, DeviceKind::Cpu);
        let asked = select(DeviceChoice::Wgpu, &machine).unwrap();
        assert_eq!(asked.kind, DeviceKind::Software, "taken when it is asked for");
    }

    #[test]
    fn an_absent_device_is_an_error_that_lists_what_there_is() {
        let machine = machine(&[DeviceKind::DiscreteGpu]);
        let error = select(DeviceChoice::WgpuIndex(7), &machine).unwrap_err().to_string();
        assert!(error.contains("wgpu:7") && error.contains("wgpu:0"), "{error}");
    }

    #[test]
    fn names_are_read_and_written_alike() {
        for name in ["auto", "cpu", "wgpu", "wgpu:3"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        for name in ["gpu", "wgpu:", "wgpu:x", "CPU", ""] {
            assert!(name.parse::<DeviceChoice>().is_err(), "{name}");
        }
    }
}
