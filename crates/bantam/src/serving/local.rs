//! A socket in the file system that only its owner can use.
//!
//! It is made in a folder of the owner's own, closed to others, and then moved to its place: at no moment could anybody
//! else connect.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A socket's file, which goes away with this.
pub(crate) struct LocalSocket {
    path: PathBuf,
    inode: u64,
}

impl LocalSocket {
    /// Listens; a socket that nobody listens on any more is replaced.
    pub(crate) fn bind(path: &Path) -> Result<(Self, UnixListener)> {
        check_free(path)?;
        let mut folder = path.as_os_str().to_owned();
        folder.push(format!(".{}", std::process::id()));
        let folder = PathBuf::from(folder);
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let listener = bind_in(&folder, path);
        // Nothing is left in it; where it cannot go, it does no harm.
        let _ = fs::remove_dir(&folder);
        let listener = listener.with_context(|| format!("cannot listen on {}", path.display()))?;
        let inode = fs::symlink_metadata(path).map_or(0, |metadata| metadata.ino());
        Ok((LocalSocket { path: path.to_owned(), inode }, listener))
    }
}

fn bind_in(folder: &Path, path: &Path) -> std::io::Result<UnixListener> {
    let inside = folder.join("s");
    let listener = UnixListener::bind(&inside)?;
    let moved =
        fs::set_permissions(&inside, Permissions::from_mode(0o600)).and_then(|()| fs::rename(&inside, path));
    if moved.is_err() {
        let _ = fs::remove_file(&inside);
    }
    moved.map(|()| listener)
}

fn check_free(path: &Path) -> Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot look at {}", path.display())),
    };
    if !metadata.file_type().is_socket() {
        bail!("{} is there and is no socket: choose another path for --unix", path.display());
    }
    if UnixStream::connect(path).is_ok() {
        bail!("somebody listens on {} already", path.display());
    }
    Ok(())
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // By now it may be another server's.
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_can_use_it_and_it_goes_with_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (socket, listener) = LocalSocket::bind(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        assert!(LocalSocket::bind(&path).is_err(), "it is in use");
        drop(listener);
        let (newer, _listener) = LocalSocket::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists(), "it is another one's now");
        drop(newer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(&path, "precious").unwrap();
        assert!(LocalSocket::bind(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
