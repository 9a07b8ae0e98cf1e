//! Event files for TensorBoard: records of protocol buffers, of which only the few fields that are needed are written.
//!
//! A record is its length, a checksum of that, the message, a checksum of that (TFRecord); a message is an `Event` as
//! `tensorflow/core/util/event.proto` describes it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// A file that events are added to.
pub(crate) struct EventFile {
    file: File,
}

impl EventFile {
    /// A new file in a folder, which says that a run begins, or goes on, behind a step.
    pub(crate) fn create(folder: &Path, step: u64) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let path = folder.join(format!("events.out.tfevents.{}.bantam", wall_time() as u64));
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let mut events = EventFile { file };
        let mut version = Message::event(0);
        version.bytes(3, b"brain.Event:2");
        events.write(&version)?;
        // From here on, later steps of an earlier file do not count.
        let (mut event, mut session) = (Message::event(step), Message::default());
        session.number(1, 1);
        event.message(7, &session);
        events.write(&event)?;
        Ok(events)
    }

    /// Adds numbers.
    pub(crate) fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<()> {
        let mut summary = Message::default();
        for (tag, number) in scalars {
            let mut value = Message::default();
            value.bytes(1, tag.as_bytes());
            value.float(2, *number as f32);
            summary.message(1, &value);
        }
        self.summary(step, &summary)
    }

    /// Adds texts.
    pub(crate) fn texts(&mut self, step: u64, tag: &str, texts: &[String]) -> Result<()> {
        const STRING: u64 = 7;
        if texts.is_empty() {
            return Ok(());
        }
        let [mut plugin, mut metadata, mut dim, mut shape] = std::array::from_fn(|_| Message::default());
        plugin.bytes(1, b"text");
        metadata.message(1, &plugin);
        dim.number(1, texts.len() as u64);
        shape.message(2, &dim);
        let [mut tensor, mut value, mut summary] = std::array::from_fn(|_| Message::default());
        tensor.number(1, STRING);
        tensor.message(2, &shape);
        texts.iter().for_each(|text| tensor.bytes(8, text.as_bytes()));
        value.bytes(1, format!("{tag}/text_summary").as_bytes());
        value.message(8, &tensor);
        value.message(9, &metadata);
        summary.message(1, &value);
        self.summary(step, &summary)
    }

    fn summary(&mut self, step: u64, summary: &Message) -> Result<()> {
        let mut event = Message::event(step);
        event.message(5, summary);
        self.write(&event)
    }

    fn write(&mut self, event: &Message) -> Result<()> {
        self.file.write_all(&record(&event.bytes)).context("cannot add to the event file")
    }
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// A message of protocol buffers.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn event(step: u64) -> Self {
        let mut event = Message::default();
        event.varint(1 << 3 | 1);
        event.bytes.extend(wall_time().to_le_bytes());
        event.number(2, step);
        event
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    fn float(&mut self, field: u64, number: f32) {
        self.varint(field << 3 | 5);
        self.bytes.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend(bytes);
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.bytes);
    }
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let [of_length, of_message] = [&length[..], message].map(|bytes| masked(crc32c(bytes)).to_le_bytes());
    [&length[..], &of_length, message, &of_message].concat()
}

/// As TFRecord stores checksums, so that those of checksums are not too simple.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The checksum of Castagnoli, bit by bit: events are few and short.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (POLYNOMIAL * (crc & 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RFC 3720, appendix B.4.
    #[test]
    fn checksums_are_those_of_the_rfc() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn long_numbers_take_several_bytes() {
        let mut message = Message::default();
        message.number(2, 300);
        assert_eq!(message.bytes, [0x10, 0xac, 0x02]);
    }
}
