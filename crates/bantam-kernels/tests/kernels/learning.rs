//! Derivatives of attention, norms, activations and the cross entropy against loops in f64.

use bantam_kernels::activation::Activation;
use bantam_kernels::attention::{AttendSpec, KvShape};
use bantam_kernels::backward::{
    AttendGradients, AttendInputs, Divergence, DivergenceRows, First, NormGradients, Precision,
    activate_backward, activate_gated_backward, add_product, attend_backward, cross_entropy, divergence,
    log_softmax, normalize_backward,
};
use bantam_kernels::norm::{NormKind, NormSpec};

use crate::random::{Random, nmse, same_on_all, widened};

const NMSE_MAX: f64 = 1e-11;

fn assert_near(what: &str, truth: &[f64], found: &[f32]) {
    let error = nmse(truth, found);
    assert!(error < NMSE_MAX, "{what}: {error:e}");
}

#[test]
fn products_of_either_side_at_odd_shapes() {
    for (rows, terms, width) in
        [(1, 1, 1), (5, 3, 16), (7, 129, 33), (200, 16, 17), (3, 260, 530), (197, 20, 9)]
    {
        let mut random = Random::new((rows * terms * width) as u64);
        let (a, b) = (random.normals(rows * terms), random.normals(terms * width));
        let start = random.normals(rows * width);
        let across: Vec<f32> = (0..a.len()).map(|i| a[i % rows * terms + i / rows]).collect();
        let truth: Vec<f64> = (0..rows * width)
            .map(|i| {
                let term =
                    |t: usize| f64::from(a[i / width * terms + t]) * f64::from(b[t * width + i % width]);
                f64::from(start[i]) + (0..terms).map(term).sum::<f64>()
            })
            .collect();
        for first in [First::Rows(&a), First::Columns(&across)] {
            let what = format!("{rows} x {terms} x {width}");
            let found = same_on_all(&what, |machine| {
                let mut out = start.clone();
                add_product(machine, Precision::Single, first, &b, [rows, width], &mut out);
                out
            });
            assert_near(&what, &truth, &found);
        }
    }
}

/// Queries, keys, values and the derivative by what comes of them.
struct Numbers {
    parts: [Vec<f32>; 4],
}

/// Attention of one span in f64, and its derivatives by queries, keys and values.
fn naive_attention(spec: &AttendSpec<'_>, of: &Numbers, span: std::ops::Range<usize>) -> [Vec<f64>; 4] {
    let (dim, kv_heads) = (spec.kv.head_dim, spec.kv.num_kv_heads);
    let parts = of.parts.each_ref().map(|part| widened(part));
    let [q, k, v, dy] = &parts;
    let mut out = [0, 1, 2, 0].map(|i: usize| vec![0.0; parts[i].len()]);
    for row in span.clone() {
        for head in 0..spec.num_heads {
            let kv_head = head / (spec.num_heads / kv_heads);
            let query = (row * spec.num_heads + head) * dim..(row * spec.num_heads + head + 1) * dim;
            let place = |key: usize| (key * kv_heads + kv_head) * dim..(key * kv_heads + kv_head + 1) * dim;
            let first = spec.window.map_or(0, |window| (row + 1).saturating_sub(window)).max(span.start);
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            let (mut weights, mut slopes) = (Vec::new(), Vec::new());
            for key in first..=row {
                let score = dot(&q[query.clone()], &k[place(key)]) * f64::from(spec.scale);
                let (score, slope) = match spec.soft_cap.map(f64::from) {
                    None => (score, f64::from(spec.scale)),
                    Some(cap) => {
                        let bent = (score / cap).tanh();
                        (cap * bent, f64::from(spec.scale) * (1.0 - bent * bent))
                    }
                };
                weights.push(score.exp());
                slopes.push(slope);
            }
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
            let gains: Vec<f64> = (first..=row).map(|key| dot(&dy[query.clone()], &v[place(key)])).collect();
            let shared = dot(&weights, &gains);
            for (i, key) in (first..=row).enumerate() {
                let score = weights[i] * (gains[i] - shared) * slopes[i];
                for (at, in_query) in place(key).zip(query.clone()) {
                    out[3][in_query] += weights[i] * v[at];
                    out[2][at] += weights[i] * dy[in_query];
                    out[1][at] += score * q[in_query];
                    out[0][in_query] += score * k[at];
                }
            }
        }
    }
    out
}

#[test]
fn attention_in_groups_windows_and_caps() {
    let plain = AttendSpec {
        kv: KvShape { num_kv_heads: 2, head_dim: 16 },
        num_heads: 2,
        scale: 0.3,
        window: None,
        soft_cap: None,
        sinks: None,
        rounded: false,
    };
    let grouped = AttendSpec { kv: KvShape { num_kv_heads: 2, head_dim: 20 }, num_heads: 6, ..plain };
    let windowed = AttendSpec { window: Some(70), ..grouped };
    let capped = AttendSpec { soft_cap: Some(1.5), window: Some(5), ..plain };
    for (i, spec) in [plain, grouped, windowed, capped].into_iter().enumerate() {
        let spans = [0..3, 3..134, 134..135, 135..199];
        let rows = 199;
        let mut random = Random::new(i as u64 + 1);
        let (width, kv_width) = (spec.num_heads * spec.kv.head_dim, spec.kv.num_kv_heads * spec.kv.head_dim);
        let of =
            Numbers { parts: [width, kv_width, kv_width, width].map(|width| random.normals(rows * width)) };
        let mut truth = [width, kv_width, kv_width, width].map(|width| vec![0.0; rows * width]);
        for span in &spans {
            for (sum, part) in truth.iter_mut().zip(naive_attention(&spec, &of, span.clone())) {
                sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
            }
        }
        let y: Vec<f32> = truth[3].iter().map(|x| *x as f32).collect();
        let [queries, keys, values, dy] = &of.parts;
        let found = same_on_all("attention", |machine| {
            let mut sums = [queries, keys, values].map(|part| vec![0.0; part.len()]);
            let [by_queries, by_keys, by_values] = &mut sums;
            let gradients = AttendGradients { queries: by_queries, keys: by_keys, values: by_values };
            attend_backward(
                machine,
                &spec,
                &spans,
                AttendInputs { queries, keys, values, y: &y, dy },
                gradients,
            );
            sums.concat()
        });
        let (by_queries, rest) = found.split_at(queries.len());
        let (by_keys, by_values) = rest.split_at(keys.len());
        for (name, truth, found) in
            [("q", &truth[0], by_queries), ("k", &truth[1], by_keys), ("v", &truth[2], by_values)]
        {
            assert_near(&format!("case {i}, {name}"), truth, found);
        }
    }
}

#[test]
fn norms_of_rows_and_heads() {
    for kind in [NormKind::Rms, NormKind::Layer] {
        let (width, heads, rows) = (37, 3, 11);
        let mut random = Random::new(5);
        let (x, dy) = (random.normals(rows * heads * width), random.normals(rows * heads * width));
        let weight = random.normals(heads * width);
        let spec = NormSpec { kind, width, eps: 0.01, weight: Some(&weight), bias: None };
        let found = same_on_all("norm", |machine| {
            let (mut dx, mut dw, mut db) =
                (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; weight.len()]);
            let gradients = NormGradients { x: &mut dx, weight: Some(&mut dw), bias: Some(&mut db) };
            normalize_backward(machine, spec, &x, &dy, gradients);
            [dx, dw, db].concat()
        });
        let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; weight.len()]);
        for group in 0..rows * heads {
            let (at, head) = (group * width..(group + 1) * width, group % heads * width);
            let x = widened(&x[at.clone()]);
            let count = width as f64;
            let mean = if kind == NormKind::Layer { x.iter().sum::<f64>() / count } else { 0.0 };
            let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            let factor = 1.0 / (square + f64::from(0.01_f32)).sqrt();
            let n: Vec<f64> = x.iter().map(|x| (x - mean) * factor).collect();
            let g: Vec<f64> =
                (0..width).map(|i| f64::from(dy[at.start + i]) * f64::from(weight[head + i])).collect();
            let lost = if kind == NormKind::Layer { g.iter().sum::<f64>() / count } else { 0.0 };
            let along = g.iter().zip(&n).map(|(g, n)| g * n).sum::<f64>() / count;
            for i in 0..width {
                dx[at.start + i] = factor * (g[i] - lost - n[i] * along);
                dw[head + i] += f64::from(dy[at.start + i]) * n[i];
                db[head + i] += f64::from(dy[at.start + i]);
            }
        }
        assert_near("norm", &[dx, dw, db].concat(), &found);
    }
}

#[test]
fn activations_against_differences() {
    let mut random = Random::new(8);
    let (x, u, dy) = (random.normals(5003), random.normals(5003), random.normals(5003));
    let value = |activation: Activation, x: f64| match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
        }
        Activation::GeluErf => 0.5 * x * (1.0 + erf(x / 2.0_f64.sqrt())),
    };
    for activation in [Activation::Silu, Activation::GeluTanh, Activation::GeluErf] {
        let slope = |x: f64| (value(activation, x + 1e-5) - value(activation, x - 1e-5)) / 2e-5;
        let plain = same_on_all("activation", |machine| {
            let mut dy = dy.clone();
            activate_backward(machine, activation, &x, &mut dy);
            dy
        });
        let truth: Vec<f64> =
            x.iter().zip(&dy).map(|(x, dy)| f64::from(*dy) * slope(f64::from(*x))).collect();
        assert_near(&format!("{activation:?}"), &truth, &plain);
        let gated = same_on_all("gated activation", |machine| {
            let (mut dy, mut by_factors) = (dy.clone(), vec![0.0; u.len()]);
            activate_gated_backward(machine, activation, &x, &u, &mut dy, &mut by_factors);
            [dy, by_factors].concat()
        });
        let by_gate = truth.iter().zip(&u).map(|(t, u)| t * f64::from(*u));
        let by_factors = x.iter().zip(&dy).map(|(x, dy)| f64::from(*dy) * value(activation, f64::from(*x)));
        let truth: Vec<f64> = by_gate.chain(by_factors).collect();
        assert_near(&format!("gated {activation:?}"), &truth, &gated);
    }
}

/// By its series, for arguments that normal numbers have.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    2.0 / std::f64::consts::PI.sqrt() * sum
}

#[test]
fn cross_entropies_and_log_softmax_of_wide_rows() {
    let (rows, width) = (5, 3001);
    let mut random = Random::new(3);
    let logits: Vec<f32> = random.normals(rows * width).iter().map(|x| 4.0 * x).collect();
    let (targets, weights) = ([0, 3000, 17, 512, 1024], [1.0, 0.5, -2.0, 0.0, 0.25]);
    let mut losses = vec![0.0; rows];
    let found = same_on_all("cross entropy", |machine| {
        let mut logits = logits.clone();
        let mut losses = vec![0.0; rows];
        cross_entropy(machine, &mut logits, &targets, &weights, &mut losses);
        logits
    });
    let logs = same_on_all("log softmax", |machine| {
        let mut logits = logits.clone();
        log_softmax(machine, &mut logits, width);
        logits
    });
    let machine = bantam_kernels::Machine::new(bantam_kernels::Isa::best(), 2);
    cross_entropy(&machine, &mut logits.clone(), &targets, &weights, &mut losses);
    let (mut truth, mut true_logs) = (Vec::new(), Vec::new());
    for (row, logits) in widened(&logits).chunks(width).enumerate() {
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        let (target, weight) = (targets[row] as usize, f64::from(weights[row]));
        assert!((losses[row] - (sum.ln() - logits[target])).abs() < 1e-6, "{row}");
        true_logs.extend(logits.iter().map(|x| x - sum.ln()));
        truth.extend(
            logits
                .iter()
                .enumerate()
                .map(|(i, x)| weight * (x.exp() / sum - f64::from(u8::from(i == target)))),
        );
    }
    assert_near("cross entropy", &truth, &found);
    assert_near("log softmax", &true_logs, &logs);
}

#[test]
fn divergences_against_differences() {
    const STEP: f64 = 1e-4;
    let (width, temperature) = (9, 1.7);
    let mut random = Random::new(4);
    let (p, q) = (random.normals(width), random.normals(width));
    let softmax = |logits: &[f64]| {
        let powers: Vec<f64> = logits.iter().map(|x| (x / temperature).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|power| power / sum).collect::<Vec<f64>>()
    };
    let relative = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * (a / b).ln()).sum::<f64>();
    let measures = [Divergence::Forward, Divergence::Reverse, Divergence::JensenShannon { share: 0.3 }];
    for measure in measures {
        let loss = |student: &[f64]| {
            let (p, q) = (softmax(&widened(&p)), softmax(student));
            let share = f64::from(0.3_f32);
            let m: Vec<f64> = p.iter().zip(&q).map(|(p, q)| share * p + (1.0 - share) * q).collect();
            temperature
                * temperature
                * match measure {
                    Divergence::Forward => relative(&p, &q),
                    Divergence::Reverse => relative(&q, &p),
                    Divergence::JensenShannon { .. } => {
                        share * relative(&p, &m) + (1.0 - share) * relative(&q, &m)
                    }
                }
        };
        let found = same_on_all("divergence", |machine| {
            let (mut teacher, mut student, mut losses) = (p.clone(), q.clone(), [0.0]);
            let rows = DivergenceRows {
                teacher: &mut teacher,
                student: &mut student,
                weights: &[0.5],
                losses: &mut losses,
            };
            divergence(machine, measure, temperature as f32, rows);
            student.push(losses[0] as f32);
            student
        });
        let moved = |i: usize, step: f64| {
            let mut student = widened(&q);
            student[i] += step;
            loss(&student)
        };
        for (i, found) in found[..width].iter().enumerate() {
            let expected = 0.5 * (moved(i, STEP) - moved(i, -STEP)) / (2.0 * STEP);
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{measure:?}: {found}, {expected}");
        }
        assert!((f64::from(found[width]) - loss(&widened(&q))).abs() < 1e-5, "{measure:?}");
    }
}
