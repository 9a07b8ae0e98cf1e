//! Files read for other ends than to be learnt: what is asked in them, and the text that they hold.

use std::path::PathBuf;

use serde_json::Value;

use crate::columns::Columns;
use crate::error::Error;
use crate::example::Origin;
use crate::fault::Fault;
use crate::files::Files;
use crate::form::{self, Sample};
use crate::read::{Record, read};

/// What is asked in a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Messages, of which the last is not the assistant's.
    pub messages: Vec<Value>,
    /// Where it comes from; files are counted in the order in which they are read.
    pub origin: Origin,
}

/// What is asked in files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Questions {
    /// In the order of the files.
    pub asked: Vec<Question>,
    /// Lines in which nothing is.
    pub bad: Vec<(Origin, Fault)>,
}

/// What is asked in the lines of files and folders: prompts, chats up to their last answer, texts.
///
/// # Errors
///
/// A file that cannot be read; files in which nothing is asked at all.
pub fn questions(paths: &[PathBuf], columns: &Columns) -> Result<Questions, Error> {
    let mut found = Questions::default();
    records(paths, |origin, record| match record.and_then(|record| form::question(record, columns)) {
        Ok(messages) => found.asked.push(Question { messages, origin }),
        Err(fault) => found.bad.push((origin, fault)),
    })?;
    match (found.asked.is_empty(), found.bad.first()) {
        (false, _) => Ok(found),
        (true, bad) => {
            let reason = bad.map_or_else(|| "no lines".to_owned(), |(_, fault)| fault.to_string());
            Err(Error::Empty { wanted: "lines that ask something", found: reason })
        }
    }
}

/// Shows all that people or models wrote in files and folders, line after line; bad lines are left out.
///
/// # Errors
///
/// A file that cannot be read.
pub fn texts(paths: &[PathBuf], columns: &Columns, mut show: impl FnMut(&str)) -> Result<(), Error> {
    records(paths, |_, record| {
        if let Ok(sample) = record.and_then(|record| Sample::of(record, None, columns)) {
            show(&sample.content());
        }
    })
}

fn records(paths: &[PathBuf], mut sink: impl FnMut(Origin, Result<Record, Fault>)) -> Result<(), Error> {
    for (file, (path, format)) in Files::of(paths)?.found.into_iter().enumerate() {
        read(&path, format, &mut |line, record| {
            sink(Origin { file, line }, record);
            Ok(())
        })?;
    }
    Ok(())
}
