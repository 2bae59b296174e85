//! Undo and redo for anything that can be copied.

/// The states before and after the present one.
#[derive(Debug, Clone)]
pub struct Timeline<T> {
    past: Vec<T>,
    future: Vec<T>,
    /// What the last change was to: further changes to it join that step.
    last: Option<&'static str>,
}

/// The most states that are kept.
const MAX_STATES: usize = 200;

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self { past: Vec::new(), future: Vec::new(), last: None }
    }
}

impl<T: Clone + PartialEq> Timeline<T> {
    /// Notes that `before` was changed. Changes to the same `subject` in a row are one step, so
    /// that one undo takes back a dragged number or a typed word.
    pub fn changed(&mut self, before: &T, subject: &'static str) {
        self.future.clear();
        if self.last.replace(subject) == Some(subject) && !self.past.is_empty() {
            return;
        }
        self.past.push(before.clone());
        if self.past.len() > MAX_STATES {
            self.past.remove(0);
        }
    }

    /// The next change is a step of its own.
    pub fn end_step(&mut self) {
        self.last = None;
    }

    /// Whether there is something to undo.
    pub fn can_undo(&self) -> bool {
        !self.past.is_empty()
    }

    /// Whether there is something to redo.
    pub fn can_redo(&self) -> bool {
        !self.future.is_empty()
    }

    /// Goes back by one step.
    pub fn undo(&mut self, present: &mut T) {
        if let Some(before) = self.past.pop() {
            self.future.push(std::mem::replace(present, before));
            self.last = None;
        }
    }

    /// Goes forward by one step.
    pub fn redo(&mut self, present: &mut T) {
        if let Some(after) = self.future.pop() {
            self.past.push(std::mem::replace(present, after));
            self.last = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_back_and_forth() {
        let mut timeline = Timeline::default();
        let mut value = 0;
        for (next, subject) in [(1, "a"), (2, "a"), (3, "b")] {
            timeline.changed(&value, subject);
            value = next;
        }
        timeline.end_step();
        timeline.changed(&value, "b");
        value = 4;
        let mut seen = Vec::new();
        while timeline.can_undo() {
            timeline.undo(&mut value);
            seen.push(value);
        }
        assert_eq!(seen, [3, 2, 0]);
        timeline.redo(&mut value);
        timeline.redo(&mut value);
        assert_eq!(value, 3);
        timeline.changed(&value, "c");
        assert!(!timeline.can_redo());
    }

    #[test]
    fn old_states_are_dropped() {
        let mut timeline = Timeline::default();
        for value in 0..2 * MAX_STATES {
            timeline.end_step();
            timeline.changed(&value, "a");
        }
        assert_eq!(timeline.past.len(), MAX_STATES);
    }
}
