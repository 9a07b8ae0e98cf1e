//! Conversations on disk, as JSON.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bantam::tensor::format::write_atomically;
use bantam::{Message, Session};
use serde_json::{Value, json};

/// A kept file is read up to here.
const BYTES_MAX: u64 = 64 << 20;

/// A kept conversation.
#[derive(Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) system: Option<String>,
    pub(crate) messages: Vec<Message>,
}

/// Where a conversation of this name is kept: a name that is a path is one.
pub(crate) fn path(home: &Path, name: &str) -> PathBuf {
    if name.contains(['/', '\\']) || name.ends_with(".json") {
        return PathBuf::from(name);
    }
    home.join("chats").join(format!("{}.json", name.replace(':', "-")))
}

/// Writes the conversation.
pub(crate) fn save(path: &Path, model: &str, session: &Session) -> Result<()> {
    let system = &session.options.system;
    let kept = to_json(model, system.as_deref(), session.messages());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(write_atomically(path, |out| writeln!(out, "{kept:#}"))?)
}

fn to_json(model: &str, system: Option<&str>, messages: &[Message]) -> Value {
    let messages: Vec<Value> = messages.iter().map(Message::to_json).collect();
    json!({ "model": model, "system": system, "messages": messages })
}

/// Reads a conversation.
pub(crate) fn load(path: &Path) -> Result<Kept> {
    let wanted = || format!("{} is no kept conversation", path.display());
    let bytes = std::fs::metadata(path).with_context(wanted)?.len();
    ensure!(bytes <= BYTES_MAX, "{}: it has {bytes} bytes", wanted());
    let kept: Value =
        serde_json::from_str(&std::fs::read_to_string(path).with_context(wanted)?).with_context(wanted)?;
    from_json(&kept).with_context(wanted)
}

fn from_json(kept: &Value) -> Option<Kept> {
    let messages = kept["messages"].as_array()?;
    let messages = messages.iter().map(Message::from_json).collect::<Option<Vec<Message>>>()?;
    Some(Kept { system: kept["system"].as_str().map(str::to_owned), messages })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam::Role;

    #[test]
    fn a_kept_conversation_is_the_same() {
        let mut answer = Message::new(Role::Assistant, "b");
        answer.thinking = "hm".into();
        let messages = vec![Message::new(Role::User, "a"), answer];
        let kept = to_json("m", Some("s"), &messages);
        assert_eq!(from_json(&kept), Some(Kept { system: Some("s".into()), messages }));
        assert_eq!(from_json(&json!({ "messages": [{ "role": "tool" }] })), None);
    }

    #[test]
    fn names_stay_in_the_folder() {
        let home = Path::new("/h");
        assert_eq!(path(home, "sky"), Path::new("/h/chats/sky.json"));
        assert_eq!(path(home, "qwen3:8b"), Path::new("/h/chats/qwen3-8b.json"));
        assert_eq!(path(home, "./sky.json"), Path::new("./sky.json"));
    }
}
