//! Stand-in for the kernels' products of the way back.
use bantam_model::Machine;
use bantam_tensor::kernels::matmul::{Layout, Weights, dequantize};

pub(crate) fn multiply_backward_input(machine: &Machine, weights: Weights<'_>, dy: &[f32], dx: &mut [f32]) {
    let mut w = vec![0.0; weights.inputs * weights.outputs];
    let across = if weights.layout == Layout::OutIn { weights.inputs } else { weights.outputs };
    let bytes = weights.bytes.len() / (w.len() / across);
    for (row, bytes) in w.chunks_exact_mut(across).zip(weights.bytes.chunks_exact(bytes)) {
        dequantize(machine.isa(), weights.storage, bytes, row);
    }
    for (dy, dx) in dy.chunks_exact(weights.outputs).zip(dx.chunks_exact_mut(weights.inputs)) {
        match weights.layout {
            Layout::OutIn => {
                for (w, dy) in w.chunks_exact(across).zip(dy) {
                    dx.iter_mut().zip(w).for_each(|(dx, w)| *dx += dy * w);
                }
            }
            Layout::InOut => {
                for (w, dx) in w.chunks_exact(across).zip(dx) {
                    *dx += w.iter().zip(dy).map(|(w, dy)| w * dy).sum::<f32>();
                }
            }
        }
    }
}

pub(crate) fn multiply_backward_weights(
    _machine: &Machine,
    layout: Layout,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    for (x, dy) in x.chunks_exact(inputs).zip(dy.chunks_exact(outputs)) {
        let (slow, fast) = if layout == Layout::OutIn { (dy, x) } else { (x, dy) };
        for (dw, slow) in dw.chunks_exact_mut(fast.len()).zip(slow) {
            dw.iter_mut().zip(fast).for_each(|(dw, fast)| *dw += slow * fast);
        }
    }
}
