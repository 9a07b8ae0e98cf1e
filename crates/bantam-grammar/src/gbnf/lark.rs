//! Rules in Lark, of which every character is a lexeme.
//!
//! What follows Lark takes as many bytes for a lexeme as it can and never goes back. Of single characters in UTF-8 none
//! begins another, so that nothing is ever taken too many of; and those that may come at the same place are followed side
//! by side.

use crate::error::Error;
use crate::limits::check_size;

use super::parse::Grammar;
use super::parts::{Id, Part, write_count};

/// A grammar in Lark. Every part has a rule of its own, since Lark's parser bounds how deep parentheses may be.
///
/// # Errors
///
/// Where rules lead from one to the next for longer than what reads them can go.
pub(super) fn write(grammar: &Grammar) -> Result<String, Error> {
    let root = grammar.rules[grammar.root].body;
    let mut lark = format!("start: {}\n", name(grammar, root));
    for part in reached(grammar, root)? {
        if !matches!(grammar.parts.part(part), Part::Rule(_)) {
            lark += &format!("{}: {}\n", name(grammar, part), line(grammar, part));
        }
    }
    Ok(lark)
}

fn line(grammar: &Grammar, part: Id) -> String {
    let names = |ids: &[Id]| ids.iter().map(|id| name(grammar, *id)).collect::<Vec<_>>();
    match grammar.parts.part(part) {
        Part::Class(_) => format!("/{}/", grammar.parts.pattern(part)),
        Part::Rule(rule) => name(grammar, grammar.rules[*rule].body),
        Part::Seq(ids) if ids.is_empty() => "\"\"".into(),
        Part::Seq(ids) => names(ids).join(" "),
        Part::Either(ids) => names(ids).join(" | "),
        Part::Repeat { of, min, max } => {
            let mut line = name(grammar, *of);
            write_count(*min, *max, &mut line);
            line
        }
    }
}

fn name(grammar: &Grammar, mut part: Id) -> String {
    // Rules that lead to nothing but each other are none by which a text comes to an end.
    while let Part::Rule(rule) = grammar.parts.part(part) {
        part = grammar.rules[*rule].body;
    }
    let is_lexeme = matches!(grammar.parts.part(part), Part::Class(_));
    format!("{}{part}", if is_lexeme { "C" } else { "p" })
}

/// The parts that are needed, in the order in which they are first named by each other.
fn reached(grammar: &Grammar, root: Id) -> Result<Vec<Id>, Error> {
    let of = |part: Id| match grammar.parts.part(part) {
        Part::Rule(rule) => std::slice::from_ref(&grammar.rules[*rule].body).iter(),
        part => part.of().iter(),
    };
    let mut seen = vec![false; grammar.parts.len()];
    let (mut order, mut path) = (vec![root], vec![of(root)]);
    seen[root] = true;
    while let Some(next) = path.last_mut() {
        match next.next() {
            Some(part) if !std::mem::replace(&mut seen[*part], true) => {
                order.push(*part);
                path.push(of(*part));
            }
            Some(_) => {}
            None => drop(path.pop()),
        }
        check_size("the grammar's rules lead from one to the next in steps:", path.len(), DEPTH_MAX)?;
    }
    Ok(order)
}

/// So deep goes what reads rules that lead from one to the next.
const DEPTH_MAX: usize = 1500;
