//! What a record is: a text, a prompt with its completion, a chat, a preference.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::chat::{self, Chat};
use crate::columns::{self, Columns, find};
use crate::fault::{COLUMNS_KNOWN, Fault};
use crate::read::Record;

/// What a line of data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A text that is learnt whole.
    Text,
    /// A prompt, and a completion that is learnt.
    Completion,
    /// Messages, of which the assistant's are learnt.
    Chat,
    /// A better and a worse answer.
    Preference,
}

impl Columns {
    /// What lines are if these names say it.
    pub(crate) fn form(&self) -> Option<Form> {
        match self {
            Self { chosen: Some(_), .. } | Self { rejected: Some(_), .. } => Some(Form::Preference),
            Self { messages: Some(_), .. } => Some(Form::Chat),
            Self { completion: Some(_), .. } => Some(Form::Completion),
            Self { text: Some(_), .. } => Some(Form::Text),
            _ => None,
        }
    }
}

impl Form {
    /// Its name in options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Completion => "completion",
            Self::Chat => "chat",
            Self::Preference => "preference",
        }
    }
}

/// One thing to learn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sample {
    Text(String),
    Completion {
        prompt: String,
        completion: String,
    },
    Chat(Chat),
    /// Both are chats, or both completions.
    Preference {
        chosen: Box<Sample>,
        rejected: Box<Sample>,
    },
}

impl Sample {
    /// Reads a record as `form`, or as what its columns say.
    pub(crate) fn of(record: Record, form: Option<Form>, names: &Columns) -> Result<Self, Fault> {
        let fields = match record {
            Record::Document(text) => return Ok(Self::Text(text)),
            Record::Fields(fields) => fields,
        };
        let found = Found::of(&fields, names);
        let form = form.or_else(|| names.form()).or_else(|| found.form());
        match form.ok_or_else(|| missing(&fields, None))? {
            Form::Text => found.text(&fields),
            Form::Completion => found.completion(&fields),
            Form::Chat => found.chat(&fields),
            Form::Preference => found.preference(&fields),
        }
    }

    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Text(_) => Form::Text,
            Self::Completion { .. } => Form::Completion,
            Self::Chat(_) => Form::Chat,
            Self::Preference { .. } => Form::Preference,
        }
    }

    /// All that people or models wrote in it, for comparing it with others.
    pub(crate) fn content(&self) -> String {
        let mut content = String::new();
        self.append_content(&mut content);
        content
    }

    fn append_content(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::Completion { prompt, completion } => out.extend([prompt.as_str(), "\n", completion, "\n"]),
            Self::Chat(chat) => chat.append_content(out),
            Self::Preference { chosen, rejected } => {
                chosen.append_content(out);
                rejected.append_content(out);
            }
        }
    }
}

/// The columns of a record that have a role.
struct Found<'n> {
    text: Option<&'n str>,
    prompt: Option<&'n str>,
    completion: Option<&'n str>,
    context: Option<&'n str>,
    messages: Option<&'n str>,
    tools: Option<&'n str>,
    chosen: Option<&'n str>,
    rejected: Option<&'n str>,
    /// There is a column for a completion, though it may hold nothing.
    has_completion_column: bool,
}

impl<'n> Found<'n> {
    fn of(fields: &Map<String, Value>, names: &'n Columns) -> Self {
        let prompt = find(fields, names.prompt.as_ref(), &columns::PROMPT);
        let is_instruction = names.prompt.is_none() && prompt == Some("instruction");
        Self {
            text: find(fields, names.text.as_ref(), &columns::TEXT),
            prompt,
            completion: find(fields, names.completion.as_ref(), &columns::COMPLETION),
            context: find(fields, None, &columns::CONTEXT).filter(|_| is_instruction),
            messages: find(fields, names.messages.as_ref(), &columns::MESSAGES),
            tools: find(fields, names.tools.as_ref(), &columns::TOOLS),
            chosen: find(fields, names.chosen.as_ref(), &columns::CHOSEN),
            rejected: find(fields, names.rejected.as_ref(), &columns::REJECTED),
            has_completion_column: columns::COMPLETION.iter().any(|name| fields.contains_key(*name)),
        }
    }

    fn form(&self) -> Option<Form> {
        match self {
            Self { chosen: Some(_), rejected: Some(_), .. } => Some(Form::Preference),
            Self { messages: Some(_), .. } => Some(Form::Chat),
            Self { prompt: Some(_), completion: Some(_), .. } => Some(Form::Completion),
            // A line without its label must not teach its text.
            Self { text: Some(_), has_completion_column: true, .. } => Some(Form::Completion),
            Self { text: Some(_), .. } => Some(Form::Text),
            _ => None,
        }
    }

    fn text(&self, fields: &Map<String, Value>) -> Result<Sample, Fault> {
        let column = self.text.ok_or_else(|| missing(fields, Some("`text`")))?;
        Ok(Sample::Text(columns::text(fields, column)?.into_owned()))
    }

    fn completion(&self, fields: &Map<String, Value>) -> Result<Sample, Fault> {
        let (Some(prompt), Some(completion)) = (self.prompt, self.completion) else {
            return Err(missing(fields, Some("`prompt` and `completion`")));
        };
        let asked = self.asked(fields, prompt)?;
        answered(&asked, fields, completion)
    }

    fn chat(&self, fields: &Map<String, Value>) -> Result<Sample, Fault> {
        let column = self.messages.ok_or_else(|| missing(fields, Some("`messages`")))?;
        let mut messages = columns::list(fields, column)?;
        if let Some(system) = fields.get("system").and_then(Value::as_str).filter(|text| !text.is_empty()) {
            let has_system = messages.first().is_some_and(|m| m["role"] == "system" || m["from"] == "system");
            if !has_system {
                messages.insert(0, json!({ "role": "system", "content": system }));
            }
        }
        let tools = self.tools.map(|column| columns::list(fields, column)).transpose()?;
        Ok(Sample::Chat(Chat::new(&messages, tools, 0)?))
    }

    fn preference(&self, fields: &Map<String, Value>) -> Result<Sample, Fault> {
        let (Some(chosen), Some(rejected)) = (self.chosen, self.rejected) else {
            return Err(missing(fields, Some("`chosen` and `rejected`")));
        };
        if fields[chosen] == fields[rejected] {
            return Err(Fault::SamePair);
        }
        let asked = match self.prompt {
            Some(prompt) => Some(self.asked(fields, prompt)?),
            None => None,
        };
        let shared = chat::shared(&fields[chosen], &fields[rejected]);
        let side = |column| match &asked {
            Some(asked) => answered(asked, fields, column),
            None => {
                let messages = columns::list(fields, column)?;
                Ok(Sample::Chat(Chat::new(&messages, None, shared)?))
            }
        };
        Ok(Sample::Preference { chosen: Box::new(side(chosen)?), rejected: Box::new(side(rejected)?) })
    }

    /// What is asked: a text, or messages.
    fn asked(&self, fields: &Map<String, Value>, column: &str) -> Result<Asked, Fault> {
        if fields[column].is_array() {
            return Ok(Asked::Messages(columns::list(fields, column)?));
        }
        let mut prompt = columns::text(fields, column)?.into_owned();
        let context = self.context.filter(|context| *context != column);
        if let Some(context) = context.and_then(|context| fields[context].as_str()).filter(|c| !c.is_empty())
        {
            prompt = format!("{prompt}\n\n{context}");
        }
        Ok(Asked::Text(prompt))
    }
}

enum Asked {
    Text(String),
    Messages(Vec<Value>),
}

/// A question with the answer in a column, which is a text or a list of messages as well.
fn answered(asked: &Asked, fields: &Map<String, Value>, column: &str) -> Result<Sample, Fault> {
    let mut messages = match (asked, &fields[column]) {
        (Asked::Text(prompt), value) if !value.is_array() => {
            let (prompt, completion) = (prompt.clone(), columns::text(fields, column)?.into_owned());
            return Ok(Sample::Completion { prompt, completion });
        }
        (Asked::Text(prompt), _) => vec![json!({ "role": "user", "content": prompt })],
        (Asked::Messages(messages), _) => messages.clone(),
    };
    let answer = match &fields[column] {
        Value::Array(answer) => answer.clone(),
        _ => vec![json!({ "role": "assistant", "content": columns::text(fields, column)? })],
    };
    // Some give the prompt again at the beginning of the answer.
    let is_repeated = answer.starts_with(&messages);
    let asked = messages.len();
    messages.extend(answer.into_iter().skip(if is_repeated { asked } else { 0 }));
    Ok(Sample::Chat(Chat::new(&messages, None, asked)?))
}

/// What is asked in a record, as messages: everything before its last answer.
pub(crate) fn question(record: Record, names: &Columns) -> Result<Vec<Value>, Fault> {
    let user = |text: String| vec![json!({ "role": "user", "content": text })];
    let fields = match record {
        Record::Document(text) => return Ok(user(text)),
        Record::Fields(fields) => fields,
    };
    let found = Found::of(&fields, names);
    match (found.messages, found.prompt) {
        (Some(column), _) => chat::question(&columns::list(&fields, column)?),
        (None, Some(column)) => match found.asked(&fields, column)? {
            Asked::Text(text) => Ok(user(text)),
            Asked::Messages(messages) => chat::question(&messages),
        },
        (None, None) => Err(missing(&fields, Some("`messages`, `prompt` or `text`"))),
    }
}

fn missing(fields: &Map<String, Value>, wanted: Option<&str>) -> Fault {
    let holds = fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| format!("`{name}`"));
    let found: Vec<String> = holds.take(16).collect();
    let found = if found.is_empty() { "none that hold anything".to_owned() } else { found.join(", ") };
    let mut found: String = found.chars().take(200).collect();
    found.shrink_to_fit();
    Fault::Columns { wanted: wanted.unwrap_or(COLUMNS_KNOWN).to_owned(), found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(fields: Value) -> Result<Sample, Fault> {
        let Value::Object(fields) = fields else { panic!("not an object") };
        Sample::of(Record::Fields(fields), None, &Columns::default())
    }

    fn completion(prompt: &str, completion: &str) -> Sample {
        Sample::Completion { prompt: prompt.into(), completion: completion.into() }
    }

    #[test]
    fn the_usual_columns_are_known() {
        let cases = [
            (json!({"prompt": "a", "completion": "b"}), completion("a", "b")),
            (json!({"instruction": "a", "input": "", "output": "b"}), completion("a", "b")),
            (json!({"instruction": "a", "input": "c", "output": "b"}), completion("a\n\nc", "b")),
            (json!({"instruction": "a", "context": "c", "response": "b"}), completion("a\n\nc", "b")),
            (json!({"text": "a", "label": 3}), completion("a", "3")),
            (json!({"text": "a", "prompt": null}), Sample::Text("a".into())),
            (json!({"text": "a", "source": "b"}), Sample::Text("a".into())),
        ];
        for (fields, expected) in cases {
            assert_eq!(sample(fields.clone()), Ok(expected), "{fields}");
        }
    }

    #[test]
    fn a_preference_learns_after_what_both_share() {
        let user = json!({"role": "user", "content": "a"});
        let answer = |text: &str| json!({"role": "assistant", "content": text});
        let cases = [
            json!({"chosen": [user, answer("b")], "rejected": [user, answer("c")]}),
            json!({"prompt": [user], "chosen": [answer("b")], "rejected": [answer("c")]}),
            json!({"prompt": "a", "chosen": [user, answer("b")], "rejected": [user, answer("c")]}),
        ];
        for fields in cases {
            let Ok(Sample::Preference { chosen, .. }) = sample(fields.clone()) else { panic!("{fields}") };
            let Sample::Chat(chat) = *chosen else { panic!("{fields}") };
            assert_eq!((chat.messages.len(), chat.learnt.as_slice()), (2, [1].as_slice()), "{fields}");
        }
        let texts = sample(json!({"prompt": "a", "chosen": "b", "rejected": "c"}));
        let expected = [completion("a", "b"), completion("a", "c")].map(Box::new);
        let [chosen, rejected] = expected;
        assert_eq!(texts, Ok(Sample::Preference { chosen, rejected }));
    }

    #[test]
    fn what_is_missing_is_said() {
        let fault = sample(json!({"title": "a", "n": null})).unwrap_err().to_string();
        assert!(fault.contains("`messages`") && fault.ends_with("found `title`"), "{fault}");
        assert_eq!(sample(json!({"prompt": "a", "chosen": "b", "rejected": "b"})), Err(Fault::SamePair));
        let fault = sample(json!({"text": "a", "label": null})).unwrap_err().to_string();
        assert_eq!(fault, "wanted the columns `prompt` and `completion`; found `text`");
        let fault = sample(json!({"prompt": "a", "completion": "  "})).unwrap_err().to_string();
        assert_eq!(fault, "column `completion`: wanted text, found none");
    }

    #[test]
    fn names_given_replace_the_usual_ones() {
        let names = Columns { prompt: Some("q".into()), ..Columns::default() };
        let Value::Object(fields) = json!({"q": "a", "prompt": "x", "label": "b"}) else { panic!() };
        assert_eq!(Sample::of(Record::Fields(fields.clone()), None, &names), Ok(completion("a", "b")));
        let names = Columns { text: Some("prompt".into()), ..Columns::default() };
        assert_eq!(Sample::of(Record::Fields(fields), None, &names), Ok(Sample::Text("x".into())));
    }
}
