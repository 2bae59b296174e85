//! What a run is asked for, and what the device makes of it.

use emberbrush_pipeline::{
    device::DeviceError,
    error::PipelineError,
    memory::{InsufficientMemory, MemoryBound},
    prompt::{ExpansionError, PromptError},
    request::{ControlError, FieldError, RequestError, nearest_sides},
    schedulers::SchedulerError,
};

use super::{Argument, Explain, Explanation, files::cause};
use crate::window::schedule_message;

impl Explain for PipelineError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Request(error) => error.explain(),
            Self::Prompt(error) => error.explain(),
            Self::Model { model, .. } => Explanation::new("error-model").with("model", model),
            Self::Checkpoint(error) => error.explain(),
            Self::Adapter(error) => error.explain(),
            Self::Device(error) => error.explain(),
            Self::Scheduler(error) => error.explain(),
            Self::Picture(error) => error.explain(),
            Self::Memory(error) => error.explain(),
            Self::OutOfDeviceMemory { .. } => Explanation::new("error-device-memory"),
            Self::Cancelled(_) => Explanation::new("error-cancelled"),
            Self::Execution { device, .. } => {
                Explanation::new("error-device-failed").with("device", device)
            }
            Self::NotANumber => Explanation::new("error-not-a-number"),
        }
    }
}

impl Explain for RequestError {
    fn explain(&self) -> Explanation {
        match self {
            Self::UnevenSide { pixels, .. } => {
                let (lower, upper) = nearest_sides(*pixels);
                Explanation::new("error-side-uneven")
                    .with("pixels", *pixels)
                    .with("lower", lower)
                    .with("upper", upper)
            }
            Self::LongSide { pixels, .. } => {
                Explanation::new("error-side-long").with("pixels", *pixels)
            }
            Self::LongPrompt { .. } => Explanation::new("error-prompt-long"),
            Self::SecondPrompt { model } => {
                Explanation::new("error-second-prompt").with("model", model)
            }
            Self::JoinedPrompts { model } => {
                Explanation::new("error-joined-prompts").with("model", model)
            }
            Self::ControlNet {
                number,
                source: ControlError::NoImage | ControlError::NoImageOfExtended,
            } => Explanation::new("error-control-picture").with("number", *number),
            Self::ControlNet { number, .. } => {
                Explanation::new("error-control-settings").with("number", *number)
            }
            _ => Explanation::new("error-settings"),
        }
    }
}

impl Explain for InsufficientMemory {
    fn explain(&self) -> Explanation {
        let advice = match self.budget.bound {
            MemoryBound::Machine => Explanation::new("advice-memory-machine"),
            MemoryBound::ControlGroup => Explanation::new("advice-memory-control-group"),
            MemoryBound::GraphicsCard => Explanation::new("advice-memory-graphics-card"),
            MemoryBound::Limit => Explanation::new("advice-memory-limit"),
        };
        Explanation::new("error-memory")
            .with("needed", Argument::Bytes(self.plan.peak_bytes()))
            .with("budget", Argument::Bytes(self.budget.bytes))
            .with("advice", advice)
    }
}

impl Explain for DeviceError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Unknown(device) => Explanation::new("error-device-absent").with("device", device),
            Self::Absent { asked, .. } => {
                Explanation::new("error-device-absent").with("device", &asked.to_string())
            }
            Self::NotBuilt(device, _) => {
                Explanation::new("error-device-not-built").with("device", *device)
            }
            Self::Initialisation { name, .. } => {
                Explanation::new("error-device-closed").with("device", name)
            }
            Self::UnsupportedDtype { name, dtype } => {
                Explanation::new("error-device-type").with("device", name).with("type", *dtype)
            }
        }
    }
}

impl Explain for SchedulerError {
    fn explain(&self) -> Explanation {
        match self {
            Self::NoSteps => Explanation::new("error-too-few-steps").with("least", 1_u32),
            Self::TooManySteps { most, .. } => {
                Explanation::new("error-too-many-steps").with("most", *most)
            }
            Self::TooFewSteps { least, .. } => {
                Explanation::new("error-too-few-steps").with("least", *least)
            }
            Self::Pair { sampler, schedule, .. } => Explanation::new("error-sampler-schedule")
                .with("sampler", sampler.display_name())
                .with("schedule", Explanation::new(schedule_message(*schedule))),
            Self::Unsupported { sampler, .. } => {
                Explanation::new("error-sampler-model").with("sampler", sampler.display_name())
            }
            Self::Config { .. } | Self::Json(_) => {
                Explanation::new("error-configuration").with("path", "scheduler_config.json")
            }
            Self::NothingLeft { .. } => Explanation::new("error-strength"),
            Self::Start { sampler, .. } => {
                Explanation::new("error-sampler-start").with("sampler", sampler.display_name())
            }
        }
    }
}

impl Explain for PromptError {
    fn explain(&self) -> Explanation {
        match self {
            Self::LoraName { tag } => Explanation::new("error-lora-name").with("tag", tag),
            Self::LoraWeight { tag, argument } => {
                Explanation::new("error-lora-weight").with("tag", tag).with("weight", argument)
            }
            Self::TooLong { .. } => Explanation::new("error-prompt-changes"),
        }
    }
}

impl Explain for ExpansionError {
    fn explain(&self) -> Explanation {
        match self {
            Self::NoFolder { name } => {
                Explanation::new("error-wildcard-no-folder").with("name", name)
            }
            Self::Io { name, source, .. } => Explanation::new("error-wildcard-unreadable")
                .with("name", name)
                .with("cause", cause(source)),
            Self::Outside { name } => Explanation::new("error-wildcard-outside").with("name", name),
            Self::Empty { name } => Explanation::new("error-wildcard-empty").with("name", name),
            Self::TooDeep { name } => Explanation::new("error-wildcard-deep").with("name", name),
            Self::TooLong => Explanation::new("error-wildcards-long"),
        }
    }
}

impl Explain for FieldError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Unknown { field, .. } => {
                Explanation::new("error-field-unknown").with("field", field)
            }
            Self::Invalid { field, .. } => {
                Explanation::new("error-field-value").with("field", field)
            }
            Self::Together(_) => Explanation::new("error-settings"),
        }
    }
}
