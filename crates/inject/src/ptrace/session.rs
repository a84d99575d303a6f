//! A stop held by an OS thread of its own.
//!
//! ptrace requests must come from the thread that seized. A session's thread lives exactly as long as the stop, so a
//! [`crate::Target`] can move between threads, and the kernel cleans up after any failure.

use super::Stop;
use crate::Result;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce(&mut Option<Stop>) + Send>;

/// A process held stopped.
#[derive(Debug)]
pub struct Session {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Starts the thread and makes the stop on it.
    pub fn start(make: impl FnOnce() -> Result<Stop> + Send + 'static) -> Result<Session> {
        let (jobs, inbox) = channel::<Job>();
        let thread = std::thread::Builder::new()
            .name("stylet-ptrace".into())
            .spawn(move || {
                let mut stop = None;
                for job in inbox {
                    job(&mut stop);
                }
                drop(stop);
            })
            .map_err(|source| crate::Error::Sys { pid: 0, call: "pthread_create", source })?;
        let session = Session { jobs: Some(jobs), thread: Some(thread) };
        session.run(move |slot| make().map(|stop| *slot = Some(stop)))?;
        Ok(session)
    }

    /// Runs `work` on the session's thread and gives back what it returns. The stop is there unless `work` took it.
    pub fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Option<Stop>) -> R + Send + 'static,
    ) -> R {
        let (reply, result) = channel();
        let job: Job = Box::new(move |stop| {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(stop)));
            let _ = reply.send(outcome);
        });
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
        match result.recv() {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("the session's thread answers every job"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
