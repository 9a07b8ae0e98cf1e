//! The few things done to files: whole or not at all, one process at a time, never onto a full disk.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::observer::{Event, Observer};
use crate::{Error, Result};

/// Kept free beside what a download needs.
const SPARE_BYTES: u64 = 16 << 20;
const CHUNK_BYTES: usize = 1 << 18;
const LOCK_POLL: Duration = Duration::from_millis(100);

/// Makes the folder and its parents.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io("make the folder", path))
}

/// Writes a small file so that a reader sees the old bytes or the new ones, never a part.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let temp = temp_beside(path);
    let mut file = File::create(&temp).map_err(Error::io("write", &temp))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io("write", &temp))?;
    rename(&temp, path)
}

/// Renames and makes the new name last: the folder is synced where the system can.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io("rename to", to))?;
    if let Some(folder) = to.parent().and_then(|folder| File::open(folder).ok()) {
        // Windows cannot sync a folder; the rename stands all the same.
        let _ = folder.sync_all();
    }
    Ok(())
}

/// A name beside `path` that no other thread or process uses.
pub(crate) fn temp_beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    sibling(path, &format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// `path` with `suffix` put after its whole name.
pub(crate) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Reads a small file whole; more than `limit` bytes is an error, not memory.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::Manifest { path: path.into(), why: format!("is larger than {limit} bytes") });
    }
    Ok(bytes)
}

/// Calls `each` with the file's first `limit` bytes, piece by piece; its error ends the reading.
pub(crate) fn for_each_chunk(
    path: &Path,
    limit: u64,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut file = File::open(path).map_err(Error::io("read", path))?.take(limit);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(()),
            n => each(&buffer[..n])?,
        }
    }
}

/// An error unless `bytes` more fit on the disk that holds `folder` (which may not exist yet).
pub(crate) fn check_space(folder: &Path, bytes: u64) -> Result<()> {
    let Some(standing) = folder.ancestors().find(|path| path.is_dir()) else { return Ok(()) };
    let free = fs4::available_space(standing).map_err(Error::io("ask for the free space of", standing))?;
    let wanted = bytes.saturating_add(SPARE_BYTES);
    if bytes > 0 && free < wanted {
        return Err(Error::DiskFull { path: folder.into(), wanted, free });
    }
    Ok(())
}

/// Holds a lock file for as long as it lives. The file stays behind: removing it would race.
#[must_use]
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "held for its drop")] File);

/// Waits for the lock however long its holder works, telling the observer once.
pub(crate) fn lock(path: &Path, name: &str, observer: &mut dyn Observer) -> Result<Lock> {
    let file = open_lock(path)?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
            Err(TryLockError::WouldBlock) if observer.is_cancelled() => return Err(Error::Cancelled),
            Err(TryLockError::WouldBlock) => {}
        }
        if !told {
            observer.event(&Event::Waiting { name });
            told = true;
        }
        std::thread::sleep(LOCK_POLL);
    }
}

/// Waits for a lock that is only ever held for moments.
pub(crate) fn lock_briefly(path: &Path) -> Result<Lock> {
    let file = open_lock(path)?;
    file.lock().map_err(Error::io("lock", path))?;
    Ok(Lock(file))
}

fn open_lock(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    File::options().create(true).truncate(false).write(true).open(path).map_err(Error::io("lock", path))
}

/// Every file below `folder` as a path relative to it with `/`, sorted; links are followed, `depth` folders deep.
pub(crate) fn files_below(folder: &Path, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    collect(folder, "", depth, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        if path.is_file() {
            found.push(format!("{prefix}{name}"));
        } else if depth > 0 && path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), depth - 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_never_large_enough_for_everything() {
        let folder = std::env::temp_dir().join("bantam-no-such-folder/deeper");
        assert!(matches!(check_space(&folder, u64::MAX), Err(Error::DiskFull { .. })));
        assert!(check_space(&folder, 1).is_ok());
    }
}
