//! Several pictures at once.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use emberbrush_layers::interrupt::Cancelled;

use super::{ControlPictures, Edited, PreparedRun, Sources, edit};
use crate::{
    diffusion::{DiffusionPipeline, GroupMember, SeededNoise},
    error::PipelineError,
    metadata::{AdapterHashes, BatchPlace},
    progress::ProgressEvent,
    request::GenerationRequest,
};

/// A picture of a group, finished or failed.
#[derive(Debug)]
pub struct GroupPicture {
    /// Its place in the group, from 0.
    pub place: usize,
    /// Where it was among the pictures that went through the UNet at once.
    pub batch: BatchPlace,
    /// The adapters that it was made with.
    pub adapter_hashes: AdapterHashes,
    /// How long it took: its share of the time for all of them, and its own.
    pub took: Duration,
    /// The picture.
    pub edited: Result<Edited, PipelineError>,
}

/// Makes the first image of each request. Several requests must have one
/// [`GroupShape`](crate::diffusion::GroupShape) and are denoised at once; where that fails, for
/// lack of memory say, in groups of half the size, down to one by one. Each picture is handed to
/// `on_picture` before the next is decoded.
///
/// # Errors
///
/// [`Cancelled`] where `on_event` breaks. Why single pictures failed is told to `on_picture`.
pub fn edit_group(
    pipeline: &mut DiffusionPipeline,
    group: &[(&GenerationRequest, Option<&Sources>)],
    on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
    on_picture: &mut dyn FnMut(GroupPicture),
) -> Result<(), Cancelled> {
    edit_from_place(pipeline, group, 0, on_event, on_picture)
}

fn edit_from_place(
    pipeline: &mut DiffusionPipeline,
    group: &[(&GenerationRequest, Option<&Sources>)],
    first: usize,
    on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
    on_picture: &mut dyn FnMut(GroupPicture),
) -> Result<(), Cancelled> {
    let started = Instant::now();
    if let [(request, sources)] = group {
        let edited = edit(pipeline, request, *sources, 0, on_event);
        let took = started.elapsed();
        return deliver(pipeline, request, first, BatchPlace::ALONE, took, edited, on_picture);
    }
    if group.is_empty() {
        return Ok(());
    }
    let device = pipeline.device().device.clone();
    let (first_request, first_sources) = group[0];
    let size = group.len();
    let prepared: Result<Option<Vec<PreparedRun<'_>>>, PipelineError> =
        group.iter().map(|(request, sources)| prepared_run(request, *sources)).collect();
    let latents = pipeline.within_memory(
        first_request,
        first_sources,
        size,
        on_event,
        |pipeline, settings, on_event| {
            let Ok(Some(prepared)) = &prepared else { return Ok(None) };
            if (settings.batch as usize) < size {
                return Ok(None);
            }
            let mut noise: Vec<_> =
                group.iter().map(|(request, _)| SeededNoise::new(request, 0, &device)).collect();
            let mut members: Vec<GroupMember<'_>> = group
                .iter()
                .zip(prepared)
                .zip(&mut noise)
                .map(|(((request, _), prepared), noise)| {
                    let input = prepared.input.as_ref();
                    GroupMember { request, input, control_maps: &prepared.control_maps, noise }
                })
                .collect();
            pipeline.generate_latents(&mut members, on_event).map(Some)
        },
    );
    let (latents, prepared) = match (latents, prepared) {
        (Ok(Some(latents)), Ok(Some(prepared))) => (latents, prepared),
        (Err(PipelineError::Cancelled(cancelled)), _) => return Err(cancelled),
        _ => {
            let (left, right) = group.split_at(size / 2);
            edit_from_place(pipeline, left, first, on_event, on_picture)?;
            return edit_from_place(pipeline, right, first + left.len(), on_event, on_picture);
        }
    };
    let share = started.elapsed() / group.len() as u32;
    for (place, prepared) in prepared.iter().enumerate() {
        let started = Instant::now();
        let image = pipeline.within_memory(
            first_request,
            first_sources,
            1,
            on_event,
            |pipeline, _, on_event| {
                let latents = latents.clone().narrow(0, place, 1);
                pipeline.decode_to_float(latents, &mut || on_event(ProgressEvent::Checkpoint))
            },
        );
        let edited = image.map(|image| prepared.finish(image));
        let batch = BatchPlace { size: group.len(), position: place };
        let took = share + started.elapsed();
        deliver(pipeline, group[place].0, first + place, batch, took, edited, on_picture)?;
    }
    Ok(())
}

fn prepared_run<'a>(
    request: &'a GenerationRequest,
    sources: Option<&'a Sources>,
) -> Result<Option<PreparedRun<'a>>, PipelineError> {
    PreparedRun::new(request, sources, &ControlPictures::read(request, sources)?)
}

fn deliver(
    pipeline: &DiffusionPipeline,
    request: &GenerationRequest,
    place: usize,
    batch: BatchPlace,
    took: Duration,
    edited: Result<Edited, PipelineError>,
    on_picture: &mut dyn FnMut(GroupPicture),
) -> Result<(), Cancelled> {
    if let Err(PipelineError::Cancelled(cancelled)) = edited {
        return Err(cancelled);
    }
    let adapter_hashes = pipeline.adapter_hashes(request);
    on_picture(GroupPicture { place, batch, adapter_hashes, took, edited });
    Ok(())
}
