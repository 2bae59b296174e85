//! ControlNets in the loop over the noise levels.

use std::path::PathBuf;

use burn::tensor::{DType, Tensor};
use emberbrush_layers::interrupt::Checkpoint;
use emberbrush_unet::{
    AddedConditions, ControlNetModel, ControlNetOutput, ControlStrength, UNetInput,
};
use image::Rgb32FImage;

use super::{DenoisingStart, DiffusionPipeline, denoise::joined};
use crate::{
    adapters::UnusedKeys,
    checkpoint::controlnet::ControlNetFiles,
    error::PipelineError,
    request::{ControlUnit, GenerationRequest, RequestError},
};

/// A ControlNet that is in memory.
#[derive(Debug)]
pub(super) struct LoadedControlNet {
    path: PathBuf,
    network: ControlNetModel,
}

/// The ControlNets of a run, and what they are shown.
pub(super) struct Control<'a> {
    nets: Vec<ActiveControlNet<'a>>,
    /// Name of the checkpoint, for messages.
    model: &'a str,
    pictures: usize,
}

struct ActiveControlNet<'a> {
    network: &'a ControlNetModel,
    unit: &'a ControlUnit,
    /// `[pictures, channels, height / 8, width / 8]`
    embedded_maps: Tensor<4>,
}

/// The place of an evaluation among those that a run makes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunShare {
    /// From 0.
    pub(super) evaluation: usize,
    /// How many there are.
    pub(super) evaluations: usize,
}

/// What steers one evaluation of the UNet.
#[derive(Clone, Copy)]
pub(super) struct Steering<'a> {
    pub(super) control: &'a Control<'a>,
    pub(super) share: RunShare,
    /// Whether the first rows, one for each picture, are those of the negative prompts.
    pub(super) has_negative: bool,
}

impl Steering<'_> {
    /// What all ControlNets that act at this evaluation add to the UNet's.
    pub(super) fn residuals(
        &self,
        input: &UNetInput<'_>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Option<ControlNetOutput>, PipelineError> {
        self.control.residuals(input, self.has_negative, self.share, checkpoint)
    }
}

impl RunShare {
    /// Whether so large a share of the evaluations lies before this one.
    pub(super) fn is_after(self, share: f64) -> bool {
        self.evaluation as f64 >= share * self.evaluations as f64
    }

    /// Whether a ControlNet that acts between these shares of the steps acts here (diffusers
    /// `control_guidance_start` and `control_guidance_end`).
    fn is_within(self, start: f64, end: f64) -> bool {
        let share = |evaluation: usize| evaluation as f64 / self.evaluations as f64;
        share(self.evaluation) >= start && share(self.evaluation + 1) <= end
    }
}

impl DiffusionPipeline {
    /// Loads the ControlNets of a request that are not in memory, and gives up all others.
    ///
    /// # Errors
    ///
    /// Where one of them cannot be read or does not fit the checkpoint.
    pub(super) fn load_controlnets(
        &mut self,
        units: &[ControlUnit],
    ) -> Result<Vec<UnusedKeys>, PipelineError> {
        let is_used =
            |loaded: &LoadedControlNet| units.iter().any(|unit| unit.model == loaded.path);
        self.controlnets.retain(is_used);
        let mut unused = Vec::new();
        for unit in units {
            if self.controlnets.iter().any(|loaded| loaded.path == unit.model) {
                continue;
            }
            let files = ControlNetFiles::open(&unit.model, self.unet.config())?;
            let (mut network, keys) = files.load(&self.device, self.dtype)?;
            network.set_attention_slicing(self.attention_slicing());
            if !keys.is_empty() {
                unused.push(UnusedKeys { path: unit.model.display().to_string(), keys });
            }
            self.controlnets.push(LoadedControlNet { path: unit.model.clone(), network });
        }
        Ok(unused)
    }

    pub(super) fn slice_attention_of_controlnets(&mut self) {
        let slicing = self.attention_slicing();
        for loaded in &mut self.controlnets {
            loaded.network.set_attention_slicing(slicing);
        }
    }

    /// Gives a start the maps that the ControlNets of its request are shown, one for each and of the
    /// request's size, with values from 0 to 1.
    ///
    /// # Errors
    ///
    /// Where there are more or fewer, or one has another size.
    pub fn with_control_maps(
        &self,
        start: DenoisingStart,
        request: &GenerationRequest,
        maps: &[Rgb32FImage],
    ) -> Result<DenoisingStart, PipelineError> {
        let size = (request.width, request.height);
        if maps.len() != request.control.0.len() || maps.iter().any(|map| map.dimensions() != size)
        {
            return Err(missing_maps(request).into());
        }
        let control_maps = maps.iter().map(|map| self.unit_tensor(map)).collect();
        Ok(DenoisingStart { control_maps, ..start })
    }

    /// What steers a run of pictures that have the same ControlNets. `maps` are those of each picture
    /// in turn.
    pub(super) fn control<'a>(
        &'a self,
        requests: &[&'a GenerationRequest],
        mut maps: Vec<Vec<Tensor<4>>>,
    ) -> Result<Control<'a>, PipelineError> {
        let units = requests.first().map_or(&[][..], |request| &request.control.0);
        let unread =
            || requests.first().map_or(RequestError::NoImages, |first| missing_maps(first));
        let mut nets = Vec::with_capacity(units.len());
        // From the last, so that each map is taken from the end.
        for unit in units.iter().rev() {
            let loaded = self.controlnets.iter().find(|loaded| loaded.path == unit.model);
            let network = &loaded.ok_or_else(unread)?.network;
            let own: Option<Vec<_>> = maps.iter_mut().map(Vec::pop).collect();
            let maps = joined(own.ok_or_else(unread)?);
            let embedded_maps = network.embed(maps.cast(DType::from(self.dtype)));
            nets.push(ActiveControlNet { network, unit, embedded_maps });
        }
        nets.reverse();
        Ok(Control { nets, model: &self.name, pictures: requests.len() })
    }
}

impl Control<'_> {
    fn residuals(
        &self,
        input: &UNetInput<'_>,
        has_negative: bool,
        share: RunShare,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Option<ControlNetOutput>, PipelineError> {
        let mut sum: Option<ControlNetOutput> = None;
        for net in &self.nets {
            let ControlUnit { weight, start, end, guess, .. } = *net.unit;
            if !share.is_within(start, end) {
                continue;
            }
            let config = net.network.config();
            let guess = guess || config.global_pool_conditions;
            // Guessing leaves the negative prompts' half as it is.
            let left_out = if guess && has_negative { self.pictures } else { 0 };
            let input = rows_from(input, left_out, config.unet.in_channels);
            net.network.check(&input).map_err(|error| PipelineError::Model {
                model: self.model.to_owned(),
                reason: format!("{}: {error}", net.unit.model.display()),
            })?;
            let repeats = input.sample.dims()[0] / self.pictures;
            let maps = net.embedded_maps.clone().repeat_dim(0, repeats);
            let strength = ControlStrength { scale: weight, guess };
            let mut output = net.network.forward(input, maps, strength, checkpoint)?;
            if left_out > 0 {
                output = output.map(|positive| {
                    let [_, channels, height, width] = positive.dims();
                    let place = (&positive.device(), positive.dtype());
                    let nothing = Tensor::zeros([left_out, channels, height, width], place);
                    Tensor::cat(vec![nothing, positive], 0)
                });
            }
            sum = Some(match sum {
                None => output,
                Some(sum) => sum.plus(output),
            });
        }
        Ok(sum)
    }
}

fn missing_maps(request: &GenerationRequest) -> RequestError {
    let (width, height) = (request.width, request.height);
    RequestError::ControlMaps { count: request.control.0.len(), width, height }
}

/// The rows of an input from one on, and the first channels of its sample: what follows the latents
/// in nine-channel models is not for ControlNets.
fn rows_from<'a>(input: &UNetInput<'a>, first: usize, channels: usize) -> UNetInput<'a> {
    let batch = input.sample.dims()[0];
    let rows = batch - first;
    UNetInput {
        sample: input.sample.clone().narrow(0, first, rows).narrow(1, 0, channels),
        timesteps: input.timesteps,
        encoder_hidden_states: input.encoder_hidden_states.clone().narrow(0, first, rows),
        added: input.added.as_ref().map(|added| AddedConditions {
            text_embeds: added.text_embeds.clone().narrow(0, first, rows),
            time_ids: &added.time_ids[first * (added.time_ids.len() / batch)..],
        }),
        timestep_cond: None,
        residuals: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Rows of numbers, each beginning with its own.
    fn rows<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        let length: usize = shape[1..].iter().product();
        let values: Vec<f32> = (0..shape[0] * length).map(|at| (at / length) as f32).collect();
        Tensor::<1>::from_data(values.as_slice(), &Device::flex()).reshape(shape)
    }

    #[test]
    fn guessing_sees_the_rows_of_the_prompts_in_every_part() {
        let time_ids = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5];
        let input = UNetInput {
            sample: rows([3, 9, 2, 2]),
            timesteps: &[7.0],
            encoder_hidden_states: rows([3, 4, 5]),
            added: Some(AddedConditions { text_embeds: rows([3, 6]), time_ids: &time_ids }),
            timestep_cond: None,
            residuals: None,
        };
        let part = rows_from(&input, 1, 4);
        let values = |tensor: Tensor<1>| tensor.into_data().try_to_vec::<f32>().unwrap();
        let added = part.added.unwrap();
        assert_eq!(part.sample.dims(), [2, 4, 2, 2]);
        for (tensor, length) in [
            (part.sample.flatten(0, 3), 16),
            (part.encoder_hidden_states.flatten(0, 2), 20),
            (added.text_embeds.flatten(0, 1), 6),
        ] {
            assert_eq!(values(tensor), [vec![1.0; length], vec![2.0; length]].concat());
        }
        assert_eq!(added.time_ids, &time_ids[2..]);
    }

    #[test]
    fn controlnets_act_at_evaluations_that_lie_within_their_shares() {
        let acting = |start, end| -> Vec<usize> {
            let evaluations = 8;
            (0..evaluations)
                .filter(|&evaluation| RunShare { evaluation, evaluations }.is_within(start, end))
                .collect()
        };
        assert_eq!(acting(0.0, 1.0), (0..8).collect::<Vec<_>>());
        assert_eq!(acting(0.0, 0.5), [0, 1, 2, 3]);
        assert_eq!(acting(0.25, 0.9), [2, 3, 4, 5, 6]);
        assert_eq!(acting(0.3, 0.31), [0; 0]);
    }
}
