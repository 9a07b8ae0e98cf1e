//! What a rope turns by.

use bantam_model::Batch;
use bantam_model::rope::Rope;

/// Cosines and sines of a rope for the batch's rows, `[rows][pairs]`.
pub(crate) struct Angles {
    pub(crate) rope: Rope,
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
    /// The sines of turning back.
    pub(crate) back: Vec<f32>,
}

impl Angles {
    pub(crate) fn new(rope: &Rope, batch: &Batch) -> Self {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for span in &batch.spans {
            let positions = span.position..span.position + span.rows.len();
            rope.angles(positions, span.length_max, &mut cos, &mut sin);
        }
        let back = sin.iter().map(|sin| -sin).collect();
        Angles { rope: rope.clone(), cos, sin, back }
    }
}
