//! One file for each verb: typed arguments in, work through the library, results printed.

pub(crate) mod adapter;
pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod finetune;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod learn;
pub(crate) mod learning;
pub(crate) mod list;
pub(crate) mod logits;
pub(crate) mod merge;
pub(crate) mod perplexity;
pub(crate) mod privacy;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod show;
pub(crate) mod tokenize;
pub(crate) mod top;
pub(crate) mod train;
