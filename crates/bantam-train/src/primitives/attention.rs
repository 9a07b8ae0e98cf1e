//! Causal attention within the batch's spans.

use std::ops::Range;

use bantam_model::description::Attention;
use bantam_model::{KvStorage, Machine};
use bantam_tensor::kernels::attention::{self as kernel, AttendSpec, KvShape, PAGE, Page, QueryRow, append};
use bantam_tensor::kernels::backward::{AttendGradients, AttendInputs, attend_backward};

use crate::tape::{Derivative, Needs, Place, Rows, Sink, Step, Tape, Var};

/// Attends with queries over keys and values; `parts` are these three.
pub(crate) fn attend(tape: &mut Tape<'_>, attention: &Attention, parts: [&Var; 3]) -> Var {
    let parts = parts.map(|part| part.0);
    let spec = spec(attention);
    let spans: Vec<Range<usize>> = tape.batch.spans.iter().map(|span| span.rows.clone()).collect();
    let (count, width) = (tape.rows(parts[0]).count(), tape.rows(parts[0]).width);
    let mut y = tape.blank(count, width);
    let [queries, keys, values] = parts.map(|part| tape.rows(part));
    for span in &spans {
        let pages = pages(tape.machine, spec.kv, span.clone(), keys, values);
        let rows: Vec<QueryRow<'_>> =
            (0..span.len()).map(|position| QueryRow { pages: &pages, position }).collect();
        let part = span.start * width..span.end * width;
        kernel::attend(tape.machine, &spec, &rows, &queries.data[part.clone()], &mut y.data[part]);
    }
    let needs = Needs::of(&parts).keeping(&parts).keeping_own();
    tape.record(y, needs, Attend { attention: attention.clone(), parts, spans })
}

fn spec(of: &Attention) -> AttendSpec<'static> {
    AttendSpec {
        kv: KvShape { num_kv_heads: of.num_kv_heads, head_dim: of.head_dim },
        num_heads: of.num_heads,
        scale: of.scale,
        window: of.window,
        soft_cap: of.soft_cap,
        sinks: None,
    }
}

/// Keys and values of one span as the kernel wants them.
fn pages(machine: &Machine, shape: KvShape, span: Range<usize>, keys: &Rows, values: &Rows) -> Vec<Page> {
    let count = span.len().div_ceil(PAGE);
    let mut pages: Vec<Page> = (0..count).map(|_| Page::new(shape, KvStorage::F32)).collect();
    let rows = |of: &Rows| span.start * of.width..span.end * of.width;
    append(machine, &mut pages, 0, &keys.data[rows(keys)], &values.data[rows(values)]);
    pages
}

struct Attend {
    attention: Attention,
    parts: [Place; 3],
    spans: Vec<Range<usize>>,
}

impl Derivative for Attend {
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        let [queries, keys, values] = self.parts.map(|part| &*at.rows(part).data);
        let of = AttendInputs { queries, keys, values, y: &at.y.data, dy: &dy };
        let mut sums = [queries, keys, values].map(|part| sink.pool.zeros(part.len()));
        let [queries, keys, values] = &mut sums;
        let gradients = AttendGradients { queries, keys, values };
        attend_backward(at.machine, &spec(&self.attention), &self.spans, of, gradients);
        for (part, sum) in self.parts.into_iter().zip(sums) {
            sink.give(at, part, sum);
        }
        sink.pool.put(dy);
    }
}
