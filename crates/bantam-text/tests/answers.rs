//! Where the assistant's answers are in a rendering, with templates of our own that do what real ones do.

#![allow(clippy::unwrap_used)] // a test from end to end

mod vocabulary;

use bantam_text::{Begins, ChatTemplate, Conversation, DateTime, Rendered, Shown};
use serde_json::{Map, Value, json};
use vocabulary::tokenizer;

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n\
     {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Drops the thinking of earlier turns.
const FORGETFUL: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n\
     {% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1] | trim }}\
     {% else %}{{ m.content }}{% endif %}<|im_end|>\n\
     {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Opens the thinking for a model that is to answer, and writes answers without it.
const OPENING: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
     {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}";

/// Says itself what is learnt.
const MARKING: &str = "{% for m in messages %}\n<|im_start|>{{ m.role }}\n\
     {% if m.role == 'assistant' %}\n    {% generation %}\n{{ m.content }}<|im_end|>\n{% endgeneration %}\n\
     {% else %}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}\
     {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

fn answers(template: &str, messages: &[(&str, &str)]) -> Vec<Rendered> {
    let messages: Vec<Value> =
        messages.iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
    let template = ChatTemplate::compile(template, "<|bos|>", "<|im_end|>").unwrap();
    let conversation = Conversation { messages: &messages, ..Conversation::default() };
    let rendered = template.render_answers(&conversation, &tokenizer()).unwrap();
    for one in rendered.iter().filter(|_| rendered.len() == 1) {
        assert_eq!(one.ids, template.render_ids(&conversation, &tokenizer()).unwrap());
    }
    rendered
}

/// The text of a rendering with its answers in brackets.
fn shown(rendered: &Rendered) -> String {
    let mut out = String::new();
    let mut done = 0;
    for answer in &rendered.answers {
        out += &tokenizer().to_text(&rendered.ids[done..answer.ids.start], Shown::All);
        out += &format!("[{}]", tokenizer().to_text(&rendered.ids[answer.ids.clone()], Shown::All));
        done = answer.ids.end;
    }
    out + &tokenizer().to_text(&rendered.ids[done..], Shown::All)
}

#[test]
fn every_answer_is_found_with_its_end() {
    let chat = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", " <b> ")];
    for template in [CHATML, MARKING] {
        let rendered = answers(template, &chat);
        let expected = "<|bos|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>\n]\
             <|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[<b><|im_end|>\n]";
        assert_eq!(rendered.len(), 1);
        assert_eq!(shown(&rendered[0]).replace(" <b> ", "<b>"), expected);
        assert!(rendered[0].answers.iter().all(|answer| answer.begins == Begins::AfterPrompt));
        assert_eq!(rendered[0].answers.iter().map(|answer| answer.message).collect::<Vec<_>>(), [1, 3]);
    }
}

#[test]
fn an_answer_has_the_past_that_the_template_gives_it() {
    let chat = [
        ("user", "a"),
        ("assistant", "<think>x</think>b"),
        ("user", "c"),
        ("assistant", "<think>y</think>d"),
    ];
    let rendered = answers(FORGETFUL, &chat);
    let expected = [
        "<|bos|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[<think>x</think>b<|im_end|>\n]",
        "<|bos|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n\
         <|im_start|>assistant\n[<think>y</think>d<|im_end|>\n]",
    ];
    assert_eq!(rendered.iter().map(shown).collect::<Vec<_>>(), expected);
    let plain = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")];
    assert_eq!(answers(FORGETFUL, &plain).len(), 1);
}

#[test]
fn an_answer_that_does_not_continue_its_prompt_begins_after_its_head() {
    for content in ["b", "<b>", "<think>x</think>b"] {
        let rendered = answers(OPENING, &[("user", "a"), ("assistant", content)]);
        let expected =
            format!("<|bos|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[{content}<|im_end|>\n]");
        assert_eq!(shown(&rendered[0]), expected);
        assert_eq!(rendered[0].answers[0].begins, Begins::AfterHead);
    }
}

#[test]
fn special_strings_in_content_stay_text() {
    let chat = [
        ("user", "<|im_end|>"),
        ("assistant", "<|im_end|> <|im_start|>"),
        ("user", "b"),
        ("assistant", "<|"),
    ];
    for template in [CHATML, MARKING] {
        let rendered = answers(template, &chat);
        let ends = rendered[0].ids.iter().filter(|id| **id == 2).count();
        assert_eq!(ends, 4, "{}", shown(&rendered[0]));
        assert!(shown(&rendered[0]).contains("[<|im_end|> <|im_start|><|im_end|>\n]"));
    }
}

#[test]
fn a_chat_may_begin_with_an_answer_or_have_none() {
    let rendered = answers(CHATML, &[("assistant", "a"), ("assistant", "b")]);
    assert_eq!(
        shown(&rendered[0]),
        "<|bos|><|im_start|>assistant\n[a<|im_end|>\n]<|im_start|>assistant\n[b<|im_end|>\n]"
    );
    assert!(answers(CHATML, &[("user", "a")])[0].answers.is_empty());
}

#[test]
fn a_chat_too_long_for_its_turns_is_refused() {
    let turn = json!({"role": "assistant", "content": "x".repeat(2000)});
    let messages = vec![turn; 1000];
    let template = ChatTemplate::compile(CHATML, "", "").unwrap();
    let conversation = Conversation { messages: &messages, ..Conversation::default() };
    assert!(template.render_answers(&conversation, &tokenizer()).is_err());
}

/// With the templates of `BANTAM_DATA/chat-templates`: the ids are those of the recorded renderings, and what the
/// assistant said lies in its answers.
#[test]
fn answers_of_real_templates_hold_what_was_said() {
    let Some(data) = std::env::var_os("BANTAM_DATA") else { return };
    let folder = std::path::Path::new(&data).join("chat-templates");
    let cases: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    let (mut whole, mut apart, mut headed, mut failed) = (0, 0, Vec::new(), 0);
    for template in cases["templates"].as_array().unwrap() {
        let file = template["file"].as_str().unwrap();
        let token = |key: &str| template[key].as_str().unwrap();
        let source = std::fs::read_to_string(folder.join(file)).unwrap();
        let compiled = ChatTemplate::compile(&source, token("bos_token"), token("eos_token")).unwrap();
        for (name, conversation) in cases["conversations"].as_object().unwrap() {
            let messages = conversation["messages"].as_array().unwrap();
            let conversation = Conversation {
                messages,
                tools: conversation["tools"].as_array().map(Vec::as_slice),
                switches: Map::new(),
                now: Some(DateTime { year: 2026, month: 1, day: 15, hour: 9, minute: 30, second: 0 }),
                ..Conversation::default()
            };
            let Ok(rendered) = compiled.render_answers(&conversation, &tokenizer()) else {
                // Only where the template cannot write the chat at all.
                assert!(compiled.render(&conversation).is_err(), "{file} {name}");
                failed += 1;
                continue;
            };
            let answers: Vec<usize> =
                rendered.iter().flat_map(|r| &r.answers).map(|answer| answer.message).collect();
            let said: Vec<usize> =
                (0..messages.len()).filter(|&i| messages[i]["role"] == "assistant").collect();
            assert_eq!(answers, said, "{file} {name}");
            whole += usize::from(rendered.len() == 1);
            apart += usize::from(rendered.len() > 1);
            for (one, answer) in rendered.iter().flat_map(|r| r.answers.iter().map(move |answer| (r, answer)))
            {
                let text = tokenizer().to_text(&one.ids[answer.ids.clone()], Shown::All);
                let content = messages[answer.message]["content"].as_str().unwrap_or_default();
                let content = content.rsplit("</think>").next().unwrap().trim();
                // Some templates drop what is said beside a call.
                let is_call = messages[answer.message].get("tool_calls").is_some();
                assert!(is_call || text.contains(content), "{file} {name}: {text:?} {content:?}");
                for other in messages.iter().filter(|m| m["role"] != "assistant") {
                    let other = other["content"].as_str().filter(|other| other.len() > 4);
                    assert!(!other.is_some_and(|other| text.contains(other)), "{file} {name}: {text:?}");
                }
                if answer.begins == Begins::AfterHead {
                    headed.push(format!("{file} {name}: {text:?}"));
                }
            }
        }
    }
    println!(
        "{}\n{whole} whole, {apart} turn by turn, {} after heads, {failed} failed",
        headed.join("\n"),
        headed.len()
    );
}
