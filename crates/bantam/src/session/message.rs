//! What was said, and by whom.

use serde_json::{Value, json};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sets the rules.
    System,
    /// Asks.
    User,
    /// Answers.
    Assistant,
}

impl Role {
    /// Its name in the chat completions protocol.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// Something said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// By whom.
    pub role: Role,
    /// What.
    pub content: String,
    /// What the model thought before.
    pub thinking: String,
}

impl Message {
    /// A message without thinking.
    pub fn new(role: Role, content: &str) -> Self {
        Message { role, content: content.to_owned(), thinking: String::new() }
    }

    /// In the form of the chat completions protocol.
    pub fn to_json(&self) -> Value {
        let mut message = json!({ "role": self.role.name(), "content": self.content });
        if !self.thinking.is_empty() {
            message["reasoning_content"] = json!(self.thinking);
        }
        message
    }

    /// From the form of the chat completions protocol; `None` if it is not that.
    pub fn from_json(message: &Value) -> Option<Self> {
        let roles = [Role::System, Role::User, Role::Assistant];
        let role = roles.into_iter().find(|role| message["role"] == role.name())?;
        let content = message["content"].as_str()?.to_owned();
        let thinking = message["reasoning_content"].as_str().unwrap_or_default().to_owned();
        Some(Message { role, content, thinking })
    }
}
