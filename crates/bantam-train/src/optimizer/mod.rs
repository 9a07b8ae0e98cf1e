//! Optimisers: a gradient in, a step of the weights out, with what they remember of earlier gradients.
//!
//! Everything follows from the order of steps alone; there is no chance in it.

mod adamw;
mod eight_bit;
mod muon;

use std::collections::BTreeMap;

use bantam_model::Machine;

pub use adamw::{AdamW, Precision};
pub use muon::Muon;

use crate::parameters::{Kind, Parameter};
use eight_bit::Codes;

/// Which way is taken from the gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// For every tensor.
    AdamW(AdamW),
    /// For the matrices of layers; the other tensors by AdamW.
    Muon(Muon),
}

/// What is remembered of the gradients of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Memory {
    /// First and second moments.
    Moments([Vec<f32>; 2]),
    /// The same in 8 bits.
    Coded([Codes; 2]),
    /// A running mean.
    Momentum(Vec<f32>),
}

/// A rule with its memory.
#[derive(Clone, Debug)]
pub(crate) struct Optimizer {
    rule: Rule,
    /// Steps so far.
    pub(crate) steps: u64,
    pub(crate) memory: BTreeMap<String, Memory>,
}

impl Optimizer {
    pub(crate) fn new(rule: Rule) -> Self {
        Optimizer { rule, steps: 0, memory: BTreeMap::new() }
    }

    /// Changes the numbers of one tensor by its gradient; `self.steps` counts this step already.
    pub(crate) fn update(
        &mut self,
        machine: &Machine,
        parameter: &Parameter,
        values: &mut [f32],
        gradient: &[f32],
        rate: f32,
    ) {
        let memory = self.memory.entry(parameter.name.clone());
        let memory = memory.or_insert_with(|| beginning(&self.rule, parameter));
        let (adamw, muon) = match &self.rule {
            Rule::AdamW(adamw) => (adamw, None),
            Rule::Muon(muon) => (&muon.adamw, Some(muon)),
        };
        match (memory, muon) {
            (Memory::Moments(moments), _) => {
                adamw.update(self.steps, parameter, values, gradient, rate, moments);
            }
            (Memory::Coded(codes), _) => {
                adamw.update_coded(self.steps, parameter, values, gradient, rate, codes);
            }
            (Memory::Momentum(momentum), Some(muon)) => {
                muon.update(machine, parameter, values, gradient, rate, momentum);
            }
            (Memory::Momentum(_), None) => {}
        }
    }
}

/// The memory of a tensor that has had no gradient yet.
pub(crate) fn beginning(rule: &Rule, parameter: &Parameter) -> Memory {
    let len = parameter.shape.iter().product();
    let adamw = match rule {
        Rule::Muon(_) if parameter.kind == Kind::Matrix => return Memory::Momentum(vec![0.0; len]),
        Rule::Muon(Muon { adamw, .. }) | Rule::AdamW(adamw) => adamw,
    };
    match adamw.precision {
        Precision::EightBits if len >= adamw::CODED_FROM && parameter.kind != Kind::Table => {
            Memory::Coded([Codes::zeros(len), Codes::zeros(len)])
        }
        _ => Memory::Moments([vec![0.0; len], vec![0.0; len]]),
    }
}
