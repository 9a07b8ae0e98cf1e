//! Every operation with the same bits as the scalar one, and the functions made of them against f64.

use super::*;

/// Numbers on which implementations differ if they can: borders, ties, tiny and huge ones, no numbers.
fn telling() -> Vec<f32> {
    let mut x = vec![0.0, 0.5, 1.0, 1.5, 2.5, 88.0, 88.1, 87.4, 126.0, 127.0, 1e-20, 1e-40, 1e20, 1e38];
    x.extend([
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
        f32::EPSILON,
        32766.5,
        0.625,
        8_388_609.0,
    ]);
    x.extend((0..200u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9))));
    x.iter().flat_map(|x| [*x, -*x]).collect()
}

/// One function of three arrays of lanes.
trait Operation {
    fn apply<L: Lanes>(&self, x: L, y: L, z: L) -> L;
}

struct Run<'a, O>(&'a O, [[f32; LANES]; 3]);

impl<O: Operation> Kernel for Run<'_, O> {
    type Output = [f32; LANES];
    #[inline(always)]
    fn run<L: Lanes>(self) -> [f32; LANES] {
        let [x, y, z] = &self.1;
        let mut out = [0.0; LANES];
        self.0.apply(L::load(x), L::load(y), L::load(z)).store(&mut out);
        out
    }
}

fn assert_same_everywhere(name: &str, operation: &impl Operation, among: &[f32]) {
    for i in 0..among.len() {
        let pick = |step: usize| std::array::from_fn(|lane| among[(i + lane * step + step) % among.len()]);
        let arguments = [pick(1), pick(7), pick(31)];
        let truth = dispatch(Isa::SCALAR, Run(operation, arguments));
        for isa in Isa::available() {
            let found = dispatch(isa, Run(operation, arguments));
            for lane in 0..LANES {
                let (t, f) = (truth[lane], found[lane]);
                let same = t.to_bits() == f.to_bits() || t.is_nan() && f.is_nan();
                let [x, y, z] = arguments.map(|argument| argument[lane]);
                assert!(same, "{name}({x:e}, {y:e}, {z:e}) is {f:e} on {isa} and not {t:e}");
            }
        }
    }
}

macro_rules! operations {
    ($among:expr, $($name:literal: |$x:ident, $y:ident, $z:ident| $body:expr;)*) => {$({
        struct This;
        impl Operation for This {
            #[inline(always)]
            fn apply<L: Lanes>(&self, $x: L, $y: L, $z: L) -> L {
                let _ = ($y, $z);
                $body
            }
        }
        assert_same_everywhere($name, &This, $among);
    })*};
}

#[test]
fn operations_have_the_same_bits_everywhere() {
    operations! { &telling(),
        "add": |x, y, z| x.add(y);
        "sub": |x, y, z| x.sub(y);
        "mul": |x, y, z| x.mul(y);
        "div": |x, y, z| x.div(y);
        "mul_add": |x, y, z| x.mul_add(y, z);
        "minimum": |x, y, z| x.minimum(y);
        "maximum": |x, y, z| x.maximum(y);
        "round": |x, y, z| x.round();
        "select_less": |x, y, z| x.select_less(y, z, x);
        "sum": |x, y, z| L::splat(x.sum());
        "sums": |x, y, z| {
            let mut sums = [0.0; LANES];
            sums[..7].copy_from_slice(&L::sums(&[x, y, z, x.add(y), z, y, x]));
            L::load(&sums)
        };
        "greatest": |x, y, z| L::splat(x.greatest());
        "exp": |x, y, z| exp(x);
        "tanh": |x, y, z| tanh(x);
    }
    let whole: Vec<f32> = (-126..=127).map(|n| n as f32).collect();
    operations! { &whole, "exp2_of_integer": |x, y, z| x.exp2_of_integer(); }
}

#[test]
fn no_number_gives_the_second_operand() {
    struct Least;
    impl Operation for Least {
        fn apply<L: Lanes>(&self, x: L, y: L, _: L) -> L {
            x.minimum(y)
        }
    }
    for isa in Isa::available() {
        let (one, nan) = ([1.0; LANES], [f32::NAN; LANES]);
        assert_eq!(dispatch(isa, Run(&Least, [nan, one, one])), one);
        assert!(dispatch(isa, Run(&Least, [one, nan, one]))[0].is_nan());
    }
}

/// The numbers that there are, and zeros.
struct Part<'a>(&'a [f32]);

impl Kernel for Part<'_> {
    type Output = [f32; LANES];
    #[inline(always)]
    fn run<L: Lanes>(self) -> [f32; LANES] {
        let mut out = [f32::NAN; LANES];
        L::load_part(self.0).store(&mut out);
        out
    }
}

#[test]
fn parts_are_filled_up_with_zeros() {
    let numbers: Vec<f32> = (1..=LANES).map(|n| n as f32).collect();
    for isa in Isa::available() {
        for len in 0..=LANES {
            // The end of an allocation of just so many.
            let part = numbers[..len].to_vec().into_boxed_slice();
            let found = dispatch(isa, Part(&part));
            assert_eq!(found[..len], numbers[..len], "{isa:?}");
            assert!(found[len..].iter().all(|x| x.to_bits() == 0), "{isa:?}: {found:?}");
        }
    }
}

/// Integer operations on one set of codes: the codes of numbers and of bytes, pairs, rows.
struct Integers<'a>(&'a [f32; LANES], &'a [i16], &'a [u8; RUN]);

impl Kernel for Integers<'_> {
    type Output = Vec<i64>;
    #[inline(always)]
    fn run<L: Lanes>(self) -> Vec<i64> {
        let mut codes = [0; LANES];
        L::load(self.0).to_codes(&mut codes);
        let mut out: Vec<i64> = codes.iter().map(|code| i64::from(*code)).collect();
        let runs = runs_of_bytes::<L>(self.2);
        for run in runs {
            let mut codes = [0; RUN];
            L::bytes_to_codes(run, &mut codes);
            out.extend(codes.iter().map(|code| i64::from(*code)));
            let mut bytes = [0; RUN];
            L::bytes_store(run, &mut bytes);
            out.extend(bytes.iter().map(|byte| i64::from(*byte)));
        }
        let mut across = [[0; 2 * LANES]; LANES / 2];
        L::pairs_across(self.1, 35, &mut across);
        out.extend(across.as_flattened().iter().map(|code| i64::from(*code)));
        let (pairs, x): (&[i16; 32], &[i16; 32]) =
            (self.1.first_chunk().expect("codes"), self.1[40..].first_chunk().expect("codes"));
        let mut sums = L::ints_add_pairs(L::ints_zero(), pairs, &[x[0], x[1]]);
        sums = L::ints_add_pairs(sums, x, &[pairs[5], -3]);
        let mut rows = [L::products(L::codes_of(runs[0]), L::codes_load(x)); LANES];
        for lane in 0..LANES {
            rows[lane] = L::products(L::codes_of(runs[lane % runs.len()]), L::codes_load(x));
        }
        let [first, second] = L::products_sum_halves(&rows);
        for ints in [sums, L::products_sum(&rows), first, second] {
            let mut floats = [0.0; LANES];
            L::ints_to_f32(ints).store(&mut floats);
            out.extend(floats.iter().map(|x| *x as i64));
        }
        out
    }
}

/// All ways to take codes out of bytes.
#[inline(always)]
fn runs_of_bytes<L: Lanes>(bytes: &[u8; RUN]) -> [L::Bytes; 7] {
    let nibbles = L::bytes_of_nibbles(bytes.first_chunk().expect("bytes"));
    let bits = L::bytes_bits(L::bytes_load(bytes), 3, 7);
    let flags = L::bytes_of_flags(bytes.first_chunk().expect("bytes"), 16, 3);
    let table = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
    [
        L::bytes_load(bytes),
        nibbles,
        L::bytes_look_up(nibbles, &table),
        bits,
        flags,
        L::bytes_join(nibbles, flags, 0),
        L::bytes_add(L::bytes_join(nibbles, bits, 4), -32),
    ]
}

#[test]
fn integers_are_the_same_everywhere() {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    for round in 0..200 {
        // Codes of weights are small, those of activations are not.
        let codes: Vec<i16> = (0..15 * 35 + 32).map(|_| (next() % 255) as i16 - 127).collect();
        let numbers: [f32; LANES] = std::array::from_fn(|_| (next() as f32 - 32767.5) * 0.999);
        let bytes: [u8; RUN] = std::array::from_fn(|_| next() as u8);
        let truth = dispatch(Isa::SCALAR, Integers(&numbers, &codes, &bytes));
        for isa in Isa::available() {
            assert_eq!(dispatch(isa, Integers(&numbers, &codes, &bytes)), truth, "{isa} in round {round}");
        }
    }
}

#[test]
fn every_code_of_keys_and_values_widens_alike() {
    struct Widen([u8; LANES], [u16; LANES]);
    impl Kernel for Widen {
        type Output = [[f32; LANES]; 4];
        #[inline(always)]
        fn run<L: Lanes>(self) -> [[f32; LANES]; 4] {
            let mut out = [[0.0; LANES]; 4];
            L::load_i4_low(&self.0).store(&mut out[0]);
            L::load_i4_high(&self.0).store(&mut out[1]);
            L::load_i8(&self.0).store(&mut out[2]);
            L::load_bf16(&self.1).store(&mut out[3]);
            out
        }
    }
    for begin in (0..=u8::MAX).step_by(LANES) {
        let bytes: [u8; LANES] = std::array::from_fn(|i| begin + i as u8);
        let words = bytes.map(|byte| u16::from(byte) << 7 | 0x15);
        let truth = dispatch(Isa::SCALAR, Widen(bytes, words));
        assert_eq!((truth[2][1], truth[0][9]), (f32::from(bytes[1] as i8), -7.0));
        for isa in Isa::available() {
            let found = dispatch(isa, Widen(bytes, words));
            let same = |a: &[f32; LANES], b| a.map(f32::to_bits) == <[f32; LANES]>::map(b, f32::to_bits);
            assert!(truth.iter().zip(found).all(|(truth, found)| same(truth, found)), "{isa} from {begin}");
        }
    }
}

#[test]
fn every_half_precision_number_widens_alike() {
    struct Widen([u16; LANES]);
    impl Kernel for Widen {
        type Output = [f32; LANES];
        #[inline(always)]
        fn run<L: Lanes>(self) -> [f32; LANES] {
            let mut out = [0.0; LANES];
            L::load_f16(&self.0).store(&mut out);
            out
        }
    }
    for begin in (0..=u16::MAX).step_by(LANES) {
        let bits = std::array::from_fn(|i| begin + i as u16);
        let truth = dispatch(Isa::SCALAR, Widen(bits));
        for isa in Isa::available() {
            let found = dispatch(isa, Widen(bits));
            assert!((0..LANES).all(|i| truth[i] == found[i] || truth[i].is_nan() && found[i].is_nan()));
        }
    }
}

/// The greatest error of a function over a range, in units in the last place of the truth.
fn units_off(operation: &impl Operation, truth: fn(f64) -> f64, range: std::ops::Range<f32>) -> f64 {
    const STEPS: usize = 200_000;
    let at = |i: usize| range.start + (range.end - range.start) * (i as f32 / STEPS as f32);
    let mut most = 0.0f64;
    for begin in (0..STEPS).step_by(LANES) {
        let x: [f32; LANES] = std::array::from_fn(|lane| at(begin + lane));
        let found = dispatch(Isa::best(), Run(operation, [x; 3]));
        for (x, found) in x.iter().zip(found) {
            let truth = truth(f64::from(*x));
            let unit = f64::from((truth as f32).next_up()) - f64::from(truth as f32);
            most = most.max((f64::from(found) - truth).abs() / unit.abs());
        }
    }
    most
}

#[test]
fn functions_are_within_these_units_in_the_last_place() {
    struct Exp;
    impl Operation for Exp {
        fn apply<L: Lanes>(&self, x: L, _: L, _: L) -> L {
            exp(x)
        }
    }
    struct Tanh;
    impl Operation for Tanh {
        fn apply<L: Lanes>(&self, x: L, _: L, _: L) -> L {
            tanh(x)
        }
    }
    for (found, most) in [
        (units_off(&Exp, f64::exp, -87.0..88.0), 1.0),
        (units_off(&Exp, f64::exp, -1.0..1.0), 1.0),
        (units_off(&Tanh, f64::tanh, -10.0..10.0), 2.0),
        (units_off(&Tanh, f64::tanh, -0.7..0.7), 2.0),
    ] {
        println!("{found:.2} units in the last place, at most {most}");
        assert!(found <= most && found > most / 3.0, "{found} units, where {most} are promised");
    }
}

#[test]
fn ends_of_the_exponential() {
    struct Exp;
    impl Operation for Exp {
        fn apply<L: Lanes>(&self, x: L, _: L, _: L) -> L {
            exp(x)
        }
    }
    let at = |x: f32| dispatch(Isa::best(), Run(&Exp, [[x; LANES]; 3]))[0];
    assert_eq!((at(0.0), at(f32::NEG_INFINITY), at(-1e30), at(-88.0)), (1.0, 0.0, 0.0, 0.0));
    assert!(at(f32::NAN).is_nan());
    assert!(at(f32::INFINITY) > 1.6e38, "the greatest it gives");
}
