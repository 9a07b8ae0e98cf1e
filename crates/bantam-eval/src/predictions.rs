//! Files of predictions: what a model thought of every scored token of a text, for others to be compared with.
//!
//! The format is that of llama.cpp's `perplexity --kl-divergence-base`, little endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `_logits_` |
//! | 4 + 4 + 4 | tokens in a window, vocabulary, windows (i32) |
//! | 4 each | the tokens of all windows (i32) |
//! | for each scored position | scale (f32), least log-probability (f32), one u16 for each token, and one more where the vocabulary is odd |
//!
//! A log-probability is `scale * code + least`; what lies more than 16 below the greatest is raised to that.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bantam_engine::sampling::log_sum_exp;

use crate::Error;

const MAGIC: &[u8; 8] = b"_logits_";
/// Logits further below the greatest are raised to this distance.
const SPAN: f32 = 16.0;

/// What a file begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictionsHeader {
    /// Tokens in a window; those of the second half are scored.
    pub window: usize,
    /// Log-probabilities in a row.
    pub vocab_size: usize,
    /// The tokens of all windows.
    pub tokens: Vec<u32>,
}

/// The predictions at one position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    scale: f32,
    least: f32,
    codes: Vec<u16>,
}

impl Row {
    /// Rounds logits to codes.
    pub fn of(logits: &[f32]) -> Self {
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let least = logits.iter().copied().fold(f32::INFINITY, f32::min).max(greatest - SPAN);
        let scale = (greatest - least) / 65535.0;
        let code = |logit: &f32| if scale > 0.0 { ((logit - least) / scale).round() as u16 } else { 0 };
        let least_log_p = (f64::from(least) - log_sum_exp(logits)) as f32;
        Row { scale, least: least_log_p, codes: logits.iter().map(code).collect() }
    }

    /// The log-probability of each token.
    pub fn log_probabilities(&self) -> impl Iterator<Item = f32> {
        self.codes.iter().map(|code| self.scale * f32::from(*code) + self.least)
    }
}

/// Writes predictions; the file appears under its name when it is whole.
pub struct PredictionsWriter {
    out: BufWriter<File>,
    path: PathBuf,
    part: PathBuf,
    vocab_size: usize,
}

impl PredictionsWriter {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn create(path: &Path, header: &PredictionsHeader) -> Result<Self, Error> {
        if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            // A device or a folder must not be replaced.
            let why = std::io::Error::other("it is there and is no regular file");
            return Err(io("write", path)(why));
        }
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(io("write", path))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let windows = header.tokens.len() / header.window.max(1);
        let mut start = MAGIC.to_vec();
        for number in [header.window, header.vocab_size, windows] {
            start.extend((number as i32).to_le_bytes());
        }
        start.extend(header.tokens.iter().flat_map(|token| (*token as i32).to_le_bytes()));
        out.write_all(&start).map_err(io("write", path))?;
        Ok(PredictionsWriter { out, path: path.into(), part, vocab_size: header.vocab_size })
    }

    /// Adds the predictions of the next scored position.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn push(&mut self, logits: &[f32]) -> Result<(), Error> {
        let row = Row::of(logits);
        let mut bytes = Vec::with_capacity(row_bytes(self.vocab_size));
        bytes.extend(row.scale.to_le_bytes());
        bytes.extend(row.least.to_le_bytes());
        bytes.extend(row.codes.iter().flat_map(|code| code.to_le_bytes()));
        bytes.resize(row_bytes(self.vocab_size), 0);
        self.out.write_all(&bytes).map_err(io("write", &self.path))
    }

    /// Ends the file and gives it its name.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn finish(mut self) -> Result<(), Error> {
        let done = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        done.and_then(|()| std::fs::rename(&self.part, &self.path)).map_err(io("write", &self.path))
    }
}

impl Drop for PredictionsWriter {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name; otherwise half a file is of no use.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// Reads predictions, one row after the other.
pub struct PredictionsReader {
    input: BufReader<File>,
    path: PathBuf,
    /// What the file begins with.
    pub header: PredictionsHeader,
}

impl PredictionsReader {
    /// Opens a file and reads its beginning; its length must be what that says.
    ///
    /// # Errors
    ///
    /// What the system says, or where the file departs from its format.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(io("read", path))?;
        let length = file.metadata().map_err(io("read", path))?.len();
        let mut input = BufReader::with_capacity(1 << 20, file);
        let refuse = |reason: String| Error::Predictions { path: path.into(), reason };
        let mut start = [0; 20];
        input
            .read_exact(&mut start)
            .map_err(|_| refuse("wanted a file of predictions, found less than 20 bytes".into()))?;
        if &start[..8] != MAGIC {
            return Err(refuse("wanted a file of predictions, which begins with \"_logits_\"".into()));
        }
        let number = |at: usize| i32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
        let [window, vocab, windows] = [8, 12, 16].map(number).map(|n| u64::try_from(n).unwrap_or(0));
        if window < 4 || vocab == 0 || windows == 0 {
            return Err(refuse(format!("{windows} windows of {window} tokens over {vocab} cannot be")));
        }
        let scored = window - 1 - window / 2;
        // Each factor is below 2^31, so 128 bits hold the product.
        let rows = u128::from(windows) * u128::from(scored) * row_bytes(vocab as usize) as u128;
        let wanted = 20 + 4 * u128::from(windows) * u128::from(window) + rows;
        if u128::from(length) != wanted {
            return Err(refuse(format!("its beginning asks for {wanted} bytes, the file has {length}")));
        }
        let mut bytes = vec![0; (windows * window * 4) as usize];
        input.read_exact(&mut bytes).map_err(io("read", path))?;
        let tokens = bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        let header = PredictionsHeader { window: window as usize, vocab_size: vocab as usize, tokens };
        Ok(PredictionsReader { input, path: path.into(), header })
    }

    /// The predictions at the next scored position.
    ///
    /// # Errors
    ///
    /// What the system says, at the end too; numbers that are no log-probabilities.
    pub fn next_row(&mut self) -> Result<Row, Error> {
        let mut bytes = vec![0; row_bytes(self.header.vocab_size)];
        self.input.read_exact(&mut bytes).map_err(io("read", &self.path))?;
        let float = |at: usize| f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (scale, least) = (float(0), float(4));
        if !(scale >= 0.0 && scale.is_finite() && least.is_finite()) {
            let reason = format!("a row has scale {scale} and least log-probability {least}");
            return Err(Error::Predictions { path: self.path.clone(), reason });
        }
        let codes = bytes[8..].as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
        Ok(Row { scale, least, codes: codes.take(self.header.vocab_size).collect() })
    }
}

/// Bytes of a row: two floats, and the codes filled up to whole words.
fn row_bytes(vocab_size: usize) -> usize {
    8 + 4 * vocab_size.div_ceil(2)
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_within_half_a_step() {
        let logits: Vec<f32> = (0..33).map(|i| (i as f32 * 1.7).sin() * 9.0).collect();
        let folder = std::env::temp_dir().join(format!("bantam-predictions-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("base.kld");
        let header = PredictionsHeader { window: 4, vocab_size: 33, tokens: vec![1, 2, 3, 4] };
        assert!(PredictionsWriter::create(&folder, &header).is_err() && folder.is_dir());
        let mut writer = PredictionsWriter::create(&path, &header).unwrap();
        writer.push(&logits).unwrap();
        writer.finish().unwrap();
        let mut reader = PredictionsReader::open(&path).unwrap();
        assert_eq!(reader.header, header);
        let normal = log_sum_exp(&logits);
        let greatest = logits.iter().copied().fold(f32::MIN, f32::max);
        for (found, logit) in reader.next_row().unwrap().log_probabilities().zip(&logits) {
            let wanted = f64::from(logit.max(greatest - SPAN)) - normal;
            assert!((f64::from(found) - wanted).abs() <= f64::from(SPAN) / 65535.0, "{found} for {wanted}");
        }
        assert!(reader.next_row().is_err(), "behind the end");

        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 7, 19, 30, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(PredictionsReader::open(&path).is_err(), "cut at {cut}");
        }
        let mut huge = whole.clone();
        huge[8..20].fill(0x7f);
        std::fs::write(&path, &huge).unwrap();
        assert!(PredictionsReader::open(&path).is_err(), "giant counts");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
