//! Storages, shapes, views of mapped bytes, and the file formats.
#![deny(unsafe_code)]
