//! Chat templates.
/// a
pub struct ChatTemplate;
/// b
pub struct Conversation;
