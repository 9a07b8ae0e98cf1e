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
}

impl App {
    pub(crate) fn new(models: Models, settings: Settings) -> Self {
        App { models, settings, responses: Stored::default(), is_stopping: AtomicBool::new(false) }
    }

    /// From now on, nothing new is begun.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}
