//! How a prefix begins: with the keys and values of tokens, as the model reads them.

use bantam_model::{Adapter, Batch, KvPrefix, KvPrefixLayer, Machine, Model, Numerics, Want, forward};

use crate::tape::Tape;
use crate::{Error, Wanted};

/// An adapter for prefix tuning (Li and Liang, 2021) with a virtual token for each of these tokens. Before its first step
/// it is as if every sequence began with them. Numbers drawn by chance teach less, and slower.
///
/// # Errors
///
/// No tokens, or such that the model does not have; activations that are no longer numbers.
pub fn prefix_of(machine: &Machine, model: &Model, tokens: &[u32]) -> Result<Adapter, Error> {
    if tokens.is_empty() {
        return Err(Error::Setting { name: "virtual tokens", reason: "are none; wanted some".into() });
    }
    let mut batch = Batch::default();
    batch.push(tokens, 0, tokens.len(), Want::Nothing);
    batch.check(model)?;
    let mut tape = Tape::new(machine, &batch, &Wanted::Nothing)?;
    (tape.numerics, tape.attended) = (Numerics::Exact, Some(Vec::new()));
    let mut x = forward::embed(&mut tape, model);
    for layer in 0..model.description.layers.len() {
        x = forward::layer(&mut tape, model, layer, x);
    }
    if let Some(layer) = tape.fault {
        let layers = model.description.layers.len();
        return Err(bantam_model::Error::NotFinite { what: "NaN or infinity", layer, layers }.into());
    }
    let layers = tape.attended.take().into_iter().flatten().enumerate();
    let layers = layers
        .map(|(layer, [keys, values])| KvPrefixLayer::new(layer, keys.len() / tokens.len(), &keys, &values));
    let prefix = KvPrefix { layers: layers.collect::<Result<_, _>>()? };
    let adapter = Adapter { prefix: Some(prefix), ..Adapter::default() };
    adapter.check(model)?;
    Ok(adapter)
}
