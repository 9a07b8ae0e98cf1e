//! Adapters by their names: each belongs to a model, is opened with its first request, and mixed with others in the
//! same steps.
//!
//! Requests with the same adapters at the same scales share one `Arc`, by which the engine knows them to be alike.

use std::sync::{Arc, PoisonError};

use bantam_engine::Adapter;
use tokio::task::spawn_blocking;

use crate::fault::broken;
use crate::fault::{Fault, Kind};
use crate::limits::{ADAPTER_MIXES_MAX, ADAPTERS_MAX};
use crate::memory::bytes;
use crate::models::loading::{Reserved, blocking};
use crate::models::{Core, Model, Models, Shared};
use crate::names::{AdapterName, AdapterPart, NamedAdapter, are_same};

impl Models {
    /// All adapters, in the order of their coming.
    pub(crate) fn adapters(&self) -> Vec<NamedAdapter> {
        self.0.adapters().clone()
    }

    /// Takes in one more, and opens it, so that what is wrong with it is told now.
    ///
    /// # Errors
    ///
    /// A name that is taken, a model that is not there, an adapter that does not fit it.
    pub(crate) async fn add_adapter(&self, adapter: NamedAdapter) -> Result<(), Fault> {
        if self.0.resolve(Some(&adapter.name)).is_some() {
            let message = format!("the name `{}` is taken: unload what has it first", adapter.name);
            return Err(Fault::field("lora_name", message));
        }
        if self.0.adapters().len() >= ADAPTERS_MAX {
            return Err(Fault::invalid(format!(
                "there are {ADAPTERS_MAX} adapters, which is as many as can be"
            )));
        }
        let model = self.open_name(adapter.model.as_deref()).await?;
        let part = AdapterPart { place: adapter.place.clone(), scale: 1.0 };
        // The file may be another one than when this place was last opened.
        model.forget_adapter(&adapter.place);
        self.0.adapter(&model, vec![part]).await?;
        let model = Some(model.served.name.clone());
        self.0.adapters().push(NamedAdapter { model, ..adapter });
        Ok(())
    }

    /// Forgets an adapter; requests on their way keep theirs.
    ///
    /// # Errors
    ///
    /// A name that no adapter has.
    pub(crate) fn remove_adapter(&self, name: &str) -> Result<(), Fault> {
        let mut adapters = self.0.adapters();
        let place = adapters.iter().position(|adapter| are_same(&adapter.name, name));
        let place = place.ok_or_else(|| no_adapter(name))?;
        let gone = adapters.remove(place);
        drop(adapters);
        self.0.shelf().residents().for_each(|resident| resident.core.forget_adapter(&gone.place));
        Ok(())
    }
}

impl Shared {
    /// The model with adapters.
    pub(super) async fn adapted(
        self: &Arc<Self>,
        model: Arc<Model>,
        wanted: &[(AdapterName, f32)],
    ) -> Result<Arc<Model>, Fault> {
        let found = self.parts(&model.served.name, wanted)?;
        let name = match found.as_slice() {
            [] => return Ok(model),
            [(name, _)] => name.clone(),
            _ => model.name.clone(),
        };
        let parts = found.into_iter().map(|(_, part)| part).collect();
        let adapter = self.adapter(&model, parts).await?;
        Ok(Arc::new(model.with(name, adapter)))
    }

    /// The adapters of a model that are meant, with their names; what counts for nothing is left out.
    fn parts(&self, model: &str, wanted: &[(AdapterName, f32)]) -> Result<Vec<(String, AdapterPart)>, Fault> {
        let adapters = self.adapters();
        let own =
            adapters.iter().filter(|adapter| adapter.model.as_deref().is_some_and(|m| are_same(m, model)));
        let own: Vec<&NamedAdapter> = own.collect();
        let mut parts = Vec::new();
        for (name, scale) in wanted.iter().filter(|(_, scale)| *scale != 0.0) {
            let found = match name {
                AdapterName::Number(number) => own.get(*number),
                AdapterName::Name(name) => own.iter().find(|adapter| are_same(&adapter.name, name)),
            };
            let found = found.ok_or_else(|| no_adapter(&name.to_string()))?;
            parts.push((found.name.clone(), AdapterPart { place: found.place.clone(), scale: *scale }));
        }
        Ok(parts)
    }

    /// An adapter of a model that is in use, opened when it is wanted first.
    async fn adapter(
        self: &Arc<Self>,
        model: &Arc<Model>,
        parts: Vec<AdapterPart>,
    ) -> Result<Arc<Adapter>, Fault> {
        if let Some(adapter) = model.opened_adapter(&parts) {
            return Ok(adapter);
        }
        let turn = Arc::clone(&self.loading).lock_owned().await;
        if let Some(adapter) = model.opened_adapter(&parts) {
            return Ok(adapter);
        }
        let (shared, wanted) = (Arc::clone(self), parts.clone());
        let bytes = blocking(move || {
            wanted.iter().try_fold(0_u64, |sum, part| {
                Ok(sum.saturating_add(shared.library.adapter_bytes(&part.place)?))
            })
        });
        let bytes = bytes.await?;
        let reserved = self.room_beside(bytes).await?;
        let (shared, model) = (Arc::clone(self), Arc::clone(model));
        let open = tokio::spawn(async move {
            let _turn = turn;
            let (of, wanted) = (Arc::clone(&model), parts.clone());
            let adapter = blocking(move || of.served.generator.adapter(&wanted)).await?;
            shared.shelf().adapt(&model.core, &adapter, bytes);
            model.keep_adapter(parts, &adapter);
            drop(reserved);
            Ok(adapter)
        });
        open.await.map_err(|_| broken("opening the adapter broke off"))?
    }

    /// Sets memory aside beside what is in use, for which others go that are not.
    async fn room_beside(self: &Arc<Self>, wanted: u64) -> Result<Reserved, Fault> {
        loop {
            let gone = {
                let mut shelf = self.shelf();
                let room = self.memory_max.saturating_sub(shelf.used_bytes());
                if wanted <= room {
                    shelf.moving_bytes = shelf.moving_bytes.saturating_add(wanted);
                    return Ok(Reserved::new(self, wanted));
                }
                shelf.take_idle().ok_or_else(|| no_room(wanted, room))
            };
            let gone = self.gone(gone?);
            drop(spawn_blocking(move || drop(gone)).await);
        }
    }
}

impl Core {
    fn opened_adapter(&self, parts: &[AdapterPart]) -> Option<Arc<Adapter>> {
        let adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        adapters.iter().find(|(of, _)| of == parts).map(|(_, adapter)| Arc::clone(adapter))
    }

    fn keep_adapter(&self, parts: Vec<AdapterPart>, adapter: &Arc<Adapter>) {
        let mut adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        if adapters.len() >= ADAPTER_MIXES_MAX {
            adapters.remove(0);
        }
        adapters.push((parts, Arc::clone(adapter)));
    }

    fn forget_adapter(&self, place: &str) {
        let mut adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        adapters.retain(|(parts, _)| parts.iter().all(|part| part.place != place));
    }
}

fn no_adapter(name: &str) -> Fault {
    let message = format!("adapter `{name}` not found");
    Fault {
        param: Some("adapter".into()),
        code: Some("model_not_found"),
        ..Fault::new(Kind::NotFound, message)
    }
}

fn no_room(wanted: u64, room: u64) -> Fault {
    let message = format!("the adapter takes {}, and {} are left of the budget", bytes(wanted), bytes(room));
    Fault { code: Some("out_of_memory"), ..Fault::new(Kind::Memory, message) }
}
