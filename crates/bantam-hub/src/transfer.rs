//! One file over the network onto the disk: resumed, retried, verified.
//!
//! The part file holds a prefix of what is wanted. It is taken up again by whoever comes next, and becomes the file
//! only when all of it has the right hash.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use ureq::Body;
use ureq::http::{Response, StatusCode};

use crate::digest::{Digest, Expected, Hasher};
use crate::disk;
use crate::net::{self, Client};
use crate::observer::{Event, Observer};
use crate::{Error, Result};

const TRIES_MAX: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// So much forgives the failures before it.
const PROGRESS_BYTES: u64 = 4 << 20;
const CHUNK_BYTES: usize = 1 << 18;

/// What to fetch, and where to.
pub(crate) struct Job<'a> {
    pub(crate) name: &'a str,
    pub(crate) url: &'a str,
    pub(crate) etag: &'a str,
    pub(crate) size: u64,
    pub(crate) expected: Expected,
    /// The part file.
    pub(crate) part: &'a Path,
}

/// Fetches all of `job` into its part file and verifies it. A part that turns out wrong is removed, and if it was begun
/// by an earlier run, fetched once more from the start.
pub(crate) fn fetch(client: &Client, job: &Job<'_>, observer: &mut dyn Observer) -> Result<Digest> {
    let resumed = fs::metadata(job.part).is_ok_and(|part| part.len() > 0);
    match fetch_once(client, job, observer) {
        Err(Error::WrongHash { .. }) if resumed => fetch_once(client, job, observer),
        result => result,
    }
}

fn fetch_once(client: &Client, job: &Job<'_>, observer: &mut dyn Observer) -> Result<Digest> {
    let mut part = Part::open(job)?;
    observer.start(job.name, Some(job.size), part.done);
    let result = fill(client, job, &mut part, observer);
    observer.finish();
    result?;
    part.close(job)
}

/// The part file with the hash of what it holds.
struct Part {
    file: File,
    hasher: Hasher,
    done: u64,
}

impl Part {
    fn open(job: &Job<'_>) -> Result<Part> {
        let open = File::options().create(true).truncate(false).write(true).open(job.part);
        let mut file = open.map_err(Error::io("write", job.part))?;
        let length = file.seek(SeekFrom::End(0)).map_err(Error::io("read", job.part))?;
        let mut part = Part { file, hasher: Hasher::new(job.size), done: 0 };
        if length > job.size {
            part.restart(job)?;
            return Ok(part);
        }
        disk::for_each_chunk(job.part, length, |chunk| {
            part.hasher.update(chunk, &job.expected);
            part.done += chunk.len() as u64;
            Ok(())
        })?;
        Ok(part)
    }

    fn restart(&mut self, job: &Job<'_>) -> Result<()> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(Error::io("empty", job.part))?;
        self.hasher = Hasher::new(job.size);
        self.done = 0;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8], job: &Job<'_>) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io("write", job.part))?;
        self.hasher.update(bytes, &job.expected);
        self.done += bytes.len() as u64;
        Ok(())
    }

    fn close(self, job: &Job<'_>) -> Result<Digest> {
        self.file.sync_all().map_err(Error::io("write", job.part))?;
        drop(self.file);
        let verified = self.hasher.verify(job.name, &job.expected);
        if verified.is_err() {
            fs::remove_file(job.part).map_err(Error::io("remove", job.part))?;
        }
        verified
    }
}

/// Reads until the part is whole, picking a broken transfer up where it stopped.
fn fill(client: &Client, job: &Job<'_>, part: &mut Part, observer: &mut dyn Observer) -> Result<()> {
    let mut tries = 0;
    while part.done < job.size {
        let before = part.done;
        let why = match stream(client, job, part, observer) {
            Ok(()) if part.done == job.size => return Ok(()),
            Ok(()) => "the answer ended early".to_string(),
            Err(error @ (Error::Unreachable { .. } | Error::Broken { .. })) => error.to_string(),
            Err(error) => return Err(error),
        };
        tries = if part.done >= before.saturating_add(PROGRESS_BYTES) { 1 } else { tries + 1 };
        if tries >= TRIES_MAX {
            return Err(Error::Broken { name: job.name.into(), done: part.done, size: job.size, tries, why });
        }
        observer.event(&Event::Resuming { name: job.name, done_bytes: part.done, why: &why });
        thread::sleep(FIRST_PAUSE * 2u32.pow(tries));
    }
    Ok(())
}

/// One request, from where the part ends to where the answer ends.
fn stream(client: &Client, job: &Job<'_>, part: &mut Part, observer: &mut dyn Observer) -> Result<()> {
    let mut response = client.get_from(job.url, part.done, job.etag)?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(part.done) => {}
        StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if part.done > 0 => {
            // The server does not go on from here: from the start, then.
            let is_whole = response.status() == StatusCode::OK;
            part.restart(job)?;
            observer.finish();
            observer.start(job.name, Some(job.size), 0);
            if !is_whole {
                return Ok(());
            }
        }
        StatusCode::OK => {}
        status => return Err(refusal(job, status, &mut response, part.done)),
    }
    copy(response, job, part, observer)
}

fn copy(response: Response<Body>, job: &Job<'_>, part: &mut Part, observer: &mut dyn Observer) -> Result<()> {
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        if observer.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let n = match body.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(error) => return Err(broken(job, part.done, error.to_string())),
        };
        if part.done + n as u64 > job.size {
            let why = format!("sends more than the {} bytes it promised", job.size);
            return Err(Error::Answer { url: net::clean(job.url), why });
        }
        part.append(&buffer[..n], job)?;
        observer.advance(n as u64);
    }
}

fn broken(job: &Job<'_>, done: u64, why: String) -> Error {
    Error::Broken { name: job.name.into(), done, size: job.size, tries: 1, why }
}

fn refusal(job: &Job<'_>, status: StatusCode, response: &mut Response<Body>, done: u64) -> Error {
    let why = format!("answered {status} {}", net::excerpt(response));
    if net::is_passing(status) {
        broken(job, done, why)
    } else {
        Error::Answer { url: net::clean(job.url), why }
    }
}

/// `N` of `content-range: bytes N-M/L`.
fn range_start(response: &Response<Body>) -> Option<u64> {
    let range = net::text(response.headers(), "content-range")?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
