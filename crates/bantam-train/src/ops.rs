//! The operations of the forward pass, recorded. Fused forms have derivatives of their own where that saves memory.

use bantam_model::description::{Activation, Attention, PositionScale};
use bantam_model::rope::Rope;
use bantam_model::weights::{Matrix, NormWeights, Vector};
use bantam_model::{Ops, Site};

use crate::primitives::{
    activation, adapter, attention, elementwise, lookup, magnitude, norm, product, rope, shape,
};
use crate::tape::{Tape, Var};

impl Ops for Tape<'_> {
    type T = Var;

    fn embed(&mut self, table: &Matrix) -> Var {
        let ids = self.batch.tokens.iter().map(|id| *id as usize).collect();
        lookup::lookup(self, table, ids)
    }

    fn embed_positions(&mut self, table: &Matrix) -> Var {
        let ids = self.batch.positions().collect();
        lookup::lookup(self, table, ids)
    }

    fn product(&mut self, x: &Var, matrix: &Matrix) -> Var {
        product::product(self, x, matrix)
    }

    fn adapt(&mut self, x: &Var, y: Var, site: Site) -> Var {
        let Some(adapter) = self.adapter else { return y };
        let y = match adapter.start.get(&site) {
            Some(start) => adapter::adapt(self, x, y, start, false),
            None => y,
        };
        let Some(low_rank) = adapter.sites.get(&site) else { return y };
        let y = adapter::adapt(self, x, y, low_rank, self.wanted.adapter());
        match &low_rank.magnitude {
            Some(magnitude) => magnitude::lengthen(self, y, magnitude),
            None => y,
        }
    }

    fn add_vector(&mut self, x: Var, vector: &Vector) -> Var {
        elementwise::add_vector(self, x, vector)
    }

    fn norm(&mut self, x: &Var, norm: &NormWeights) -> Var {
        norm::norm(self, x, norm)
    }

    fn rope(&mut self, x: Var, head_dim: usize, rope: &Rope) -> Var {
        rope::rope(self, x, head_dim, rope)
    }

    fn scale_by_position(&mut self, x: Var, scale: &PositionScale) -> Var {
        let factors = self.batch.positions().map(|position| scale.at(position)).collect();
        elementwise::scale_rows(self, x, factors)
    }

    fn attend(&mut self, layer: usize, attention: &Attention, q: &Var, k: &Var, v: &Var) -> Var {
        if self.attended.is_some() {
            let both = [k, v].map(|part| self.values(part).to_vec());
            self.attended.get_or_insert_default().push(both);
        }
        attention::attend(self, layer, attention, [q, k, v])
    }

    fn activate(&mut self, x: Var, activation: Activation) -> Var {
        activation::activate(self, x, activation)
    }

    fn activate_gated(&mut self, gate: Var, up: &Var, activation: Activation) -> Var {
        activation::activate_gated(self, gate, up, activation)
    }

    fn add(&mut self, x: Var, y: &Var, factor: f32) -> Var {
        elementwise::add(self, x, y, factor)
    }

    fn multiply(&mut self, x: Var, y: &Var) -> Var {
        elementwise::multiply(self, x, y)
    }

    fn scale(&mut self, x: Var, factor: f32) -> Var {
        elementwise::scale(self, x, factor)
    }

    fn clamp(&mut self, x: Var, limit: f32) -> Var {
        elementwise::clamp(self, x, limit)
    }

    fn soft_cap(&mut self, x: Var, cap: f32) -> Var {
        elementwise::soft_cap(self, x, cap)
    }

    fn columns(&mut self, x: &Var, begin: usize, count: usize) -> Var {
        shape::columns(self, x, begin, count)
    }

    fn wanted_rows(&mut self, x: Var) -> Var {
        let wanted = self.batch.wanted.clone();
        shape::pick_rows(self, x, wanted)
    }

    fn layer_done(&mut self, layer: usize, x: &Var) {
        if self.fault.is_none() && !self.values(x).iter().fold(true, |finite, x| finite & x.is_finite()) {
            self.fault = Some(layer);
        }
    }

    fn release(&mut self, x: Var) {
        self.done_with(x);
    }
}
