//! What all requests share.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::models::Models;
use crate::openai::responses::Stored;
use crate::settings::Settings;

/// What all requests share.
pub(crate) struct App {
    pub(crate) models: Models,
    pub(crate) settings: Settings,
    pub(crate) responses: Stored,
    is_stopping: AtomicBool,
    /// Whether the models are loaded that are to be there from the start.
    is_ready: AtomicBool,
}

impl App {
    pub(crate) fn new(models: Models, settings: Settings) -> Self {
        let is_ready = AtomicBool::new(settings.load_first.is_empty());
        let (responses, is_stopping) = (Stored::default(), AtomicBool::new(false));
        App { models, settings, responses, is_stopping, is_ready }
    }

    /// From now on, nothing new is begun.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// What is to be there from the start is there.
    pub(crate) fn begin(&self) {
        self.is_ready.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed) && !self.is_stopping()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}
