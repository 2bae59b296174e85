//! Results of a fill, and how they are compared.

use std::sync::Arc;

use emberbrush_pipeline::picture::Picture;

use super::{
    document::Document,
    fill::{FillError, FillJob},
    layer::Variation,
    screen_image::{self, ScreenImage},
};

/// A result of a fill with all that is needed to show it.
#[derive(Debug, Clone)]
pub struct FillResult {
    job: Arc<FillJob>,
    index: u32,
    variation: Variation,
    /// What the screen shows with it.
    image: ScreenImage,
    /// The document that it was shown in.
    document: Document,
}

impl FillResult {
    /// Whether it is one for this document or another state of it.
    pub(super) fn is_of(&self, document: &Document) -> bool {
        Arc::ptr_eq(self.document.picture(), document.picture())
    }

    /// Picture `index` of a job on a document of which the screen shows `image`. Takes longer than a
    /// frame for large pictures.
    ///
    /// # Errors
    ///
    /// Where it does not fit the document any more.
    pub fn new(
        job: Arc<FillJob>,
        (document, image): (&Document, &ScreenImage),
        index: u32,
        picture: &Picture,
    ) -> Result<Self, FillError> {
        let variation = job.variation(index, picture)?;
        let accepted = job.accept(document, vec![variation.clone()], 0)?;
        let image = screen_image::after(image, document, &accepted);
        Ok(Self { job, index, variation, image, document: document.clone() })
    }
}

/// Results of a fill that are compared before one of them is accepted.
#[derive(Debug, Clone)]
pub struct Candidate {
    job: Arc<FillJob>,
    /// The numbers of the pictures in the job, in their order.
    indices: Vec<u32>,
    variations: Vec<Variation>,
    /// What the screen shows with each of them.
    images: Vec<ScreenImage>,
    chosen: usize,
    /// The document that they are shown in.
    document: Document,
}

impl Candidate {
    /// All results so far.
    pub fn variations(&self) -> &[Variation] {
        &self.variations
    }

    /// Which one is shown, from 0.
    pub fn chosen(&self) -> usize {
        self.chosen
    }

    /// The job that they come from.
    pub fn job(&self) -> &Arc<FillJob> {
        &self.job
    }

    /// Adds a result, which takes the place of all where it is of another job.
    pub(super) fn with(candidate: Option<Self>, result: FillResult) -> Self {
        let FillResult { job, index, variation, image, document } = result;
        let mut candidate =
            candidate.filter(|candidate| Arc::ptr_eq(&candidate.job, &job)).unwrap_or(Self {
                job,
                indices: Vec::new(),
                variations: Vec::new(),
                images: Vec::new(),
                chosen: 0,
                document,
            });
        // They are worked out beside each other, and so may come in any order.
        let place = candidate.indices.partition_point(|&earlier| earlier < index);
        if candidate.chosen > 0 && place <= candidate.chosen {
            candidate.chosen += 1;
        }
        candidate.indices.insert(place, index);
        candidate.variations.insert(place, variation);
        candidate.images.insert(place, image);
        candidate
    }

    /// Shows another one.
    pub(super) fn choose(&mut self, index: usize) {
        self.chosen = index.min(self.variations.len().saturating_sub(1));
    }

    /// What the screen shows with the chosen one.
    pub(super) fn image(&self) -> Option<&ScreenImage> {
        self.images.get(self.chosen)
    }

    /// The document with all of them, and what the screen shows of it where that is known.
    ///
    /// # Errors
    ///
    /// Where they do not fit the document any more.
    pub(super) fn accept(
        self,
        document: &Document,
    ) -> Result<(Document, Option<ScreenImage>), FillError> {
        let is_known = self.document.shows_the_same(document);
        let image = self.image().filter(|_| is_known).cloned();
        let accepted = self.job.accept(document, self.variations, self.chosen)?;
        let image = image.filter(|_| Arc::ptr_eq(accepted.picture(), document.picture()));
        Ok((accepted, image))
    }
}
