//! Adapters from files to a model.

use std::path::PathBuf;
use std::sync::Arc;

use bantam_model::{Adapter, BaseCheck};
use bantam_tensor::format::adapter::AdapterFile;

use crate::{LoadError, Loaded};

/// An adapter that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedAdapter {
    /// A PEFT or MLX folder, or a GGUF file.
    pub path: PathBuf,
    /// What its effect is multiplied with; 1 as it was trained.
    pub scale: f32,
}

/// Positions of the context that an adapter takes before the first token.
pub fn virtual_tokens(adapter: Option<&Arc<Adapter>>) -> usize {
    adapter.map_or(0, |adapter| adapter.virtual_tokens())
}

impl Loaded {
    /// Adapters for this model, added up; none if none is wanted.
    ///
    /// # Errors
    ///
    /// Files that hold no adapter, or one that does not fit the model or was made for another.
    pub fn adapter(
        &self,
        wanted: &[WantedAdapter],
        check: BaseCheck,
    ) -> Result<Option<Arc<Adapter>>, LoadError> {
        let bound = wanted.iter().map(|one| {
            let file = AdapterFile::open(&one.path)?;
            let bound = Adapter::bind(&file, &self.model, check);
            let adapter = bound.map_err(|error| LoadError::Adapter { path: one.path.clone(), error })?;
            Ok((adapter, one.scale))
        });
        let bound = bound.collect::<Result<Vec<_>, LoadError>>()?;
        if bound.is_empty() {
            return Ok(None);
        }
        let parts: Vec<_> = bound.iter().map(|(adapter, scale)| (adapter, *scale)).collect();
        let sum = Adapter::sum(&parts).and_then(Adapter::for_running);
        Ok(Some(Arc::new(sum.map_err(LoadError::Adapters)?)))
    }
}
