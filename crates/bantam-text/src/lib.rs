//! Tokenisers and chat templates: strings to ids and back.
#![forbid(unsafe_code)]
