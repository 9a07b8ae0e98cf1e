//! Files that are either the old or the new one, whatever happens in between.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::Error;

/// Writes a file beside `path`, syncs it to the disk and renames it to `path`. A file that is mapped meanwhile
/// keeps its old contents.
///
/// # Errors
///
/// What the system or `fill` says; a `path` that is there and is no regular file.
pub fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        // A device or a folder must not be replaced.
        return Err(Error::io("write", path)(io::Error::other("it is there and is no regular file")));
    }
    let written = write_synced(&beside, fill).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(Error::io("write", path))
}

fn write_synced(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, File::create(path)?);
    fill(&mut writer)?;
    writer.flush()?;
    writer.get_ref().sync_all()
}
