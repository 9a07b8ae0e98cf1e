//! The tape: values of every step of a forward pass, each with the way back.
//!
//! A node can only be recorded together with its [`Derivative`], so there is no primitive without one: a
//! new one in [`bantam_model::Ops`] does not compile here until its derivative is written.
//!
//! A node keeps its values as long as the forward pass or a derivative reads them, and has a way back only where that
//! leads to something that learns.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bantam_model::rope::Rope;
use bantam_model::weights::Vector;
use bantam_model::{Adapter, Batch, Machine, Numerics};
use bantam_tensor::kernels::backward::Precision;
use bantam_tensor::kernels::matmul::{Form, Input, Rounded};

use crate::angles::Angles;
use crate::pool::Pool;
use crate::{Error, Wanted};

/// A handle to rows of activations on a tape. Whoever has it may read them; operations that take it in do away with
/// them.
#[derive(Debug, PartialEq, Eq)]
pub struct Var(pub(crate) Place);

/// Where a node stands on its tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// Rows of activations, `[rows][width]`.
pub(crate) struct Rows {
    pub(crate) data: Vec<f32>,
    pub(crate) width: usize,
}

impl Rows {
    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.data.len() / self.width
    }
}

/// The way back through one node.
pub(crate) trait Derivative {
    /// Adds to the gradients of everything that the node was made from; `dy` is the gradient of what it gave.
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>);
}

/// A node on the way back.
pub(crate) struct Step<'a> {
    pub(crate) machine: &'a Machine,
    /// What the node gave, if it was to be kept.
    pub(crate) y: &'a Rows,
    earlier: &'a [Node],
}

impl<'a> Step<'a> {
    /// What an earlier node gave, if it was to be kept.
    pub(crate) fn rows(&self, place: Place) -> &'a Rows {
        &self.earlier[place.0].rows
    }

    /// Whether the gradient of an earlier node is wanted.
    pub(crate) fn wants(&self, place: Place) -> bool {
        self.earlier[place.0].derivative.is_some()
    }
}

/// Gradients of tensors, by their names. A tensor that is used twice, such as a tied head, has one entry.
pub type TensorGradients = BTreeMap<String, Vec<f32>>;

/// Gradients in the making. Contributions are added in the order of the way back, by one thread.
pub(crate) struct Sink<'a> {
    pub(crate) pool: &'a mut Pool,
    activations: Vec<Option<Vec<f32>>>,
    tensors: &'a mut TensorGradients,
    leaf: Option<Vec<f32>>,
}

impl Sink<'_> {
    /// The gradient of a node, to be added to; none where it is not wanted.
    pub(crate) fn of(&mut self, at: &Step<'_>, place: Place) -> Option<&mut [f32]> {
        let node = &at.earlier[place.0];
        node.derivative.as_ref()?;
        let gradient = &mut self.activations[place.0];
        Some(gradient.get_or_insert_with(|| self.pool.zeros(node.len)))
    }

    /// Adds a whole buffer to the gradient of a node.
    pub(crate) fn give(&mut self, at: &Step<'_>, place: Place, gradient: Vec<f32>) {
        let node = &at.earlier[place.0];
        let known = &mut self.activations[place.0];
        match known {
            _ if node.derivative.is_none() => self.pool.put(gradient),
            None => *known = Some(gradient),
            Some(sum) => {
                bantam_tensor::kernels::elementwise::add_scaled(at.machine, sum, &gradient, 1.0);
                self.pool.put(gradient);
            }
        }
    }

    /// The gradient of a tensor, to be added to.
    pub(crate) fn of_tensor(&mut self, name: &str, len: usize) -> &mut [f32] {
        let gradient = self.tensors.entry(name.to_owned()).or_default();
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

/// Nodes that were lifted off a tape.
pub(crate) struct Recording {
    nodes: Vec<Node>,
    y: Place,
}

struct Node {
    rows: Rows,
    /// How many numbers it gave, whether they are still there or not.
    len: usize,
    /// Whether a derivative reads the values.
    kept: bool,
    /// None where nothing that led here learns.
    derivative: Option<Box<dyn Derivative>>,
}

/// What a derivative reads, and whether there is to be one.
#[derive(Clone, Copy)]
pub(crate) struct Needs<'a> {
    from: &'a [Place],
    keeps: &'a [Place],
    learns: bool,
    own: bool,
}

impl<'a> Needs<'a> {
    /// Of a node that was made from these.
    pub(crate) fn of(from: &'a [Place]) -> Self {
        Needs { from, keeps: &[], learns: false, own: false }
    }

    /// The derivative reads the values of these nodes.
    pub(crate) fn keeping(self, keeps: &'a [Place]) -> Self {
        Needs { keeps, ..self }
    }

    /// The derivative reads what the node itself gave.
    pub(crate) fn keeping_own(self) -> Self {
        Needs { own: true, ..self }
    }

    /// There is a way back in any case if a tensor of the node's own learns.
    pub(crate) fn learning(self, learns: bool) -> Self {
        Needs { learns, ..self }
    }
}

/// Records a forward pass of one batch whose sequences all begin at position 0, or behind their adapter's prefix.
/// Spans may continue each other.
pub struct Tape<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) batch: &'a Batch,
    pub(crate) wanted: &'a Wanted,
    pub(crate) numerics: Numerics,
    pub(crate) angles: Vec<Arc<Angles>>,
    /// Whether the gradients of an adapter are kept apart by spans.
    pub(crate) apart: bool,
    /// The one that all spans share.
    pub(crate) adapter: Option<&'a Adapter>,
    /// Keys and values of each layer, if they are asked for.
    pub(crate) attended: Option<Vec<[Vec<f32>; 2]>>,
    pub(crate) pool: Pool,
    /// A node's values rounded, which several products share.
    rounded: (Option<(Place, Form)>, Rounded),
    nodes: Vec<Node>,
    /// The first layer whose output was not finite.
    pub(crate) fault: Option<usize>,
}

impl<'a> Tape<'a> {
    /// An empty tape whose products are exact: in f32, from exactly dequantised weights. Tokens are taken as they are;
    /// [`Batch::check`] says whether a model has them.
    ///
    /// # Errors
    ///
    /// [`Error::Continued`] where a span does neither begin there nor continue another; [`Error::AdaptersDiffer`] where spans have
    /// different adapters.
    pub fn new(machine: &'a Machine, batch: &'a Batch, wanted: &'a Wanted) -> Result<Self, Error> {
        let adapter = batch.spans.first().and_then(|span| span.adapter);
        let wanted_position = adapter.map_or(0, |place| batch.adapters[place].virtual_tokens());
        // Those behind others begin where these end; the batch saw to that.
        let mut spans = batch.spans.iter().enumerate().filter(|(_, span)| span.behind.is_none());
        if let Some((span, found)) = spans.find(|(_, span)| span.position != wanted_position) {
            return Err(Error::Continued { span, position: found.position, wanted: wanted_position });
        }
        if let Some(span) = batch.spans.iter().position(|span| span.adapter != adapter) {
            return Err(Error::AdaptersDiffer { span });
        }
        Ok(Tape {
            machine,
            batch,
            wanted,
            numerics: Numerics::Exact,
            angles: Vec::new(),
            apart: false,
            adapter: adapter.map(|place| &*batch.adapters[place]),
            attended: None,
            pool: Pool::default(),
            rounded: (None, Rounded::default()),
            nodes: Vec::new(),
            fault: None,
        })
    }

    /// What was recorded, row after row.
    pub fn values(&self, var: &Var) -> &[f32] {
        &self.rows(var.0).data
    }

    /// Goes back from `y`, whose gradient is `dy`, to the tensors that learn: their gradients are in the layout of the
    /// tensors. What `y` does not depend on has no entry. The tape is empty afterwards.
    ///
    /// # Panics
    ///
    /// If `dy` is not as long as `y`.
    pub fn backward(&mut self, y: Var, dy: Vec<f32>) -> TensorGradients {
        let mut gradients = TensorGradients::new();
        if let Some(leaf) = self.go_back(y, dy, &mut gradients) {
            self.pool.put(leaf);
        }
        gradients
    }

    /// As [`Tape::backward`], adding to gradients that are there; gives the gradient of the leaf.
    pub(crate) fn go_back(
        &mut self,
        y: Var,
        dy: Vec<f32>,
        tensors: &mut TensorGradients,
    ) -> Option<Vec<f32>> {
        let last = y.0.0;
        assert_eq!(dy.len(), self.nodes[last].len, "a gradient for each number");
        while self.nodes.len() > last + 1 {
            self.drop_last();
        }
        let mut activations: Vec<Option<Vec<f32>>> = std::iter::repeat_with(|| None).take(last).collect();
        activations.push(Some(dy));
        let mut sink = Sink { pool: &mut self.pool, activations, tensors, leaf: None };
        while let (Some(node), Some(dy)) = (self.nodes.pop(), sink.activations.pop()) {
            match (dy, &node.derivative) {
                (Some(dy), Some(derivative)) => {
                    let at = Step { machine: self.machine, y: &node.rows, earlier: &self.nodes };
                    derivative.backward(&at, dy, &mut sink);
                }
                // Nothing that leads to `y` was made from it, or nothing that it was made from learns.
                (dy, _) => sink.pool.put(dy.unwrap_or_default()),
            }
            sink.pool.put(node.rows.data);
        }
        let leaf = sink.leaf;
        self.clear();
        leaf
    }

    /// Takes all nodes off the tape, of which `y` is the last that counts; [`Tape::put_back`] puts them back.
    pub(crate) fn lift(&mut self, y: Var) -> Recording {
        self.rounded.0 = None;
        Recording { nodes: std::mem::take(&mut self.nodes), y: y.0 }
    }

    /// The tape as it was when the recording was lifted off it.
    pub(crate) fn put_back(&mut self, recording: Recording) -> Var {
        self.clear();
        self.nodes = recording.nodes;
        Var(recording.y)
    }

    /// Forgets everything but memory.
    pub(crate) fn clear(&mut self) {
        while !self.nodes.is_empty() {
            self.drop_last();
        }
        self.rounded.0 = None;
    }

    fn drop_last(&mut self) {
        if let Some(node) = self.nodes.pop() {
            self.pool.put(node.rows.data);
        }
    }

    /// Puts a node at the end.
    pub(crate) fn record(
        &mut self,
        rows: Rows,
        needs: Needs<'_>,
        derivative: impl Derivative + 'static,
    ) -> Var {
        let learns = needs.learns || needs.from.iter().any(|from| self.nodes[from.0].derivative.is_some());
        if learns {
            for kept in needs.keeps {
                self.nodes[kept.0].kept = true;
            }
        }
        self.nodes.push(Node {
            len: rows.data.len(),
            rows,
            kept: learns && needs.own,
            derivative: learns.then(|| Box::new(derivative) as Box<dyn Derivative>),
        });
        Var(Place(self.nodes.len() - 1))
    }

    /// Puts numbers from outside at the end; their gradient comes out of [`Tape::go_back`] if it is wanted.
    pub(crate) fn leaf(&mut self, data: Vec<f32>, width: usize, wanted: bool) -> Var {
        self.record(Rows { data, width }, Needs::of(&[]).learning(wanted), Leaf)
    }

    pub(crate) fn rows(&self, place: Place) -> &Rows {
        &self.nodes[place.0].rows
    }

    /// A copy of the values of a node, for an operation that changes them while its derivative reads them.
    pub(crate) fn copied(&mut self, of: Place) -> Vec<f32> {
        self.pool.copy(&self.nodes[of.0].rows.data)
    }

    /// A node's values rounded.
    pub(crate) fn rounded(&mut self, of: Place, form: Form) -> Input<'_> {
        let rows = &self.nodes[of.0].rows;
        if self.rounded.0 != Some((of, form)) {
            self.rounded.1.fill(self.machine, &rows.data, rows.width, form);
            self.rounded.0 = Some((of, form));
        }
        self.rounded.1.input(form)
    }

    /// The values of a node for an operation that changes them: moved if nobody else reads them, else copied.
    pub(crate) fn taken(&mut self, of: Var) -> Rows {
        let node = &mut self.nodes[of.0.0];
        let width = node.rows.width;
        let data = match node.kept {
            true => self.pool.copy(&node.rows.data),
            false => std::mem::take(&mut node.rows.data),
        };
        Rows { data, width }
    }

    /// The values of a node, once the tape is done with.
    pub(crate) fn take_values(&mut self, of: Var) -> Vec<f32> {
        self.taken(of).data
    }

    /// The forward pass reads these values no more.
    pub(crate) fn done_with(&mut self, of: Var) {
        let node = &mut self.nodes[of.0.0];
        if !node.kept {
            self.pool.put(std::mem::take(&mut node.rows.data));
        }
    }

    /// Rows whose numbers are yet to be written.
    pub(crate) fn blank(&mut self, rows: usize, width: usize) -> Rows {
        Rows { data: self.pool.take(rows * width), width }
    }

    /// The rows whose gradients are added up, all of `rows` or those of each span.
    ///
    /// # Panics
    ///
    /// If gradients are to be kept apart of rows that are not those of the batch.
    pub(crate) fn gradient_parts(&self, rows: usize) -> Vec<(Option<usize>, Range<usize>)> {
        if !self.apart {
            return vec![(None, 0..rows)];
        }
        assert_eq!(rows, self.batch.tokens.len(), "all rows of the batch");
        let spans = self.batch.spans.iter().enumerate();
        spans.map(|(place, span)| (Some(place), span.rows.clone())).collect()
    }

    /// How derivatives, and the thin products of adapters, round their factors.
    pub(crate) fn precision(&self) -> Precision {
        if self.numerics == Numerics::Exact { Precision::Single } else { Precision::Bf16 }
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

struct Leaf;

impl Derivative for Leaf {
    fn backward(&self, _at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        sink.leaf = Some(dy);
    }
}
