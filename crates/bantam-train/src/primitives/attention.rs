//! Causal attention within the batch's spans, each behind those that it continues, and all behind the adapter's prefix if
//! there is one.

use std::ops::Range;

use bantam_model::description::Attention;
use bantam_model::{KvPrefixLayer, KvStorage, Machine, Span};
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
    let spans = Sight::of(&tape.batch.spans);
    let (count, width) = (tape.rows(parts[0]).count(), tape.rows(parts[0]).width);
    let mut y = tape.blank(count, width);
    let [queries, keys, values] = parts.map(|part| tape.rows(part));
    for span in &spans {
        let pages = pages(tape.machine, spec.kv, span, [keys, values], ahead.as_ref());
        let first = ahead.as_ref().map_or(0, |ahead| ahead.tokens) + span.before_len();
        let rows: Vec<QueryRow<'_>> =
            (0..span.own.len()).map(|row| QueryRow { pages: &pages, position: first + row }).collect();
        let part = span.own.start * width..span.own.end * width;
        kernel::attend(tape.machine, &spec, &rows, &queries.data[part.clone()], &mut y.data[part]);
    }
    let learns = ahead.is_some() && tape.wanted.adapter();
    let needs = Needs::of(&parts).learning(learns).keeping(&parts).keeping_own();
    tape.record(y, needs, Attend { attention: attention.clone(), parts, spans, ahead, learns })
}

/// The rows of a span, and those of the batch that it continues and sees.
struct Sight {
    /// The first position first.
    before: Vec<Range<usize>>,
    own: Range<usize>,
}

impl Sight {
    fn of(spans: &[Span]) -> Vec<Sight> {
        let mut all: Vec<Sight> = Vec::with_capacity(spans.len());
        for span in spans {
            let before = span.behind.map_or_else(Vec::new, |place| all[place].parts().collect());
            all.push(Sight { before, own: span.rows.clone() });
        }
        all
    }

    fn own(&self) -> impl Iterator<Item = Range<usize>> {
        std::iter::once(self.own.clone())
    }

    /// All that it sees.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        self.before.iter().chain([&self.own]).cloned()
    }

    fn before_len(&self) -> usize {
        self.before.iter().map(|part| part.len()).sum()
    }
}

fn spec(of: &Attention) -> AttendSpec<'static> {
    AttendSpec {
        kv: KvShape { num_kv_heads: of.num_kv_heads, head_dim: of.head_dim },
        num_heads: of.num_heads,
        scale: of.scale,
        window: of.window,
        soft_cap: of.soft_cap,
        sinks: None,
        rounded: false,
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

/// Keys and values that a span sees, as the kernel wants them.
fn pages(
    machine: &Machine,
    shape: KvShape,
    span: &Sight,
    parts: [&Rows; 2],
    ahead: Option<&Ahead>,
) -> Vec<Page> {
    let ahead = ahead.map(|ahead| [&ahead.keys[..], &ahead.values[..]]);
    let seen = span.parts().map(|rows| parts.map(|of| &of.data[rows.start * of.width..rows.end * of.width]));
    let seen: Vec<[&[f32]; 2]> = ahead.into_iter().chain(seen).collect();
    let rows = |[keys, _]: &[&[f32]; 2]| keys.len() / (shape.num_kv_heads * shape.head_dim);
    let count = seen.iter().map(rows).sum::<usize>().div_ceil(PAGE);
    let mut pages: Vec<Page> = (0..count).map(|_| Page::new(shape, KvStorage::F32)).collect();
    let mut begin = 0;
    for part in &seen {
        let end = begin + rows(part);
        append(machine, &mut pages[begin / PAGE..end.div_ceil(PAGE)], begin % PAGE, part[0], part[1]);
        begin = end;
    }
    pages
}

struct Attend {
    attention: Attention,
    parts: [Place; 3],
    spans: Vec<Sight>,
    ahead: Option<Ahead>,
    /// Whether what stands ahead does.
    learns: bool,
}

impl Derivative for Attend {
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        let [queries, keys, values] = self.parts.map(|part| &*at.rows(part).data);
        let of = AttendInputs { queries, keys, values, y: &at.y.data, dy: &dy };
        let mut sums = [queries, keys, values].map(|part| sink.pool.zeros(part.len()));
        if self.ahead.is_some() || self.spans.iter().any(|span| !span.before.is_empty()) {
            self.behind(at, of, &mut sums, sink);
        } else {
            let spans: Vec<Range<usize>> = self.spans.iter().map(|span| span.own.clone()).collect();
            run(at.machine, &spec(&self.attention), &spans, of, &mut sums);
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
    /// With what a span continues, and what stands ahead of all, as rows of each span. Their queries ask nothing there:
    /// they have no gradient, and give none.
    fn behind(&self, at: &Step<'_>, of: AttendInputs<'_>, sums: &mut [Vec<f32>; 3], sink: &mut Sink<'_>) {
        let ahead = self.ahead.as_ref();
        let lengthen = Lengthen::new(&self.spans, ahead.map_or(0, |ahead| ahead.tokens));
        let own = |of| lengthen.filled(of, Sight::own, None, sink.pool);
        let [queries, y, dy] = [of.queries, of.y, of.dy].map(own);
        let [keys, values] = [
            lengthen.filled(of.keys, Sight::parts, ahead.map(|ahead| &ahead.keys[..]), sink.pool),
            lengthen.filled(of.values, Sight::parts, ahead.map(|ahead| &ahead.values[..]), sink.pool),
        ];
        let mut longer = [&queries, &keys, &values].map(|part| sink.pool.zeros(part.len()));
        let of = AttendInputs { queries: &queries, keys: &keys, values: &values, y: &y, dy: &dy };
        run(at.machine, &spec(&self.attention), &lengthen.longer, of, &mut longer);
        for (sum, longer) in sums.iter_mut().zip(&longer) {
            lengthen.give_back(longer, sum);
        }
        if let Some(ahead) = ahead.filter(|_| self.learns) {
            for (name, longer) in ahead.names.iter().zip(&longer[1..]) {
                for (place, begun) in lengthen.ahead(longer).enumerate() {
                    let name = name_for(ahead.apart.then_some(place), name);
                    accumulate(sink.of_tensor(&name, begun.len()), begun);
                }
            }
        }
        [queries, keys, values, y, dy].into_iter().chain(longer).for_each(|part| sink.pool.put(part));
    }
}

/// Spans with all that they see before them, each for itself.
struct Lengthen<'a> {
    /// Which cover all rows, in order.
    spans: &'a [Sight],
    /// Where they lie with what is before them.
    longer: Vec<Range<usize>>,
    /// Rows that stand ahead of each span and all that it continues.
    tokens: usize,
}

impl<'a> Lengthen<'a> {
    fn new(spans: &'a [Sight], tokens: usize) -> Self {
        let mut end = 0;
        let longer = spans.iter().map(|span| {
            let begin = end;
            end += tokens + span.before_len() + span.own.len();
            begin..end
        });
        Lengthen { spans, longer: longer.collect(), tokens }
    }

    /// Numbers of a row.
    fn width(&self, of: &[f32]) -> usize {
        of.len() / self.spans.last().map_or(1, |span| span.own.end).max(1)
    }

    /// Rows of each span at its end, behind zeros or what is ahead of all.
    fn filled<'s, P: Iterator<Item = Range<usize>>>(
        &'s self,
        from: &[f32],
        parts: impl Fn(&'s Sight) -> P,
        ahead: Option<&[f32]>,
        pool: &mut Pool,
    ) -> Vec<f32> {
        let width = self.width(from);
        let mut to = pool.zeros(self.longer.last().map_or(0, |last| last.end) * width);
        for (span, longer) in self.spans.iter().zip(&self.longer) {
            if let Some(ahead) = ahead {
                to[longer.start * width..][..ahead.len()].copy_from_slice(ahead);
            }
            let mut begin = longer.end - parts(span).map(|rows| rows.len()).sum::<usize>();
            for rows in parts(span) {
                let len = rows.len();
                to[begin * width..][..len * width]
                    .copy_from_slice(&from[rows.start * width..rows.end * width]);
                begin += len;
            }
        }
        to
    }

    /// Adds what was given to the rows that spans see to these rows.
    fn give_back(&self, from: &[f32], to: &mut [f32]) {
        let width = self.width(to);
        for (span, longer) in self.spans.iter().zip(&self.longer) {
            let mut begin = longer.start + self.tokens;
            for rows in span.parts() {
                accumulate(
                    &mut to[rows.start * width..rows.end * width],
                    &from[begin * width..(begin + rows.len()) * width],
                );
                begin += rows.len();
            }
        }
    }

    /// Those ahead of each span.
    fn ahead<'f>(&'f self, from: &'f [f32]) -> impl Iterator<Item = &'f [f32]> {
        let width = from.len() / self.longer.last().map_or(1, |last| last.end).max(1);
        let len = self.tokens * width;
        self.longer.iter().map(move |longer| &from[longer.start * width..][..len])
    }
}
