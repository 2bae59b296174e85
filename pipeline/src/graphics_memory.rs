//! How much memory graphics cards have. wgpu does not tell it, so Vulkan is asked beside it.

use std::collections::HashMap;

#[cfg(feature = "wgpu")]
use vulkano::{
    VulkanLibrary,
    device::physical::PhysicalDevice,
    instance::{Instance, InstanceCreateInfo},
    memory::MemoryHeapFlags,
};

/// What a card calls itself, in Vulkan and in wgpu alike: vendor, device, name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Card {
    /// The PCI number of who made it.
    pub vendor: u32,
    /// The maker's number for the model.
    pub device: u32,
    /// The driver's name for it.
    pub name: String,
}

/// The memory of each card, those of one model in the driver's order.
#[derive(Debug, Default)]
pub(crate) struct GraphicsMemory(HashMap<Card, Vec<u64>>);

impl GraphicsMemory {
    /// Asks the drivers; empty where there is no Vulkan, as on Apple's systems.
    #[cfg(feature = "wgpu")]
    pub(crate) fn ask() -> Self {
        let Ok(library) = VulkanLibrary::new() else { return Self::default() };
        let Ok(instance) = Instance::new(library, InstanceCreateInfo::default()) else {
            return Self::default();
        };
        let Ok(cards) = instance.enumerate_physical_devices() else { return Self::default() };
        Self::of(cards.map(|card| {
            let properties = card.properties();
            let name = properties.device_name.clone();
            let (vendor, device) = (properties.vendor_id, properties.device_id);
            (Card { vendor, device, name }, own_bytes(&card))
        }))
    }

    fn of(cards: impl Iterator<Item = (Card, u64)>) -> Self {
        let mut found: HashMap<Card, Vec<u64>> = HashMap::new();
        for (card, bytes) in cards {
            found.entry(card).or_default().push(bytes);
        }
        Self(found)
    }

    /// The memory in bytes of the next card that calls itself so. Cards of one model have the
    /// same, or are told in the same order.
    pub(crate) fn take(&mut self, card: &Card) -> Option<u64> {
        let bytes = self.0.get_mut(card)?;
        (!bytes.is_empty()).then(|| bytes.remove(0))
    }
}

/// The card's largest heap of its own.
#[cfg(feature = "wgpu")]
fn own_bytes(card: &PhysicalDevice) -> u64 {
    let heaps = &card.memory_properties().memory_heaps;
    let own = heaps.iter().filter(|heap| heap.flags.intersects(MemoryHeapFlags::DEVICE_LOCAL));
    own.map(|heap| heap.size).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(device: u32, name: &str) -> Card {
        Card { vendor: 0x10de, device, name: name.to_owned() }
    }

    #[test]
    fn each_card_gets_its_own_memory() {
        let listed = [(card(1, "large"), 24), (card(2, "small"), 4), (card(2, "small"), 8)];
        let mut memory = GraphicsMemory::of(listed.into_iter());
        assert_eq!(memory.take(&card(2, "small")), Some(4));
        assert_eq!(memory.take(&card(1, "large")), Some(24));
        assert_eq!(memory.take(&card(2, "small")), Some(8));
        assert_eq!(memory.take(&card(2, "small")), None);
        assert_eq!(memory.take(&card(2, "large")), None);
    }
}
