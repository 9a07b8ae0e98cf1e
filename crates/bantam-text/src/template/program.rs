//! Compiles a template and rewrites its instructions, so that all it makes goes through `budget`.
//!
//! The engine has no hook for its operators, so this uses its compiler directly (feature
//! `unstable_machinery`, hence the exact version in the manifest). Every instruction is kept, or replaced by
//! a call of a filter that does the same and charges for it; jumps are moved to where their targets went. The
//! filters have names that no template can write.

use std::collections::BTreeMap;

use minijinja::machinery::{
    CodeGenerator, Instruction, Instructions, Token, eval, make_string_output, parse, tokenize,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error};

use super::budget;

const NAME: &str = "chat template";
/// Not one of the engine's cached filters.
const UNCACHED: u8 = u8::MAX;

pub(super) fn syntax() -> Result<SyntaxConfig, Error> {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()
}

pub(super) fn add_operators(env: &mut Environment<'_>) {
    env.set_fuel(Some(budget::STEPS_MAX));
    env.set_formatter(budget::emit);
    env.add_global("bounded_one", 1);
    env.add_filter("charge-value", budget::charge_value);
    env.add_filter("charge-deep", budget::charge_deep);
    env.add_filter("charge-stored", budget::charge_stored);
    env.add_filter("bounded-concat", budget::concat);
    env.add_filter("bounded-add", budget::add);
    env.add_filter("bounded-multiply", budget::multiply);
    env.add_filter("bounded-contains", budget::contains);
    env.add_filter("bounded-compare", budget::compare);
}

/// The source with a factor of one in every product, so that the compiler cannot work out products of
/// constants, which may be huge, before anything is charged.
pub(super) fn without_constant_products(source: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(source.len());
    let mut done = 0;
    let mut has_left_side = false;
    for token in tokenize(source, false, syntax()?) {
        let (token, span) = token?;
        if matches!(token, Token::Mul) && has_left_side {
            let end = span.end_offset as usize;
            out.push_str(source.get(done..end).unwrap_or(""));
            out.push_str(" bounded_one *");
            done = end;
        }
        has_left_side = !matches!(token, Token::ParenOpen | Token::Comma);
    }
    out.push_str(source.get(done..).unwrap_or(""));
    Ok(out)
}

/// Compiles and runs a template.
pub(super) fn run(env: &Environment<'_>, source: &str, context: Value) -> Result<String, Error> {
    let program = compile(source)?;
    let mut text = String::new();
    let mut out = make_string_output(&mut text);
    eval(env, &program, context, &BTreeMap::new(), &mut out, AutoEscape::None)?;
    drop(out);
    Ok(text)
}

/// The rewritten instructions of a template.
pub(super) fn compile(source: &str) -> Result<Instructions<'_>, Error> {
    let tree = parse(source, NAME, syntax()?)?;
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_stmt(&tree);
    let (program, blocks) = generator.finish();
    if !blocks.is_empty() {
        return Err(super::error("`block` has no meaning in a chat template"));
    }
    Ok(rewrite(&program))
}

fn rewrite<'s>(program: &Instructions<'s>) -> Instructions<'s> {
    let mut rewritten = Instructions::new(NAME, program.source());
    let mut places = Vec::new();
    for index in 0.. {
        let Some(instruction) = program.get(index) else { break };
        let line = u16::try_from(program.get_line(index).unwrap_or(0)).unwrap_or(0);
        places.push(u32::MAX);
        for (i, new) in replacement(instruction).into_iter().enumerate() {
            let place = rewritten.add_with_line(new, line);
            if i == 0 {
                places[index as usize] = place;
            }
        }
    }
    let end = rewritten.add(Instruction::LoadConst(Value::UNDEFINED));
    for index in 0..end {
        if let Some(target) = rewritten.get_mut(index).and_then(jump_target) {
            *target = places.get(*target as usize).copied().unwrap_or(end);
        }
    }
    rewritten
}

fn jump_target<'i>(instruction: &'i mut Instruction<'_>) -> Option<&'i mut u32> {
    match instruction {
        Instruction::Iterate(target)
        | Instruction::Jump(target)
        | Instruction::JumpIfFalse(target)
        | Instruction::JumpIfFalseOrPop(target)
        | Instruction::JumpIfTrueOrPop(target)
        | Instruction::BuildMacro(_, target, _) => Some(target),
        _ => None,
    }
}

fn filter(name: &'static str, arguments: u16) -> Instruction<'static> {
    Instruction::ApplyFilter(name, Some(arguments), UNCACHED)
}

/// An operator with two operands on the stack.
fn operator(name: &'static str) -> Vec<Instruction<'static>> {
    vec![filter(name, 2)]
}

fn comparison(operator: &'static str) -> Vec<Instruction<'static>> {
    vec![Instruction::LoadConst(Value::from(operator)), filter("bounded-compare", 3)]
}

/// A call whose name becomes its last argument.
fn call<'s>(through: &'static str, name: &str, arguments: u16) -> Vec<Instruction<'s>> {
    // The engine allows spaces inside the name of a filter.
    let name: String = name.split_whitespace().collect();
    let call = Instruction::CallFunction(through, Some(arguments.saturating_add(1)));
    vec![Instruction::LoadConst(Value::from(name)), call]
}

fn replacement<'s>(instruction: &Instruction<'s>) -> Vec<Instruction<'s>> {
    match instruction {
        Instruction::EmitRaw(text) => vec![Instruction::LoadConst(Value::from(*text)), Instruction::Emit],
        Instruction::StringConcat => operator("bounded-concat"),
        Instruction::Add => operator("bounded-add"),
        Instruction::Mul => operator("bounded-multiply"),
        Instruction::In => operator("bounded-contains"),
        Instruction::Eq => comparison("=="),
        Instruction::Ne => comparison("!="),
        Instruction::Lt => comparison("<"),
        Instruction::Lte => comparison("<="),
        Instruction::Gt => comparison(">"),
        Instruction::Gte => comparison(">="),
        Instruction::ApplyFilter(name, Some(count), _) => call("bounded-filter", name, *count),
        Instruction::PerformTest(name, Some(count), _) => call("bounded-test", name, *count),
        Instruction::CallMethod(name, Some(count)) => call("bounded-method", name, *count),
        Instruction::BuildList(_) | Instruction::BuildTuple(_) | Instruction::BuildMap(_) => {
            vec![instruction.clone(), filter("charge-deep", 1)]
        }
        // The value lies below the namespace that takes it.
        Instruction::SetAttr(_) => {
            vec![Instruction::Swap, filter("charge-stored", 1), Instruction::Swap, instruction.clone()]
        }
        Instruction::Slice
        | Instruction::EndCapture
        | Instruction::CallFunction(..)
        | Instruction::CallObject(_)
        | Instruction::ApplyFilter(..)
        | Instruction::CallMethod(..) => vec![instruction.clone(), filter("charge-value", 1)],
        other => vec![other.clone()],
    }
}
