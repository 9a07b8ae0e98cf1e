//! What all requests share.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::conversation::Conversation;
use crate::limits::{CONVERSATIONS_BYTES_MAX, CONVERSATIONS_MAX, RESPONSES_BYTES_MAX, RESPONSES_MAX};
use crate::models::Models;
use crate::settings::Settings;
use crate::stored::{Entry, Stored};

/// What all requests share.
pub(crate) struct App {
    pub(crate) models: Models,
    pub(crate) settings: Settings,
    pub(crate) responses: Stored<Entry>,
    pub(crate) conversations: Stored<Conversation>,
    is_stopping: AtomicBool,
    /// Whether the models are loaded that are to be there from the start.
    is_ready: AtomicBool,
}

impl App {
    pub(crate) fn new(models: Models, settings: Settings) -> Self {
        let is_ready = AtomicBool::new(settings.load_first.is_empty());
        App {
            models,
            settings,
            responses: Stored::new(RESPONSES_MAX, RESPONSES_BYTES_MAX),
            conversations: Stored::new(CONVERSATIONS_MAX, CONVERSATIONS_BYTES_MAX),
            is_stopping: AtomicBool::new(false),
            is_ready,
        }
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
