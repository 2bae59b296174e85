//! What families of models, kinds of devices, schedules and ways to take less memory are called. Samplers have the
//! same names everywhere.

use emberbrush_pipeline::{
    checkpoint::folder::Family, device::DeviceKind, memory::StepDown, schedulers::Schedule,
};

use super::words::Words;

/// The message of a family's name.
fn family_message(family: Family) -> &'static str {
    match family {
        Family::StableDiffusion1 => "family-sd1",
        Family::StableDiffusion2 => "family-sd2",
        Family::StableDiffusionXl => "family-sdxl",
        Family::StableDiffusionXlRefiner => "family-sdxl-refiner",
    }
}

/// A family of models.
pub(super) fn family(words: &Words, family: Family) -> String {
    words.get(family_message(family))
}

/// A kind of device.
pub(super) fn device_kind(words: &Words, kind: DeviceKind) -> String {
    words.get(match kind {
        DeviceKind::Cpu => "device-cpu",
        DeviceKind::DiscreteGpu => "device-discrete-gpu",
        DeviceKind::IntegratedGpu => "device-integrated-gpu",
        DeviceKind::VirtualGpu => "device-virtual-gpu",
        DeviceKind::Software => "device-software",
        DeviceKind::Other => "device-other",
    })
}

/// The message of a schedule's name.
pub(crate) fn schedule_message(schedule: Schedule) -> &'static str {
    match schedule {
        Schedule::Automatic => "schedule-automatic",
        Schedule::Karras => "schedule-karras",
        Schedule::Exponential => "schedule-exponential",
        Schedule::Polyexponential => "schedule-polyexponential",
        Schedule::SgmUniform => "schedule-sgm-uniform",
        Schedule::Simple => "schedule-simple",
        Schedule::Normal => "schedule-normal",
        Schedule::DdimUniform => "schedule-ddim",
        Schedule::Beta => "schedule-beta",
        Schedule::LinearQuadratic => "schedule-linear-quadratic",
        Schedule::KlOptimal => "schedule-kl-optimal",
        Schedule::Ays => "schedule-ays",
    }
}

/// A schedule.
pub(super) fn schedule(words: &Words, schedule: Schedule) -> String {
    words.get(schedule_message(schedule))
}

/// A way to take less memory.
pub(super) fn saving(words: &Words, step: StepDown) -> String {
    match step {
        StepDown::TiledVae { tile } => words.with("saving-tiles", [("pixels", tile.into())]),
        StepDown::SmallerBatch { batch } => {
            words.with("saving-batch", [("pictures", batch.into())])
        }
        StepDown::SlicedAttention => words.get("saving-attention"),
        StepDown::DroppedTextEncoder => words.get("saving-text-encoder"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::words::Language;

    #[test]
    fn names_are_those_of_the_pipeline_in_english_and_korean_ones_in_korean() {
        let [english, korean] = Language::ALL.map(Words::new);
        for of in [Family::StableDiffusion1, Family::StableDiffusionXlRefiner] {
            assert_eq!(family(&english, of), of.name());
        }
        for of in Schedule::ALL {
            assert_eq!(schedule(&english, of), of.display_name());
        }
        assert_eq!(schedule(&korean, Schedule::Automatic), "자동");
        assert_eq!(device_kind(&english, DeviceKind::Cpu), DeviceKind::Cpu.to_string());
        assert_eq!(device_kind(&korean, DeviceKind::DiscreteGpu), "외장 GPU");
        for step in [
            StepDown::TiledVae { tile: 512 },
            StepDown::SmallerBatch { batch: 1 },
            StepDown::SmallerBatch { batch: 4 },
            StepDown::SlicedAttention,
            StepDown::DroppedTextEncoder,
        ] {
            assert_eq!(saving(&english, step), step.to_string());
        }
        assert_eq!(saving(&korean, StepDown::TiledVae { tile: 512 }), "VAE를 512픽셀 조각으로");
    }
}
