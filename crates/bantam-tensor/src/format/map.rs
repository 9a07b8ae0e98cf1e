//! Mapping of files into memory: the one place of this crate with `unsafe`.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use crate::{Bytes, Error};

/// Maps a whole regular file for reading.
///
/// # Errors
///
/// [`Error::Io`] if the system refuses, or the path is not a regular file (a pipe would block).
pub fn map(path: &Path) -> Result<Bytes, Error> {
    // Asked before opening, since to open a pipe without a writer would wait for ever.
    let kind = std::fs::metadata(path).map_err(Error::io("open", path))?;
    if !kind.is_file() {
        return Err(Error::io("open", path)(std::io::Error::other("not a regular file")));
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    if kind.len() == 0 {
        return Ok(Bytes::from(Vec::new()));
    }
    let map = map_file(&file).map_err(Error::io("map", path))?;
    // Large pages where the system has them for files (Linux, by CONFIG_READ_ONLY_THP_FOR_FS); elsewhere it says no.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Ok(Bytes::from_map(map))
}

/// Lets go of the pages of a part of a mapping, which come back out of the file when they are read again.
#[cfg(unix)]
#[expect(unsafe_code, reason = "of writable mappings this would take what was written")]
pub(crate) fn release(map: &Mmap, part: Range<usize>) {
    // SAFETY: the mapping is read-only, so a page that is read again has the bytes of the file, as before; memmap2 asks for
    // pages inside the mapping alone. A refusal by the system changes nothing.
    let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, part.start, part.len()) };
}

/// As on systems that can be asked for it: these keep the pages.
#[cfg(not(unix))]
pub(crate) fn release(_: &Mmap, _: Range<usize>) {}

#[expect(unsafe_code, reason = "a mapping is memory that the compiler knows nothing of")]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is read-only and private, it owns its pages until it is dropped, and its length is
    // fixed here, so every slice of it stays inside it. It is used as plain bytes, for which every bit pattern
    // is valid, and nothing that was once checked in it is later relied on for memory safety: the readers
    // slice again with checks. What remains is what every program that maps files asks of its user: that no
    // other program writes to a model file in place while it is open (a shortened file would end the process
    // by SIGBUS). bantam's own writers never do so: they write another file and rename it.
    unsafe { Mmap::map(file) }
}
