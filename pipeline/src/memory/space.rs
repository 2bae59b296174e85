//! The memory that runs may take.

use std::thread;

use emberbrush_layers::memory::Kernels;
use serde::Serialize;

use super::{MemoryBound, available, resident_bytes};
use crate::device::{DeviceInfo, DeviceKind};

/// What a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// In bytes, what the process holds already included.
    pub bytes: u64,
    /// What sets it.
    pub bound: MemoryBound,
}

/// How much of what is free a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryMode {
    /// As much as makes it fast, where it fits.
    #[default]
    Normal,
    /// As little as it can be made with.
    Low,
}

/// What a person allows a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryAllowance {
    /// How much of it is taken.
    pub mode: MemoryMode,
    /// The most bytes; `None` for what the machine leaves.
    pub limit: Option<u64>,
}

/// The memory that runs are planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySpace {
    /// What the networks run on.
    pub kernels: Kernels,
    /// Bytes that the process holds beside any checkpoint.
    pub own_bytes: u64,
    /// `None` where nothing is known.
    pub budget: Option<Budget>,
    /// How much of the budget is taken.
    pub mode: MemoryMode,
}

impl MemorySpace {
    /// The memory of `device` as it is now, before a checkpoint is loaded.
    pub fn now(device: &DeviceInfo, MemoryAllowance { mode, limit }: MemoryAllowance) -> Self {
        let limit = limit.map(|bytes| Budget { bytes, bound: MemoryBound::Limit });
        let kernels = match device.kind {
            DeviceKind::Cpu => {
                Kernels::Cpu { threads: thread::available_parallelism().map_or(1, usize::from) }
            }
            _ => Kernels::Gpu,
        };
        let shares_system_memory = matches!(
            device.kind,
            DeviceKind::Cpu | DeviceKind::Software | DeviceKind::IntegratedGpu
        );
        if !shares_system_memory {
            let card = device.memory.map(of_a_graphics_card);
            return Self { kernels, own_bytes: 0, budget: limit.or(card), mode };
        }
        let own_bytes = resident_bytes().unwrap_or(0);
        let free = available().map(|available| Budget {
            bytes: available.bytes.saturating_add(own_bytes),
            bound: available.bound,
        });
        let budget = free.into_iter().chain(limit).min_by_key(|budget| budget.bytes);
        Self { kernels, own_bytes, budget, mode }
    }
}

/// What a run may use of a graphics card with so much memory: the desktop, other programs and the
/// driver take their part, for which an eighth is left. A limit that a person sets counts instead.
fn of_a_graphics_card(bytes: u64) -> Budget {
    Budget { bytes: bytes - bytes / 8, bound: MemoryBound::GraphicsCard }
}
