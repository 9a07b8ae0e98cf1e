//! What an answer may be: schemas, patterns and grammars to the tokens that may come next.
//!
//! A [`Vocabulary`] is made once for a model. It compiles a [`Spec`] to a [`Grammar`], of which each answer gets a
//! constraint of its own for [`bantam_engine::Request::constraint`]. The parser beneath is `llguidance`; what it would
//! leave out of a schema is refused here, by keyword and place.
//!
//! Whatever a schema says, compiling it ends soon: sizes, depths and work are bounded. A schema never makes anything
//! be fetched.
#![forbid(unsafe_code)]

mod budget;
mod closing;
mod constraint;
mod error;
mod free;
mod gbnf;
mod grammar;
mod limits;
mod pattern;
mod place;
mod schema;
mod spec;
mod start;
mod strings;
mod tables;
mod vocabulary;
mod words;

pub use budget::ThinkingBudget;
pub use error::{Error, Keyword};
pub use grammar::Grammar;
pub use schema::{LeftOut, Part, to_lark, to_lark_in_part, type_to_lark};
pub use spec::Spec;
pub use start::{Mark, Start};
pub use vocabulary::Vocabulary;
