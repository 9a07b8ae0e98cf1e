//! Why something cannot be a grammar.

/// Everything that can be wrong with a specification of answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Keywords that would have to be left out.
    #[error("{}", refusal(.0))]
    Keywords(Vec<Keyword>),

    /// A keyword with a value that it cannot have, or that is not supported.
    #[error("the schema's `{keyword}` at {place} is {found}: wanted {wanted}")]
    Value {
        /// The keyword.
        keyword: &'static str,
        /// Where it stands, as a pointer into the schema.
        place: String,
        /// What it is.
        found: String,
        /// What would do.
        wanted: &'static str,
    },

    /// A reference that leads nowhere, or out of the schema.
    #[error("the schema's reference `{reference}` at {place} is not within the schema; nothing is fetched")]
    Reference {
        /// What it says.
        reference: String,
        /// Where it stands, as a pointer into the schema.
        place: String,
    },

    /// More than is looked at.
    #[error("{what} {found}: wanted at most {most}")]
    TooLarge {
        /// Of what there is too much, with a verb: `the schema has bytes:`.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there may be.
        most: usize,
    },

    /// The parser refuses it.
    #[error("the {kind} cannot be used: {reason}")]
    Refused {
        /// A schema, a pattern, a grammar, a choice.
        kind: &'static str,
        /// What the parser says.
        reason: String,
    },

    /// The vocabulary is none that text could be generated with.
    #[error("this model's vocabulary cannot be constrained: {reason}")]
    Vocabulary {
        /// Why.
        reason: String,
    },
}

/// A keyword of a schema that cannot be held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyword {
    /// Its name.
    pub name: String,
    /// Where it stands, as a pointer into the schema.
    pub place: String,
}

/// So many keywords are named, and more are counted.
const NAMED_MAX: usize = 16;

/// The first of them with their places, and how many more there are.
pub(crate) fn named(keywords: &[Keyword]) -> String {
    let named = keywords.iter().take(NAMED_MAX).map(|one| format!("`{}` at {}", one.name, one.place));
    let named = named.collect::<Vec<_>>().join(", ");
    match keywords.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn refusal(keywords: &[Keyword]) -> String {
    let (named, many) = (named(keywords), keywords.len() != 1);
    let [plural, are, them] = if many { ["s", "are", "them"] } else { ["", "is", "it"] };
    format!(
        "the schema's keyword{plural} {named} {are} not supported: leave {them} out, or say it another way"
    )
}
