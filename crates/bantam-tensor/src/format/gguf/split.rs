//! GGUF files that are split into parts, as `llama-gguf-split` writes them.
//!
//! Part i of n is named `NAME-0000i-of-0000n.gguf`, from 1, and says `split.no` (from 0), `split.count` and
//! `split.tensors.count` (of all parts together). The first part has the metadata of the model.

use std::path::{Path, PathBuf};

use crate::Bytes;
use crate::error::Error;
use crate::format::gguf::{File, Metadata};
use crate::format::tensors::Tensors;
use crate::format::{SHARDS_MAX, map};

/// Reads the file at `path`, and every other part of the model if it is one of several.
pub(in crate::format) fn open(path: &Path, bytes: Bytes) -> Result<(Metadata, Tensors, u64), Error> {
    let file = File::parse(&bytes).map_err(|error| error.in_file(path))?;
    let count = split_count(&file.metadata).map_err(|error| error.in_file(path))?;
    if count <= 1 {
        return Ok((file.metadata, file.tensors, bytes.len() as u64));
    }
    let names = part_paths(path, count)?;
    drop(file);
    let mut parts = names.iter().enumerate().map(|(no, part)| open_part(part, no, count));
    let Some((mut first, mut file_bytes)) = parts.next().transpose()? else {
        return Err(disagree(path, "it has no parts"));
    };
    for (part, name) in parts.zip(&names[1..]) {
        let (part, len) = part?;
        file_bytes += len;
        first.tensors.append(part.tensors).map_err(|error| error.in_file(name))?;
    }
    refuse_lost_tensors(&first, path)?;
    Ok((first.metadata, first.tensors, file_bytes))
}

/// One part, which must say of itself that it is number `no`.
fn open_part(path: &Path, no: usize, count: usize) -> Result<(File, u64), Error> {
    let bytes = map::map(path)?;
    let file = File::parse(&bytes).map_err(|error| error.in_file(path))?;
    let in_part = |error: Error| error.in_file(path);
    let found_no: usize = file.metadata.read("split.no").map_err(in_part)?;
    let found_count = split_count(&file.metadata).map_err(in_part)?;
    if (found_no, found_count) != (no, count) {
        let reason = format!(
            "it should be part {} of {count}, but says that it is part {} of {found_count}",
            no + 1,
            found_no.saturating_add(1)
        );
        return Err(disagree(path, reason));
    }
    Ok((file, bytes.len() as u64))
}

fn split_count(metadata: &Metadata) -> Result<usize, Error> {
    Ok(metadata.find("split.count")?.unwrap_or(1))
}

fn refuse_lost_tensors(first: &File, path: &Path) -> Result<(), Error> {
    let wanted = first.metadata.find::<usize>("split.tensors.count").map_err(|error| error.in_file(path))?;
    let Some(wanted) = wanted else { return Ok(()) };
    let found = first.tensors.len();
    if wanted == found {
        return Ok(());
    }
    Err(disagree(path, format!("all parts together should have {wanted} tensors, but have {found}")))
}

/// The paths of all parts, from the path of one.
fn part_paths(path: &Path, count: usize) -> Result<Vec<PathBuf>, Error> {
    if count > SHARDS_MAX {
        return Err(disagree(path, format!("it claims {count} parts; at most {SHARDS_MAX} are allowed")));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(stem) = part_stem(name, count) else {
        let reason = format!(
            "it is one of {count} parts, so its name should end in -00001-of-{count:05}.gguf; without that \
             name the other parts cannot be found"
        );
        return Err(disagree(path, reason));
    };
    Ok((1..=count).map(|no| path.with_file_name(format!("{stem}-{no:05}-of-{count:05}.gguf"))).collect())
}

/// `NAME` of `NAME-00002-of-00005.gguf`.
fn part_stem(name: &str, count: usize) -> Option<&str> {
    let stem = name.strip_suffix(&format!("-of-{count:05}.gguf"))?;
    let (stem, no) = stem.rsplit_once('-')?;
    (no.len() == 5 && no.bytes().all(|digit| digit.is_ascii_digit())).then_some(stem)
}

fn disagree(path: &Path, reason: impl Into<String>) -> Error {
    Error::Shards { reason: reason.into() }.in_file(path)
}
