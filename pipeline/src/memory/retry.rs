//! Going on with less after a device had no memory left.

use std::panic::{self, AssertUnwindSafe};

use super::{MemorySettings, StepDown};
use crate::error::PipelineError;

/// What drivers and burn's backends say when an allocation fails: cubecl's `IoError` and
/// `LaunchError`, and wgpu's `Error::OutOfMemory`.
const ALLOCATION_FAILURES: [&str; 5] = [
    "out of device memory",
    "out-of-memory",
    "out of memory",
    "can't allocate buffer",
    "not enough memory left",
];

/// Whether a message tells of an allocation that failed on a device.
pub fn is_allocation_failure(message: &str) -> bool {
    let message = message.to_lowercase();
    ALLOCATION_FAILURES.iter().any(|failure| message.contains(failure))
}

/// Makes `attempt` with `settings` and, each time that the device has no memory left for it, again
/// with settings one step smaller, which `on_step` is told. Backends report failed allocations as
/// errors or as panics; both are understood.
///
/// # Errors
///
/// Any other error of `attempt`, and the last one where nothing smaller is left.
pub fn retry_with_less<T>(
    settings: &mut MemorySettings,
    on_step: &mut dyn FnMut(StepDown),
    mut attempt: impl FnMut(&MemorySettings) -> Result<T, PipelineError>,
) -> Result<T, PipelineError> {
    loop {
        let error = match panic::catch_unwind(AssertUnwindSafe(|| attempt(settings))) {
            Ok(Ok(made)) => return Ok(made),
            Ok(Err(error)) if is_allocation_failure(&error.to_string()) => error,
            Ok(Err(error)) => return Err(error),
            Err(payload) => {
                let message = payload
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| payload.downcast_ref::<&str>().copied())
                    .unwrap_or_default();
                if !is_allocation_failure(message) {
                    panic::resume_unwind(payload);
                }
                PipelineError::OutOfDeviceMemory { reason: message.to_owned() }
            }
        };
        let Some((step, smaller)) = settings.smaller().next() else { return Err(error) };
        *settings = smaller;
        on_step(step);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use emberbrush_layers::interrupt::Cancelled;

    use super::*;
    use crate::memory::TextEncoderUse;

    fn execution(reason: &str) -> PipelineError {
        PipelineError::Execution { device: "wgpu:0".to_owned(), reason: reason.to_owned() }
    }

    #[test]
    fn each_failure_takes_one_step_and_the_job_is_made() {
        let mut settings = MemorySettings { batch: 4, ..MemorySettings::FULL };
        let mut steps = Vec::new();
        let mut attempts = 0;
        let made = retry_with_less(&mut settings, &mut |step| steps.push(step), |settings| {
            attempts += 1;
            match attempts {
                1 => Err(execution("out of device memory allocating 4194304 bytes")),
                2 => panic!("wgpu error: Out of Memory"),
                3 => panic!("{}", format!("can't allocate buffer of size: {}", 7)),
                _ => Ok(*settings),
            }
        });
        assert_eq!(made.unwrap(), settings);
        assert_eq!(
            steps,
            [
                StepDown::TiledVae { tile: 512 },
                StepDown::TiledVae { tile: 256 },
                StepDown::SmallerBatch { batch: 2 },
            ]
        );
    }

    #[test]
    fn with_nothing_smaller_left_the_error_comes_through() {
        let mut settings = MemorySettings::FULL;
        let mut steps = 0;
        let made: Result<(), _> = retry_with_less(&mut settings, &mut |_| steps += 1, |_| {
            Err(execution("out of device memory allocating 4194304 bytes"))
        });
        assert!(made.unwrap_err().to_string().contains("4194304"));
        assert_eq!(steps, 4);
        assert_eq!(settings.text_encoder, TextEncoderUse::DropAfterEncoding);
    }

    #[test]
    fn other_errors_are_not_tried_again() {
        let mut attempts = 0;
        let made: Result<(), _> =
            retry_with_less(&mut MemorySettings::FULL.clone(), &mut |_| {}, |_| {
                attempts += 1;
                Err(Cancelled.into())
            });
        assert!(matches!(made, Err(PipelineError::Cancelled(_))));
        assert_eq!(attempts, 1);
        let panicked = panic::catch_unwind(|| {
            retry_with_less::<()>(&mut MemorySettings::FULL.clone(), &mut |_| {}, |_| {
                panic!("index out of bounds")
            })
        });
        assert!(panicked.is_err());
    }
}
