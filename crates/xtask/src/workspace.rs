//! Where things lie: the workspace, its build folder, and the reference data beside it.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The root of the workspace, two folders above this crate's manifest.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Cargo's build folder; what the verbs fetch or make lies in there too.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The reference data (oracle, recorded truth, vectors), which is not part of the repository: the folder named
/// by `BANTAM_SHARED`, else `shared` beside the workspace. `None` where neither is there.
pub(crate) fn shared() -> Option<PathBuf> {
    let folder = match std::env::var_os("BANTAM_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => root().parent()?.join("shared"),
    };
    folder.join("oracle").is_dir().then_some(folder)
}

/// Every file under `folder` but in hidden and built folders, in order of its path. (`.git` is a file in a work tree.)
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let path = entry.map_err(Error::io(&folder))?.path();
            if path.is_dir() {
                if !is_skipped(&path) {
                    folders.push(path);
                }
            } else if path.file_name().is_some_and(|name| name != ".git") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_skipped(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let hidden = name.starts_with('.') && !matches!(&*name, ".ci" | ".cargo");
    hidden || matches!(&*name, "target" | "__pycache__")
}

/// `path` as it is written in messages: from the root, with forward slashes.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(Error::io(path))
}
