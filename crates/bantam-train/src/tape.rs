//! The tape: values of every step of a forward pass, each with the way back.
//!
//! A node can only be recorded together with its [`Derivative`], so there is no primitive without one: a
//! new one in [`bantam_model::Ops`] does not compile here until its derivative is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use bantam_model::rope::Rope;
use bantam_model::weights::Vector;
use bantam_model::{Adapter, Batch, Machine};

use crate::Error;
use crate::angles::Angles;

/// A handle to rows of activations on a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var(usize);

/// Rows of activations, `[rows][width]`.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) data: Vec<f32>,
    pub(crate) width: usize,
}

impl Rows {
    /// Zeros.
    pub(crate) fn new(rows: usize, width: usize) -> Self {
        Rows { data: vec![0.0; rows * width], width }
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.data.len() / self.width
    }
}

/// The way back through one node.
pub(crate) trait Derivative {
    /// Adds to the gradients of everything that the node was made from.
    fn backward(&self, at: &Step<'_>, sink: &mut Sink);
}

/// A node on the way back.
pub(crate) struct Step<'a> {
    pub(crate) machine: &'a Machine,
    /// What the node gave.
    pub(crate) y: &'a Rows,
    /// The gradient of what it gave, as long.
    pub(crate) dy: &'a [f32],
    earlier: &'a [Node],
}

impl<'a> Step<'a> {
    /// What an earlier node gave.
    pub(crate) fn rows(&self, var: Var) -> &'a Rows {
        &self.earlier[var.0].rows
    }
}

/// Gradients in the making. Contributions are added in the order of the way back, by one thread.
pub(crate) struct Sink {
    activations: Vec<Vec<f32>>,
    weights: BTreeMap<String, Vec<f32>>,
}

impl Sink {
    /// The gradient of an activation, to be added to.
    pub(crate) fn of(&mut self, at: &Step<'_>, var: Var) -> &mut [f32] {
        let gradient = &mut self.activations[var.0];
        gradient.resize(at.rows(var).data.len(), 0.0);
        gradient
    }

    /// The gradient of a tensor, to be added to.
    pub(crate) fn of_tensor(&mut self, name: &str, len: usize) -> &mut [f32] {
        let gradient = self.weights.entry(name.to_owned()).or_default();
        gradient.resize(len, 0.0);
        gradient
    }

    /// Adds the gradient of a vector to those of the tensors that it was put together from.
    pub(crate) fn add_to_vector(&mut self, vector: &Vector, gradient: &[f32]) {
        let each = gradient.len() / vector.names.len().max(1);
        for (name, part) in vector.names.iter().zip(gradient.chunks_exact(each)) {
            for (sum, x) in self.of_tensor(name, each).iter_mut().zip(part) {
                *sum += x;
            }
        }
    }
}

struct Node {
    rows: Rows,
    derivative: Box<dyn Derivative>,
}

/// Records a forward pass of one batch whose sequences all begin at position 0.
///
/// Products are exact: in f32, from exactly dequantised weights.
pub struct Tape<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) batch: &'a Batch,
    pub(crate) angles: Vec<Arc<Angles>>,
    /// The one that all spans share.
    pub(crate) adapter: Option<&'a Adapter>,
    nodes: Vec<Node>,
    /// The first layer whose output was not finite.
    pub(crate) fault: Option<usize>,
}

impl<'a> Tape<'a> {
    /// An empty tape. Tokens are taken as they are; [`Batch::check`] says whether a model has them.
    ///
    /// # Errors
    ///
    /// [`Error::Continued`] where a span does not begin at position 0; [`Error::AdaptersDiffer`] where spans have
    /// different adapters.
    pub fn new(machine: &'a Machine, batch: &'a Batch) -> Result<Self, Error> {
        if let Some((span, found)) = batch.spans.iter().enumerate().find(|(_, span)| span.position != 0) {
            return Err(Error::Continued { span, position: found.position });
        }
        let adapter = batch.spans.first().and_then(|span| span.adapter);
        if let Some(span) = batch.spans.iter().position(|span| span.adapter != adapter) {
            return Err(Error::AdaptersDiffer { span });
        }
        let adapter = adapter.map(|place| &*batch.adapters[place]);
        Ok(Tape { machine, batch, adapter, angles: Vec::new(), nodes: Vec::new(), fault: None })
    }

    /// What was recorded, row after row.
    pub fn values(&self, var: Var) -> &[f32] {
        &self.rows(var).data
    }

    /// Goes back from `y`, whose gradient is `dy`, to the weights: their gradients by the names of the
    /// tensors, in the layout of the tensors. What `y` does not depend on has no entry.
    ///
    /// # Panics
    ///
    /// If `dy` is not as long as `y`.
    pub fn backward(mut self, y: Var, dy: Vec<f32>) -> BTreeMap<String, Vec<f32>> {
        assert_eq!(dy.len(), self.values(y).len(), "a gradient for each number");
        self.nodes.truncate(y.0 + 1);
        let mut sink = Sink { activations: vec![Vec::new(); y.0 + 1], weights: BTreeMap::new() };
        sink.activations[y.0] = dy;
        while let (Some(node), Some(dy)) = (self.nodes.pop(), sink.activations.pop()) {
            // Nothing that leads to `y` was made from a node that has no gradient by now.
            if !dy.is_empty() {
                let at = Step { machine: self.machine, y: &node.rows, dy: &dy, earlier: &self.nodes };
                node.derivative.backward(&at, &mut sink);
            }
        }
        sink.weights
    }

    /// Puts a node at the end.
    pub(crate) fn record(&mut self, rows: Rows, derivative: impl Derivative + 'static) -> Var {
        self.nodes.push(Node { rows, derivative: Box::new(derivative) });
        Var(self.nodes.len() - 1)
    }

    pub(crate) fn rows(&self, var: Var) -> &Rows {
        &self.nodes[var.0].rows
    }

    /// The angles by which a rope turns the batch's rows.
    pub(crate) fn angles(&mut self, rope: &Rope) -> Arc<Angles> {
        if let Some(found) = self.angles.iter().find(|angles| angles.rope == *rope) {
            return Arc::clone(found);
        }
        let angles = Arc::new(Angles::new(rope, self.batch));
        self.angles.push(Arc::clone(&angles));
        angles
    }
}
