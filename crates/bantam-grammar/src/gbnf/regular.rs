//! Rules that need no rules: those that lead to no rule but such, and to themselves at their end or beginning only.
//! They are put in the place of their names.

use std::collections::{HashMap, HashSet};

use crate::error::Error;
use crate::limits::check_size;

use super::parse::{Grammar, wrong};
use super::parts::{Id, Part, Parts, Rule};

/// Refuses rules by which no text ever comes to its end, or none soon: what must come is written without asking.
///
/// # Errors
///
/// The first of them, by name and line.
pub(super) fn check_ends(grammar: &Grammar) -> Result<(), Error> {
    let Grammar { parts, rules, .. } = grammar;
    let mut of_rules: Vec<Option<usize>> = vec![None; rules.len()];
    let mut shortest: Vec<Option<usize>> = vec![None; parts.len()];
    loop {
        for id in 0..parts.len() {
            shortest[id] = chars_min(parts.part(id), &shortest, &of_rules);
        }
        let now: Vec<Option<usize>> = rules.iter().map(|rule| shortest[rule.body]).collect();
        if now == of_rules {
            break;
        }
        of_rules = now;
    }
    let longest = shortest.iter().flatten().max().copied().unwrap_or(0);
    check_size("of a part of the grammar all texts have characters:", longest, CHARS_MIN_MAX)?;
    match rules.iter().zip(&of_rules).find(|(_, chars)| chars.is_none()) {
        Some((rule, _)) => {
            wrong(rule.line, format_args!("by the rule `{}` no text comes to an end", rule.name))
        }
        None => Ok(()),
    }
}

/// The characters of the shortest text of a part, if it has any.
fn chars_min(part: &Part, shortest: &[Option<usize>], of_rules: &[Option<usize>]) -> Option<usize> {
    match part {
        Part::Class(_) => Some(1),
        Part::Seq(ids) => ids.iter().try_fold(0usize, |sum, id| Some(sum.saturating_add(shortest[*id]?))),
        Part::Either(ids) => ids.iter().filter_map(|id| shortest[*id]).min(),
        Part::Repeat { min: 0, .. } => Some(0),
        Part::Repeat { of, min, .. } => Some(shortest[*of]?.saturating_mul(*min as usize)),
        Part::Rule(rule) => of_rules[*rule],
    }
}

/// So many characters may have to come, at most.
const CHARS_MIN_MAX: usize = 1 << 16;

/// Puts rules that need no rules in the place of their names, where they are not too large.
pub(super) fn inline(grammar: &mut Grammar) {
    let count = grammar.rules.len();
    let uses: Vec<HashSet<Rule>> =
        (0..count).map(|rule| rules_in(&grammar.parts, grammar.rules[rule].body, rule)).collect();
    let mut users: Vec<Vec<Rule>> = vec![Vec::new(); count];
    for (user, used) in uses.iter().enumerate() {
        used.iter().for_each(|rule| users[*rule].push(user));
    }
    let mut waits: Vec<usize> = uses.iter().map(HashSet::len).collect();
    let mut ready: Vec<Rule> = (0..count).filter(|rule| waits[*rule] == 0).collect();
    let mut texts: HashMap<Rule, Id> = HashMap::new();
    let mut is_done = vec![false; count];
    while let Some(rule) = ready.pop() {
        is_done[rule] = true;
        settle(grammar, rule, &texts);
        let body = grammar.rules[rule].body;
        if grammar.parts.is_pattern(body) {
            texts.insert(rule, body);
        }
        for user in &users[rule] {
            waits[*user] -= 1;
            if waits[*user] == 0 {
                ready.push(*user);
            }
        }
    }
    // What is left leads to itself by way of others.
    for rule in (0..count).filter(|rule| !is_done[*rule]) {
        settle(grammar, rule, &texts);
    }
}

/// The rules that a part leads to at once, but for one.
fn rules_in(parts: &Parts, part: Id, but: Rule) -> HashSet<Rule> {
    let ids = within(parts, part);
    let rules = ids.into_iter().filter_map(|id| match parts.part(id) {
        Part::Rule(rule) => Some(*rule),
        _ => None,
    });
    rules.filter(|rule| *rule != but).collect()
}

/// All parts of a part, itself among them, each once and behind those that it consists of.
fn within(parts: &Parts, part: Id) -> Vec<Id> {
    let (mut seen, mut open) = (HashSet::from([part]), vec![part]);
    while let Some(id) = open.pop() {
        open.extend(parts.part(id).of().iter().filter(|id| seen.insert(**id)));
    }
    let mut ids: Vec<Id> = seen.into_iter().collect();
    ids.sort_unstable();
    ids
}

/// Writes a rule with the texts of the rules in it, and as a repetition where it leads to itself at its end or beginning.
fn settle(grammar: &mut Grammar, rule: Rule, texts: &HashMap<Rule, Id>) {
    let body = replaced(&mut grammar.parts, grammar.rules[rule].body, texts);
    let parts = &mut grammar.parts;
    let looped =
        unrolled(parts, body, rule, Side::End).or_else(|| unrolled(parts, body, rule, Side::Beginning));
    grammar.rules[rule].body = looped.unwrap_or(body);
}

fn replaced(parts: &mut Parts, part: Id, texts: &HashMap<Rule, Id>) -> Id {
    let mut now: HashMap<Id, Id> = HashMap::new();
    for id in within(parts, part) {
        let new = match parts.part(id).clone() {
            Part::Class(_) => id,
            Part::Rule(rule) => texts.get(&rule).copied().unwrap_or(id),
            Part::Seq(ids) => parts.seq(ids.iter().map(|id| now[id]).collect()),
            Part::Either(ids) => parts.either(ids.iter().map(|id| now[id]).collect()),
            Part::Repeat { of, min, max } => parts.repeat(now[&of], min, max),
        };
        now.insert(id, new);
    }
    now[&part]
}

/// Where a rule leads to itself.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Beginning,
    End,
}

/// What a rule is made of, as far as is known: `around` and then itself, or `rest`.
#[derive(Clone, Copy, Default)]
struct Turn {
    around: Option<Id>,
    rest: Option<Id>,
}

/// A rule `a ::= b a | c` as `b* c`, and `a ::= a b | c` as `c b*`; `None` where it leads to itself elsewhere.
fn unrolled(parts: &mut Parts, body: Id, rule: Rule, side: Side) -> Option<Id> {
    let mut turns: HashMap<Id, Turn> = HashMap::new();
    let all = within(parts, body);
    for id in all {
        let turn = turn(parts, id, rule, side, &turns)?;
        turns.insert(id, turn);
    }
    let Turn { around, rest } = turns[&body];
    let (around, rest) = (around?, rest?);
    let many = parts.repeat(around, 0, None);
    Some(parts.seq(in_order(vec![many, rest], side)))
}

fn turn(parts: &mut Parts, id: Id, rule: Rule, side: Side, turns: &HashMap<Id, Turn>) -> Option<Turn> {
    let turns_back = |id: &Id| turns[id].around.is_some();
    let plain = Some(Turn { around: None, rest: Some(id) });
    match parts.part(id).clone() {
        Part::Rule(one) if one == rule => Some(Turn { around: Some(parts.empty()), rest: None }),
        Part::Class(_) | Part::Rule(_) => plain,
        Part::Seq(ids) | Part::Either(ids) if !ids.iter().any(turns_back) => plain,
        Part::Repeat { of, .. } if !turns_back(&of) => plain,
        Part::Either(ids) => {
            let around: Vec<Id> = ids.iter().filter_map(|id| turns[id].around).collect();
            let rest: Vec<Id> = ids.iter().filter_map(|id| turns[id].rest).collect();
            let rest = (!rest.is_empty()).then(|| parts.either(rest));
            Some(Turn { around: Some(parts.either(around)), rest })
        }
        Part::Seq(mut ids) => {
            let outer = if side == Side::End { ids.pop()? } else { ids.remove(0) };
            if ids.iter().any(turns_back) {
                return None;
            }
            let Turn { around, rest } = turns[&outer];
            let inner = parts.seq(ids);
            let mut with = |part: Id| parts.seq(in_order(vec![inner, part], side));
            Some(Turn { around: around.map(&mut with), rest: rest.map(&mut with) })
        }
        Part::Repeat { of, min: 0, max: Some(1) } => {
            let Turn { around, rest } = turns[&of];
            let nothing = parts.empty();
            let rest = rest.map_or(nothing, |rest| parts.either(vec![rest, nothing]));
            Some(Turn { around, rest: Some(rest) })
        }
        Part::Repeat { .. } => None,
    }
}

/// What stands away from the rule itself first, if that is its end, or last.
fn in_order(mut ids: Vec<Id>, side: Side) -> Vec<Id> {
    if side == Side::Beginning {
        ids.reverse();
    }
    ids
}
