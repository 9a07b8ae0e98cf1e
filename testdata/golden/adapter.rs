//! An adapter of the tiny models, included by the tests of several crates.

use bantam_model::Model;
use bantam_tensor::Tensor;
use bantam_tensor::format::adapter::{AdapterFile, AdapterForm, AdapterPair};
use bantam_tensor::kernels::matmul::Layout;

/// An adapter that changes all projections of a model's first layer, another one for each seed.
pub(crate) fn of_first_layer(model: &Model, seed: usize) -> AdapterFile {
    // A tied head has no name of its own.
    let table = model.weights.embed.tensor.name();
    let first = model.linears().filter(|linear| linear.site.layer == 0);
    let pairs = first.filter(|linear| linear.matrix.tensor.name() != table).map(|linear| {
        let name = linear.matrix.tensor.name();
        let tensor = |rows: usize, cols: usize| {
            let value = |i: usize| ((i * 7 + seed * 13) % 17) as f32 / 40.0 - 0.2;
            let values: Vec<f32> = (0..rows * cols).map(value).collect();
            Tensor::from_f32(name, vec![rows, cols], &values).unwrap()
        };
        AdapterPair {
            module: name.strip_suffix(".weight").unwrap().into(),
            a: tensor(3, linear.matrix.inputs),
            b: tensor(linear.matrix.outputs, 3),
            scale: 1.5,
            magnitude: None,
        }
    });
    AdapterFile {
        form: AdapterForm::Peft,
        pairs: pairs.collect(),
        prefix: None,
        fingerprint: None,
        base_name: None,
        architecture: None,
        base_layout: Layout::OutIn,
    }
}
