//! Where models come from and where they lie: catalogue, mirrors, store.
#![forbid(unsafe_code)]
