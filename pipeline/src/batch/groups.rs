//! Which pictures of a job set are made at once.

use std::{collections::VecDeque, num::NonZeroUsize, str::FromStr};

use thiserror::Error;

use super::Item;
use crate::{device::DeviceKind, diffusion::DiffusionPipeline, request::GenerationRequest};

/// The most pictures of a group. GPUs are busy with fewer, and encoded prompts are kept for as
/// many.
const LARGEST: usize = 16;

/// The pixels of all pictures of a group at most, in pictures of the model's own size.
const NATIVE_PICTURES: usize = 4;

/// Groups are sought among as many pictures in a row.
const WINDOW: usize = 256;

/// How many pictures go through the UNet at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchSize {
    /// As many as suit the device.
    #[default]
    Automatic,
    /// That many where the requests allow it.
    AtMost(NonZeroUsize),
}

/// Text that is no number of pictures.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no number of pictures; write auto, or 1 to {LARGEST}")]
pub struct UnknownBatchSize(String);

impl FromStr for BatchSize {
    type Err = UnknownBatchSize;

    fn from_str(text: &str) -> Result<Self, UnknownBatchSize> {
        if text == "auto" {
            return Ok(Self::Automatic);
        }
        let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= LARGEST);
        number.map(Self::AtMost).ok_or_else(|| UnknownBatchSize(text.to_owned()))
    }
}

impl BatchSize {
    /// How many pictures of this request go through the UNet at once, at least 1.
    pub fn of(self, pipeline: &DiffusionPipeline, request: &GenerationRequest) -> usize {
        match self {
            Self::AtMost(number) => number.get(),
            // One picture keeps all cores busy, and more of them leave the caches.
            Self::Automatic if pipeline.device().info.kind == DeviceKind::Cpu => 1,
            Self::Automatic => {
                let side = pipeline.native_side() as usize;
                let pixels = (request.width as usize * request.height as usize).max(1);
                (NATIVE_PICTURES * side * side / pixels).clamp(1, LARGEST)
            }
        }
    }
}

/// Divides pictures into groups, in order of the first of each.
///
/// Groups depend on the pictures alone, not on which of them were made already: a job set that
/// was interrupted is made in the same groups, and so with the same rounding.
#[derive(Debug)]
pub(super) struct Groups<'a, 'i> {
    left: &'i [&'a Item],
    ready: VecDeque<Vec<&'a Item>>,
    size: BatchSize,
}

impl<'a, 'i> Groups<'a, 'i> {
    pub(super) fn new(items: &'i [&'a Item], size: BatchSize) -> Self {
        Self { left: items, ready: VecDeque::new(), size }
    }

    /// The next group.
    pub(super) fn next(&mut self, pipeline: &DiffusionPipeline) -> Option<Vec<&'a Item>> {
        if self.ready.is_empty() {
            let (window, left) = self.left.split_at(WINDOW.min(self.left.len()));
            self.left = left;
            let largest = |item: &Item| self.size.of(pipeline, &item.request);
            let shape = |item: &Item| pipeline.group_shape(&item.request);
            self.ready = groups(window, largest, shape).into();
        }
        self.ready.pop_front()
    }
}

fn groups<'a, S: PartialEq>(
    items: &[&'a Item],
    largest: impl Fn(&Item) -> usize,
    shape: impl Fn(&Item) -> Option<S>,
) -> Vec<Vec<&'a Item>> {
    let mut groups: Vec<Vec<&Item>> = Vec::new();
    // Groups with room: their shape, place and size.
    let mut open: Vec<(S, usize, usize)> = Vec::new();
    for &item in items {
        let largest = largest(item);
        let shape = if largest > 1 { shape(item) } else { None };
        let found = open.iter().position(|(other, ..)| shape.as_ref() == Some(other));
        match (found, shape) {
            (Some(found), _) => {
                let (_, place, size) = &open[found];
                groups[*place].push(item);
                if groups[*place].len() == *size {
                    open.swap_remove(found);
                }
            }
            (None, shape) => {
                if let Some(shape) = shape {
                    open.push((shape, groups.len(), largest));
                }
                groups.push(vec![item]);
            }
        }
    }
    groups
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schedulers::Sampler;

    fn item(index: usize, width: u32) -> Item {
        let request = GenerationRequest {
            width,
            height: 64,
            steps: 2,
            guidance_scale: 1.0,
            sampler: Sampler::Euler,
            seed: 5,
            ..GenerationRequest::new("")
        };
        Item { index, line: 1, request, file: String::new(), model: 0 }
    }

    #[test]
    fn pictures_of_one_shape_are_grouped_in_order_of_the_first() {
        let items: Vec<Item> = [64, 32, 64, 8, 64, 64, 32, 8]
            .into_iter()
            .enumerate()
            .map(|(index, width)| item(index, width))
            .collect();
        let items: Vec<&Item> = items.iter().collect();
        let shape = |item: &Item| (item.request.width != 8).then_some(item.request.width);
        let numbers = |largest: usize| -> Vec<Vec<usize>> {
            let groups = groups(&items, |_| largest, shape);
            groups.iter().map(|group| group.iter().map(|item| item.index).collect()).collect()
        };
        assert_eq!(numbers(3), [vec![0, 2, 4], vec![1, 6], vec![3], vec![5], vec![7]]);
        assert_eq!(numbers(1).len(), 8);
    }

    #[test]
    fn sizes_are_read_within_bounds() {
        assert_eq!("auto".parse(), Ok(BatchSize::Automatic));
        assert_eq!("4".parse(), Ok(BatchSize::AtMost(NonZeroUsize::new(4).unwrap())));
        for bad in ["", "0", "17", "-1", "many", "4.5"] {
            let error = bad.parse::<BatchSize>().unwrap_err().to_string();
            assert!(error.contains("auto, or 1 to 16"), "{error}");
        }
    }
}
