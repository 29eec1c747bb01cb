//! A manager on a thread of its own.

use std::thread::{Builder, JoinHandle};

use crate::error::HostError;
use crate::server::Server;
use crate::stop::Stopper;

/// A [`Server`] that runs on a thread of its own, until it is stopped or this goes.
#[derive(Debug)]
pub struct Serving {
    stopper: Stopper,
    thread: Option<JoinHandle<Result<(), HostError>>>,
}

impl Server {
    /// Serves on a thread of its own.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub fn spawn(self) -> std::io::Result<Serving> {
        let stopper = self.stopper();
        let thread = Builder::new()
            .name("vidmm-manager".to_owned())
            .spawn(move || self.run())?;
        Ok(Serving {
            stopper,
            thread: Some(thread),
        })
    }
}

impl Serving {
    /// Stops it, and waits for its end. More than once is once.
    ///
    /// # Errors
    /// As [`Server::run`]; [`HostError::Panicked`].
    pub fn stop(&mut self) -> Result<(), HostError> {
        self.stopper.stop();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => Err(HostError::Panicked),
            None => Ok(()),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // Whoever wants to know how it ended stops it.
            let _ = thread.join();
        }
    }
}
