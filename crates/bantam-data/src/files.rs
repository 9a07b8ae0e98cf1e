//! From paths to files with their formats.
//!
//! A folder stands for its files and those of its folders, in the order of their names, so that the same folder
//! gives the same dataset everywhere. Files of no known kind in a folder are not read, and are reported.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Error;

/// Folders in folders at most: links can make rings.
const DEPTH_MAX: usize = 16;

/// What would be a file of data.
pub(crate) const WANTED: &str = ".jsonl, .ndjson, .json, .csv, .tsv, .parquet, .txt or .md";

/// How a file holds its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// One array of JSON objects, or as [`Format::Jsonl`].
    Json,
    /// Fields with commas between them; the first row names the columns.
    Csv,
    /// Fields with tabs between them; the first row names the columns.
    Tsv,
    /// Apache Parquet, where it is compiled in (feature `parquet`).
    Parquet,
    /// Plain text: a document, or several with lines `<|endoftext|>` between them.
    Text,
}

impl Format {
    /// By the end of the file's name.
    fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "parquet" => Some(Self::Parquet),
            "txt" | "text" | "md" => Some(Self::Text),
            _ => None,
        }
    }

    /// By how the file begins.
    fn of_content(path: &Path) -> Result<Self, Error> {
        let mut head = Vec::new();
        let file = File::open(path).map_err(Error::io(path))?;
        file.take(4096).read_to_end(&mut head).map_err(Error::io(path))?;
        if head.starts_with(b"PAR1") {
            return Ok(Self::Parquet);
        }
        if head.contains(&0) {
            return Err(Error::file(path, WANTED, "a binary file of another kind"));
        }
        let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
        Ok(if matches!(first, Some(b'{' | b'[')) { Self::Json } else { Self::Text })
    }
}

/// The files of paths.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) found: Vec<(PathBuf, Format)>,
    /// Files in folders that are of no known kind.
    pub(crate) skipped: Vec<PathBuf>,
}

impl Files {
    pub(crate) fn of(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut files = Self::default();
        for path in paths {
            if std::fs::metadata(path).map_err(Error::io(path))?.is_dir() {
                files.add_folder(path, 0)?;
                continue;
            }
            let format = Format::of_name(path).map_or_else(|| Format::of_content(path), Ok)?;
            files.found.push((path.clone(), format));
        }
        if files.found.is_empty() {
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            return Err(Error::Empty { wanted: WANTED, found: format!("none in {}", names.join(", ")) });
        }
        Ok(files)
    }

    fn add_folder(&mut self, folder: &Path, depth: usize) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(Error::file(folder, "at most 16 folders in one another", "more, or a ring of links"));
        }
        let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
        let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|e| e.path())).collect();
        let mut paths = paths.map_err(Error::io(folder))?;
        paths.sort();
        let is_hidden = |path: &Path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        for path in paths.into_iter().filter(|path| !is_hidden(path)) {
            if path.is_dir() {
                self.add_folder(&path, depth + 1)?;
            } else if let Some(format) = Format::of_name(&path) {
                self.found.push((path, format));
            } else {
                self.skipped.push(path);
            }
        }
        Ok(())
    }
}
