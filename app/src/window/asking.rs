//! A question for a file or a folder that a person is answering while the window goes on.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, TryRecvError, channel},
    thread,
};

use egui::Context;

use super::{application::Window, dialogs::Question};
use crate::failure::Failure;

type Then = Box<dyn FnOnce(&mut Window, &Context, PathBuf)>;

/// A dialog that is open, and what its answer is for.
pub(super) struct Asked {
    answer: Receiver<Option<PathBuf>>,
    then: Then,
}

impl Window {
    /// Asks on a thread of its own, since the dialogs of the system come back only with the answer.
    /// `then` is done with what was chosen. While a dialog is open, nothing else is asked.
    pub(super) fn ask(
        &mut self,
        ctx: &Context,
        question: Question,
        then: impl FnOnce(&mut Self, &Context, PathBuf) + 'static,
    ) {
        if self.asked.is_some() {
            return;
        }
        let (sender, answer) = channel();
        let (dialogs, waker) = (self.dialogs.clone(), ctx.clone());
        let thread = thread::Builder::new().name("dialog".to_owned()).spawn(move || {
            // Nobody waits for it once the window is gone.
            let _ = sender.send(dialogs.ask(&question));
            waker.request_repaint();
        });
        match thread {
            Ok(_) => self.asked = Some(Asked { answer, then: Box::new(then) }),
            Err(error) => self.tell_error(Failure::of_thread(&error)),
        }
    }

    /// Takes the answer in, once there is one.
    pub(super) fn take_answer(&mut self, ctx: &Context) {
        let Some(asked) = self.asked.take() else { return };
        match asked.answer.try_recv() {
            Ok(Some(path)) => (asked.then)(self, ctx, path),
            Ok(None) | Err(TryRecvError::Disconnected) => {}
            Err(TryRecvError::Empty) => self.asked = Some(asked),
        }
    }
}
