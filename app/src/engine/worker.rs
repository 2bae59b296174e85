//! The thread of the engine.

use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use super::{Command, Engine, Event, Job, JobEnd, JobEvent, JobId, Setup};
use crate::failure::Failure;

/// The window's end of the engine.
#[derive(Debug)]
pub struct EngineHandle {
    commands: Sender<Command>,
    events: Receiver<Event>,
    /// The job that is to stop; 0 for none.
    cancelled: Arc<AtomicU64>,
}

impl EngineHandle {
    /// Starts the thread. `build` makes the engine on it, and again after a panic; `wake` is
    /// called after each event that a person can see.
    ///
    /// # Errors
    ///
    /// Where the system refuses the thread.
    pub fn start<E: Engine>(
        build: impl Fn() -> E + Send + 'static,
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (commands, command_queue) = channel();
        let (event_sink, events) = channel();
        let cancelled = Arc::new(AtomicU64::new(0));
        let worker = Worker {
            build,
            events: EventSink { sender: event_sink, wake },
            cancelled: Arc::clone(&cancelled),
        };
        thread::Builder::new().name("engine".to_owned()).spawn(move || {
            yield_to_the_window();
            worker.run(&command_queue);
        })?;
        Ok(Self { commands, events, cancelled })
    }

    /// Asks for something. Commands are done in order.
    pub fn send(&self, command: Command) {
        if let Command::Run(job) = &command {
            // A job that was stopped before runs again when it is asked for again.
            let _ =
                self.cancelled.compare_exchange(job.id.0, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        // The thread ends only with the program.
        let _ = self.commands.send(command);
    }

    /// Stops a job at its next block, if it runs.
    pub fn cancel(&self, job: JobId) {
        self.cancelled.store(job.0, Ordering::Relaxed);
    }

    /// The next event that has not been read.
    pub fn poll(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

/// Lowers the thread's priority, so that two cores still draw the window smoothly. Threads that it
/// starts inherit it.
fn yield_to_the_window() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(10);
}

struct EventSink<W> {
    sender: Sender<Event>,
    wake: W,
}

impl<W: Fn()> EventSink<W> {
    fn send(&self, event: Event) {
        // Nobody listens once the window is gone.
        let _ = self.sender.send(event);
        (self.wake)();
    }
}

struct Worker<B, W> {
    build: B,
    events: EventSink<W>,
    cancelled: Arc<AtomicU64>,
}

impl<E: Engine, B: Fn() -> E, W: Fn()> Worker<B, W> {
    fn run(self, commands: &Receiver<Command>) {
        let mut engine = (self.build)();
        let mut ready: Option<Setup> = None;
        while let Ok(command) = commands.recv() {
            let outcome = catch_unwind(AssertUnwindSafe(|| match &command {
                Command::Load(setup) => {
                    let _ = self.load(&mut engine, &mut ready, setup);
                }
                Command::Run(job) => {
                    let end = match self.load(&mut engine, &mut ready, &job.setup) {
                        Ok(()) => self.run_job(&mut engine, job),
                        Err(failure) => JobEnd::Failed(failure),
                    };
                    self.events.send(Event::Ended(job.id, end));
                }
                Command::ListDevices => self.events.send(Event::Devices(engine.devices())),
            }));
            if let Err(payload) = outcome {
                let failure = Failure::of_panic(payload.as_ref());
                // What the panic left half done may panic again when it is dropped.
                let broken = std::mem::replace(&mut engine, (self.build)());
                let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
                ready = None;
                match command {
                    Command::Load(setup) => {
                        self.events.send(Event::LoadFailed(setup.model, failure));
                    }
                    Command::Run(job) => {
                        self.events.send(Event::Ended(job.id, JobEnd::Failed(failure)));
                    }
                    Command::ListDevices => self.events.send(Event::Devices(Vec::new())),
                }
            }
        }
    }

    fn load(
        &self,
        engine: &mut E,
        ready: &mut Option<Setup>,
        setup: &Setup,
    ) -> Result<(), Failure> {
        if ready.as_ref() == Some(setup) {
            return Ok(());
        }
        *ready = None;
        self.events.send(Event::Loading(setup.model.clone()));
        match engine.load(setup) {
            Ok(loaded) => {
                *ready = Some(setup.clone());
                self.events.send(Event::Loaded(Arc::new(loaded)));
                Ok(())
            }
            Err(failure) => {
                self.events.send(Event::LoadFailed(setup.model.clone(), failure.clone()));
                Err(failure)
            }
        }
    }

    fn run_job(&self, engine: &mut E, job: &Job) -> JobEnd {
        engine.run(job, &mut |event| {
            if !matches!(event, JobEvent::Checkpoint) {
                self.events.send(Event::Job(job.id, event));
            }
            if self.cancelled.load(Ordering::Relaxed) == job.id.0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    }
}
