//! Vectors from outside: every tokeniser and chat template of a data folder, exactly.
//!
//! `BANTAM_DATA` names the folder (`tokenizers/`, `chat-templates/`, `weights/`), `BANTAM_MODELS` one with
//! the real GGUF files, and `BANTAM_REAL` the JSON file of their recorded token ids. What is not set is
//! skipped and says so.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test from end to end, that says what it skips

use std::path::{Path, PathBuf};

use bantam_text::{
    ChatTemplate, Conversation, DateTime, Dialect, Error, Part, Shown, Special, Tokenizer, Tool,
};
use serde_json::Value;

mod gguf;

fn folder(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(name).map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: set {name}");
    }
    folder
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn text(path: &Path) -> String {
    String::from_utf8(read(path)).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

fn load_gguf(path: &Path) -> Tokenizer {
    let file = gguf::Metadata::read(&read(path));
    let mut charsmap = Vec::new();
    Tokenizer::from_gguf(&file.vocab(&mut charsmap)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn ids_of(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Counts what differs and says so at the end, so that one run shows all of it.
#[derive(Default)]
struct Differences(Vec<String>, usize);

impl Differences {
    fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, got: &T, want: &T) {
        self.1 += 1;
        if got != want {
            self.0.push(format!("{what}\n   got {got:?}\n  want {want:?}"));
        }
    }

    fn finish(self, what: &str) {
        println!("{what}: {} of {} equal", self.1 - self.0.len(), self.1);
        assert!(self.1 > 0, "{what}: nothing was checked");
        assert!(self.0.is_empty(), "{}", self.0.join("\n"));
    }
}

#[test]
fn vocabulary_files_give_the_ids_of_their_vectors() {
    let Some(data) = folder("BANTAM_DATA") else { return };
    let mut differences = Differences::default();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(data.join("tokenizers/gguf")).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "gguf"));
    files.sort();
    for file in files {
        let tokenizer = load_gguf(&file);
        let input = file.with_extension("gguf.inp");
        if !input.exists() {
            continue;
        }
        let output = text(&file.with_extension("gguf.out"));
        let texts = text(&input);
        let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
        for (text, line) in texts.iter().zip(output.lines()) {
            let want: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
            let got = tokenizer.to_ids(text, Special::AsText).unwrap();
            differences.check(&format!("{} {text:?}", file.display()), &got, &want);
        }
    }
    differences.finish("vocabulary files");
}

/// The tokeniser of a vector file, and how its ids were made: special strings parsed, framing added.
fn tokenizer_of(data: &Path, name: &str) -> Option<(Tokenizer, Special, bool)> {
    let hf = data.join("tokenizers/hf");
    let json = |path: PathBuf| Tokenizer::from_tokenizer_json(&read(&path), None).unwrap();
    match name {
        "mistral-v3" => {
            let model = read(&hf.join("mistral-v3.tokenizer.model"));
            Some((Tokenizer::from_sentencepiece(&model, None).unwrap(), Special::AsText, false))
        }
        "o200k_base" => {
            let special = [("<|endoftext|>", 199_999), ("<|endofprompt|>", 200_018)];
            let ranks = read(&hf.join("o200k_base.tiktoken"));
            Some((Tokenizer::from_tiktoken(&ranks, &special).unwrap(), Special::Parse, false))
        }
        "stories260k" => {
            Some((json(data.join("weights/stories260k/hf/tokenizer.json")), Special::Parse, true))
        }
        "nomic-bert-moe" => {
            let file = data.join("tokenizers/gguf/ggml-vocab-nomic-bert-moe.gguf");
            Some((load_gguf(&file), Special::Parse, true))
        }
        "smollm2-135m-instruct" => {
            let models = folder("BANTAM_MODELS")?;
            Some((load_gguf(&models.join("smollm2-135m-instruct-q4_1.gguf")), Special::Parse, true))
        }
        _ => Some((json(hf.join(format!("{name}.tokenizer.json"))), Special::Parse, true)),
    }
}

#[test]
fn hard_texts_give_the_ids_and_texts_of_their_vectors() {
    let Some(data) = folder("BANTAM_DATA") else { return };
    let mut differences = Differences::default();
    for file in std::fs::read_dir(data.join("tokenizers/vectors")).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let Some((tokenizer, special, framed)) = tokenizer_of(&data, name) else { continue };
        for line in text(&file).lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let text = case["text"].as_str().unwrap();
            let mut ids = tokenizer.to_ids(text, special).unwrap();
            if framed {
                // Not `frame`: the vectors repeat a BOS that the text itself begins with.
                ids = [tokenizer.prefix(), &ids, tokenizer.suffix()].concat();
            }
            let want = ids_of(&case["ids"]);
            differences.check(&format!("{name} {text:?}"), &ids, &want);
            let decoded =
                tokenizer.to_text(&want, if name == "o200k_base" { Shown::All } else { Shown::Text });
            differences.check(
                &format!("{name} {text:?}, back"),
                &decoded.as_str(),
                &case["decoded"].as_str().unwrap(),
            );
        }
    }
    differences.finish("hard texts");
}

#[test]
fn real_files_give_the_recorded_ids() {
    let (Some(models), Some(real)) = (folder("BANTAM_MODELS"), folder("BANTAM_REAL")) else { return };
    let mut differences = Differences::default();
    for (name, model) in json(&real)["models"].as_object().unwrap() {
        let tokenizer = load_gguf(&models.join(name));
        for prompt in model["prompts"].as_array().unwrap() {
            let text = prompt["text"].as_str().unwrap();
            let ids = tokenizer.frame(tokenizer.to_ids(text, Special::Parse).unwrap());
            differences.check(&format!("{name} {text:?}"), &ids, &ids_of(&prompt["tokens"]));
        }
    }
    differences.finish("real files");
}

#[test]
fn templates_give_every_recorded_rendering() {
    let Some(data) = folder("BANTAM_DATA") else { return };
    let folder = data.join("chat-templates");
    let cases = json(&folder.join("cases.json"));
    let mut differences = Differences::default();
    for template in cases["templates"].as_array().unwrap() {
        let file = template["file"].as_str().unwrap();
        let token = |key: &str| template[key].as_str().unwrap();
        let source = text(&folder.join(file));
        let compiled = ChatTemplate::compile(&source, token("bos_token"), token("eos_token"))
            .unwrap_or_else(|e| panic!("{file}: {e}"));
        for case in template["cases"].as_array().unwrap() {
            let name = case["conversation"].as_str().unwrap();
            let what = format!("{file} {name} {} {}", case["add_generation_prompt"], case["args"]);
            let got = render(&compiled, &cases["conversations"][name], case);
            match (&case["text"], &case["error"]) {
                (Value::String(text), _) => {
                    differences.check(&what, &got.map_err(|e| e.to_string()), &Ok(text.clone()))
                }
                (_, Value::String(message)) => {
                    let got = if let Err(Error::Refused(message)) = got {
                        Ok(message)
                    } else {
                        Err(format!("{got:?}"))
                    };
                    differences.check(&what, &got, &Ok(message.clone()));
                }
                // Jinja itself fails here: anything but a panic will do.
                _ => differences.check(&what, &(), &()),
            }
        }
    }
    differences.finish("renderings");
}

fn render(template: &ChatTemplate, conversation: &Value, case: &Value) -> Result<String, Error> {
    template.render(&Conversation {
        messages: conversation["messages"].as_array().unwrap(),
        tools: conversation["tools"].as_array().map(Vec::as_slice),
        documents: None,
        add_generation_prompt: case["add_generation_prompt"].as_bool().unwrap(),
        switches: case["args"].as_object().unwrap().clone(),
        now: Some(DateTime { year: 2026, month: 1, day: 15, hour: 9, minute: 30, second: 0 }),
        markers: &[],
    })
}

/// Every template is told of tools, and what it writes of calls its dialect reads back.
#[test]
fn dialects_read_what_templates_write() {
    let Some(data) = folder("BANTAM_DATA") else { return };
    let folder = data.join("chat-templates");
    let cases = json(&folder.join("cases.json"));
    let mut differences = Differences::default();
    for template in cases["templates"].as_array().unwrap() {
        let file = template["file"].as_str().unwrap();
        let token = |key: &str| template[key].as_str().unwrap();
        let source = text(&folder.join(file));
        let compiled = ChatTemplate::compile(&source, token("bos_token"), token("eos_token")).unwrap();
        let dialect = Dialect::of(&compiled);
        println!(
            "{file}: {} {}",
            dialect.name(),
            if dialect.is_native() { "of its own" } else { "asked for" }
        );
        for name in ["tool-call", "tool-parallel", "tool-full"] {
            let conversation = &cases["conversations"][name];
            let messages = conversation["messages"].as_array().unwrap();
            let tools: Vec<Tool> = conversation["tools"].as_array().unwrap().iter().map(tool).collect();
            let shown = |count: usize, open: bool| {
                let given = dialect.prepare(messages[..count].to_vec(), &tools);
                compiled.render(&Conversation {
                    messages: &given.messages,
                    tools: given.tools.as_deref(),
                    add_generation_prompt: open,
                    switches: given.switches,
                    now: Some(DateTime { year: 2026, month: 1, day: 15, hour: 9, minute: 30, second: 0 }),
                    ..Conversation::default()
                })
            };
            let (Ok(asked), Ok(called)) = (shown(1, true), shown(2, false)) else {
                differences.check(
                    &format!("{file} {name} is rendered"),
                    &shown(2, false).err().map(|e| e.to_string()),
                    &None,
                );
                continue;
            };
            differences.check(&format!("{file} {name} shows tools"), &asked.contains("get_weather"), &true);
            let same = asked.bytes().zip(called.bytes()).take_while(|(a, b)| a == b).count();
            let same = (0..=same).rev().find(|at| called.is_char_boundary(*at)).unwrap();
            // Both may go on with a mark that begins alike.
            let mark = called[..same].rfind(['<', '[']).filter(|mark| same - mark < 14 && same < asked.len());
            let same = mark.unwrap_or(same);
            let found = calls(&dialect, &called[same..], &tools);
            let wanted = messages[1]["tool_calls"].as_array().unwrap().iter();
            // One call a message is all that some take.
            let most = if dialect.name() == "bare-json" { 1 } else { 9 };
            let wanted: Vec<(String, Value)> = wanted
                .take(most)
                .map(|call| {
                    (
                        call["function"]["name"].as_str().unwrap().to_owned(),
                        call["function"]["arguments"].clone(),
                    )
                })
                .collect();
            differences.check(&format!("{file} {name} {:?}", &called[same..]), &found, &wanted);
            if let Err(error) = shown(messages.len(), true) {
                differences.check(&format!("{file} {name} with results"), &error.to_string(), &String::new());
            }
        }
    }
    differences.finish("dialects");
}

fn tool(tool: &Value) -> Tool {
    let function = &tool["function"];
    Tool {
        name: function["name"].as_str().unwrap().into(),
        description: function["description"].as_str().unwrap().into(),
        parameters: function["parameters"].as_object().unwrap().clone(),
        is_strict: false,
    }
}

fn calls(dialect: &Dialect, text: &str, tools: &[Tool]) -> Vec<(String, Value)> {
    let mut parser = dialect.parser("", tools.into());
    let mut parts = parser.push(text);
    parts.extend(parser.finish());
    let mut calls = Vec::new();
    for part in parts {
        match part {
            Part::CallBegin { name, .. } => calls.push((name, Value::Null)),
            Part::CallArguments(text) => calls.last_mut().unwrap().1 = serde_json::from_str(&text).unwrap(),
            _ => {}
        }
    }
    calls
}
