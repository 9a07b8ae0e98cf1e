//! Ctrl-C: stops the work, not the program; a second one, while the first is not served yet, ends it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The exit code of a program that was stopped by Ctrl-C, as shells know it.
pub(crate) const EXIT_CODE: u8 = 130;

type Action = Box<dyn Fn() + Send>;

/// Whether Ctrl-C was pressed, and what happens then. Clones share both.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    pressed: Arc<AtomicBool>,
    action: Arc<Mutex<Option<Action>>>,
}

impl Interrupt {
    /// From now on, Ctrl-C sets the flag.
    pub(crate) fn install() -> Self {
        let interrupt = Interrupt::default();
        let handler = interrupt.clone();
        // Without a handler Ctrl-C ends the program at once, which is no worse than ending the work.
        let _ = ctrlc::set_handler(move || handler.press());
        interrupt
    }

    fn press(&self) {
        if self.pressed.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(EXIT_CODE));
        }
        if let Some(action) = &*self.action.lock().unwrap_or_else(PoisonError::into_inner) {
            action();
        }
    }

    /// What Ctrl-C also does, until [`Interrupt::serve`]; at once if it was pressed already.
    pub(crate) fn on_press(&self, action: impl Fn() + Send + 'static) {
        if self.is_pressed() {
            action();
        }
        *self.action.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(action));
    }

    /// Whether it was pressed since it was last served.
    pub(crate) fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::SeqCst)
    }

    /// The work has stopped; the next Ctrl-C is a new one. Says whether it was pressed.
    pub(crate) fn serve(&self) -> bool {
        *self.action.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.pressed.swap(false, Ordering::SeqCst)
    }
}

/// The work was stopped by Ctrl-C; with what there is to say of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Stopped(pub(crate) &'static str);
