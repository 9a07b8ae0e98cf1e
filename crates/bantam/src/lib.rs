//! Small language models on hardware people own.
#![forbid(unsafe_code)]
