//! What a client can make the server do at most.

use std::time::Duration;

/// Bytes of a body.
pub(crate) const BODY_BYTES_MAX: usize = 32 << 20;
/// Time for the next bytes of a file to come.
pub(crate) const FILE_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Time for a body to come.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes of a request's first line and headers together.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Headers of a request.
pub(crate) const HEADERS_MAX: usize = 100;
/// Time for a head to come, and for a connection to do nothing.
pub(crate) const HEAD_TIME_MAX: Duration = Duration::from_secs(60);
/// Adapters that can be asked for.
pub(crate) const ADAPTERS_MAX: usize = 1024;
/// Adapters, alone and together and at different scales, that are kept open for a model.
pub(crate) const ADAPTER_MIXES_MAX: usize = 64;
/// Requests that wait for models to be loaded.
pub(crate) const LOADS_WAITING_MAX: usize = 256;
/// Connections that are open.
pub(crate) const CONNECTIONS_MAX: usize = 1024;
/// Answers to one request, all prompts together.
pub(crate) const CHOICES_MAX: usize = 128;
/// Responses that are kept, and the bytes that they take.
pub(crate) const RESPONSES_MAX: usize = 1024;
pub(crate) const RESPONSES_BYTES_MAX: usize = 64 << 20;
/// Conversations that are kept, the bytes that they take, and those of one of them.
pub(crate) const CONVERSATIONS_MAX: usize = 1024;
pub(crate) const CONVERSATIONS_BYTES_MAX: usize = 64 << 20;
pub(crate) const CONVERSATION_BYTES_MAX: usize = 8 << 20;
/// Texts that become vectors in one request.
pub(crate) const INPUTS_MAX: usize = 2048;
/// Likely tokens told with each token.
pub(crate) const TOP_LOGPROBS_MAX: usize = 20;
/// Stop strings, and bytes of each.
pub(crate) const STOPS_MAX: usize = 32;
pub(crate) const STOP_BYTES_MAX: usize = 1024;
/// Tokens with a bias.
pub(crate) const BIASES_MAX: usize = 1024;
/// Messages of a conversation, and items of one that is kept.
pub(crate) const MESSAGES_MAX: usize = 10_000;
/// Tools that a request may offer.
pub(crate) const TOOLS_MAX: usize = 256;
/// A stream that has nothing to say says so this often.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(15);
