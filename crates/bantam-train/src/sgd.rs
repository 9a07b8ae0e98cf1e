//! Plain gradient descent on weights in f32.

use bantam_model::Model;

use crate::parameters::update;
use crate::{Error, Gradients, Wanted};

/// A copy of a model whose matrices are f32 in memory of its own, exactly dequantised.
///
/// # Errors
///
/// A matrix that is too large for f32 in memory.
pub fn trainable(model: &Model) -> Result<Model, Error> {
    let mut model = model.clone();
    update(&mut model, None, &Wanted::All, |_, _| Ok(()))?;
    Ok(model)
}

/// One step of descent, `w -= rate * gradient` for every weight. Matrices that are not yet f32 become it.
///
/// # Errors
///
/// [`Error::MissingGradient`] where the gradients are of another model; the model is unchanged then.
pub fn descend(model: &mut Model, gradients: &Gradients, rate: f32) -> Result<(), Error> {
    let mut next = model.clone();
    update(&mut next, None, &Wanted::All, |parameter, values| {
        let found = gradients.of.get(&parameter.name).filter(|of| of.len() == values.len());
        let Some(gradient) = found else {
            return Err(Error::MissingGradient { name: parameter.name.clone(), wanted: values.len() });
        };
        for (value, gradient) in values.iter_mut().zip(gradient) {
            *value -= rate * gradient;
        }
        Ok(())
    })?;
    *model = next;
    Ok(())
}
