//! Causal attention within the batch's spans, each behind the adapter's prefix if there is one.

use std::ops::Range;

use bantam_model::description::Attention;
use bantam_model::{KvPrefixLayer, KvStorage, Machine};
use bantam_tensor::kernels::attention::{self as kernel, AttendSpec, KvShape, PAGE, Page, QueryRow, append};
use bantam_tensor::kernels::backward::{AttendGradients, AttendInputs, attend_backward};

use super::accumulate;
use crate::pool::Pool;
use crate::private::name_for;
use crate::tape::{Derivative, Needs, Place, Rows, Sink, Step, Tape, Var};

/// Attends with queries over keys and values; `parts` are these three.
pub(crate) fn attend(tape: &mut Tape<'_>, layer: usize, attention: &Attention, parts: [&Var; 3]) -> Var {
    let parts = parts.map(|part| part.0);
    let prefix = tape.adapter.and_then(|adapter| adapter.prefix.as_ref());
    let ahead = prefix.map(|prefix| Ahead::new(&prefix.layers[layer], tape.apart));
    let spec = spec(attention);
    let spans: Vec<Range<usize>> = tape.batch.spans.iter().map(|span| span.rows.clone()).collect();
    let (count, width) = (tape.rows(parts[0]).count(), tape.rows(parts[0]).width);
    let mut y = tape.blank(count, width);
    let [queries, keys, values] = parts.map(|part| tape.rows(part));
    let first = ahead.as_ref().map_or(0, |ahead| ahead.tokens);
    for span in &spans {
        let pages = pages(tape.machine, spec.kv, span.clone(), [keys, values], ahead.as_ref());
        let rows: Vec<QueryRow<'_>> =
            (0..span.len()).map(|row| QueryRow { pages: &pages, position: first + row }).collect();
        let part = span.start * width..span.end * width;
        kernel::attend(tape.machine, &spec, &rows, &queries.data[part.clone()], &mut y.data[part]);
    }
    let learns = ahead.is_some() && tape.wanted.adapter();
    let needs = Needs::of(&parts).learning(learns).keeping(&parts).keeping_own();
    tape.record(y, needs, Attend { attention: attention.clone(), parts, spans, ahead, learns })
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

/// Keys and values that stand before each span.
struct Ahead {
    tokens: usize,
    /// Of the tensors.
    names: [String; 2],
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Whether what the spans give to them is kept apart.
    apart: bool,
}

impl Ahead {
    fn new(of: &KvPrefixLayer, apart: bool) -> Self {
        Ahead {
            tokens: of.keys.rows(),
            names: of.both().map(|tensor| tensor.name().to_owned()),
            keys: of.keys.to_f32(),
            values: of.values.to_f32(),
            apart,
        }
    }
}

/// Keys and values of one span as the kernel wants them, behind those that stand before it.
fn pages(
    machine: &Machine,
    shape: KvShape,
    span: Range<usize>,
    parts: [&Rows; 2],
    ahead: Option<&Ahead>,
) -> Vec<Page> {
    let first = ahead.map_or(0, |ahead| ahead.tokens);
    let count = (first + span.len()).div_ceil(PAGE);
    let mut pages: Vec<Page> = (0..count).map(|_| Page::new(shape, KvStorage::F32)).collect();
    if let Some(ahead) = ahead {
        append(machine, &mut pages[..first.div_ceil(PAGE)], 0, &ahead.keys, &ahead.values);
    }
    let [keys, values] = parts.map(|of| &of.data[span.start * of.width..span.end * of.width]);
    append(machine, &mut pages[first / PAGE..], first % PAGE, keys, values);
    pages
}

struct Attend {
    attention: Attention,
    parts: [Place; 3],
    spans: Vec<Range<usize>>,
    ahead: Option<Ahead>,
    /// Whether what stands ahead does.
    learns: bool,
}

impl Derivative for Attend {
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        let [queries, keys, values] = self.parts.map(|part| &*at.rows(part).data);
        let of = AttendInputs { queries, keys, values, y: &at.y.data, dy: &dy };
        let mut sums = [queries, keys, values].map(|part| sink.pool.zeros(part.len()));
        match &self.ahead {
            Some(ahead) => self.behind(ahead, at, of, &mut sums, sink),
            None => run(at.machine, &spec(&self.attention), &self.spans, of, &mut sums),
        }
        for (part, sum) in self.parts.into_iter().zip(sums) {
            sink.give(at, part, sum);
        }
        sink.pool.put(dy);
    }
}

fn run(
    machine: &Machine,
    spec: &AttendSpec<'_>,
    spans: &[Range<usize>],
    of: AttendInputs<'_>,
    sums: &mut [Vec<f32>; 3],
) {
    let [queries, keys, values] = sums;
    attend_backward(machine, spec, spans, of, AttendGradients { queries, keys, values });
}

impl Attend {
    /// With what stands ahead as rows of each span, whose queries are asked by nobody: they have no gradient, and give
    /// none.
    fn behind(
        &self,
        ahead: &Ahead,
        at: &Step<'_>,
        of: AttendInputs<'_>,
        sums: &mut [Vec<f32>; 3],
        sink: &mut Sink<'_>,
    ) {
        let lengthen = Lengthen { spans: &self.spans, tokens: ahead.tokens };
        let spans: Vec<Range<usize>> = lengthen.spans().collect();
        let blank = |part: &[f32], pool: &mut Pool| lengthen.filled(part, None, pool);
        let [queries, y, dy] = [of.queries, of.y, of.dy].map(|part| blank(part, sink.pool));
        let keys = lengthen.filled(of.keys, Some(&ahead.keys), sink.pool);
        let values = lengthen.filled(of.values, Some(&ahead.values), sink.pool);
        let mut longer = [&queries, &keys, &values].map(|part| sink.pool.zeros(part.len()));
        let of = AttendInputs { queries: &queries, keys: &keys, values: &values, y: &y, dy: &dy };
        run(at.machine, &spec(&self.attention), &spans, of, &mut longer);
        for (sum, longer) in sums.iter_mut().zip(&longer) {
            lengthen.cut(longer, sum);
        }
        for (name, longer) in ahead.names.iter().zip(&longer[1..]).filter(|_| self.learns) {
            for (place, begun) in lengthen.ahead(longer).enumerate() {
                let name = name_for(ahead.apart.then_some(place), name);
                accumulate(sink.of_tensor(&name, begun.len()), begun);
            }
        }
        [queries, keys, values, y, dy].into_iter().chain(longer).for_each(|part| sink.pool.put(part));
    }
}

/// Spans with some rows more before each.
struct Lengthen<'a> {
    /// Which cover all rows, in order.
    spans: &'a [Range<usize>],
    /// Rows that come before each.
    tokens: usize,
}

impl Lengthen<'_> {
    /// Where they lie.
    fn spans(&self) -> impl Iterator<Item = Range<usize>> {
        let spans = self.spans.iter().enumerate();
        spans.map(|(place, span)| span.start + place * self.tokens..span.end + (place + 1) * self.tokens)
    }

    fn rows(&self) -> usize {
        self.spans.last().map_or(0, |span| span.end)
    }

    /// How many there are with those before.
    fn rows_with_ahead(&self) -> usize {
        self.rows() + self.spans.len() * self.tokens
    }

    /// The rows of each span behind others, which are zero if they are not given.
    fn filled(&self, from: &[f32], ahead: Option<&[f32]>, pool: &mut Pool) -> Vec<f32> {
        let width = from.len() / self.rows().max(1);
        let mut to = pool.zeros(self.rows_with_ahead() * width);
        for (span, longer) in self.spans.iter().zip(self.spans()) {
            let (begun, rest) =
                to[longer.start * width..longer.end * width].split_at_mut(self.tokens * width);
            if let Some(ahead) = ahead {
                begun.copy_from_slice(ahead);
            }
            rest.copy_from_slice(&from[span.start * width..span.end * width]);
        }
        to
    }

    /// The rows of the spans alone.
    fn cut(&self, from: &[f32], to: &mut [f32]) {
        let width = to.len() / self.rows().max(1);
        for (span, longer) in self.spans.iter().zip(self.spans()) {
            let begin = (longer.start + self.tokens) * width;
            to[span.start * width..span.end * width].copy_from_slice(&from[begin..longer.end * width]);
        }
    }

    /// Those before each span.
    fn ahead<'f>(&self, from: &'f [f32]) -> impl Iterator<Item = &'f [f32]> {
        let width = from.len() / self.rows_with_ahead().max(1);
        let len = self.tokens * width;
        self.spans().map(move |longer| &from[longer.start * width..][..len])
    }
}
