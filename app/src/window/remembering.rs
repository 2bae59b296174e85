//! What changed, written to the data folder.

use super::{
    application::Window,
    grid::{PendingSheet, SHEETS},
    place::ModelState,
    preferences::Preferences,
    session::{PREFERENCES, QUEUE, SESSION, Session},
};

/// What was last written.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    pub(super) session: Session,
    pub(super) preferences: Preferences,
    pub(super) queue: (u64, bool, bool),
    pub(super) sheets: Vec<PendingSheet>,
}

impl Window {
    /// Writes what changed since it was last written.
    pub(super) fn remember(&mut self) {
        let is_chosen = self.session.settings.is_some()
            || matches!(self.model, ModelState::Ready(_))
            || !self.settings.prompt.is_empty();
        if is_chosen {
            self.session.settings = Some(self.settings.clone());
        }
        if self.session != self.written.session {
            self.journal.write(SESSION, &self.session);
            self.written.session = self.session.clone();
        }
        if self.preferences != self.written.preferences {
            self.journal.write(PREFERENCES, &self.preferences);
            self.written.preferences = self.preferences.clone();
        }
        if self.queue.revision() != self.written.queue {
            self.journal.write(QUEUE, &self.queue.for_journal());
            self.written.queue = self.queue.revision();
        }
        if self.sheets.pending() != self.written.sheets {
            self.written.sheets = self.sheets.pending().to_vec();
            self.journal.write(SHEETS, &self.written.sheets);
        }
        if let Some(failure) = self.journal.take_failure() {
            self.tell_error(failure);
        }
    }
}
