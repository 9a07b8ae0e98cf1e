//! Files to datasets, with a vocabulary of single bytes and templates of our own.
#![allow(clippy::unwrap_used)] // a test from end to end

use std::path::{Path, PathBuf};

use bantam_data::{Dataset, Duplicates, Encoder, Error, Example, Form, Learn, Loader, TooLong};
use bantam_text::{ChatTemplate, GgufVocab, Shown, Tokenizer};
use serde_json::{Value, json};
use tempfile::TempDir;

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\
     {% for call in m.tool_calls or [] %}<call>{{ call.function.arguments.x }}{% endfor %}<|im_end|>\n\
     {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Bytes, and three special tokens; BOS begins a text.
fn tokenizer() -> Tokenizer {
    let alphabet: Vec<String> = (0..=255u8).map(spelled).collect();
    let mut tokens: Vec<&[u8]> = vec![b"<|bos|>", b"<|im_start|>", b"<|im_end|>"];
    tokens.extend(alphabet.iter().map(|piece| piece.as_bytes()));
    let mut token_types = vec![3; 3];
    token_types.resize(tokens.len(), 1);
    let (model, pre) = ("gpt2", Some("default"));
    let (bos, eos, add_bos) = (Some(0), Some(2), Some(true));
    let vocab = GgufVocab {
        model,
        pre,
        tokens: tokens.into(),
        token_types,
        bos,
        eos,
        add_bos,
        ..GgufVocab::default()
    };
    Tokenizer::from_gguf(&vocab).unwrap()
}

/// How byte-level vocabularies spell a byte.
fn spelled(byte: u8) -> String {
    let is_itself = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let c = match is_itself(&byte) {
        true => u32::from(byte),
        false => 0x100 + (0..byte).filter(|b| !is_itself(b)).count() as u32,
    };
    char::from_u32(c).unwrap().to_string()
}

fn encoder(template: Option<&str>) -> Encoder {
    let template = template.map(|source| ChatTemplate::compile(source, "<|bos|>", "<|im_end|>").unwrap());
    Encoder::new(tokenizer(), template)
}

/// A folder with files.
struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn load(&self, loader: &Loader) -> Dataset {
        loader.load(&[self.path()]).unwrap()
    }
}

fn lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

/// The text with each stretch that is learnt in brackets.
fn shown(example: &Example) -> String {
    assert_eq!(example.ids.len(), example.learn.len());
    assert!(!example.learn[0] && example.learnt() > 0);
    let mut out = String::new();
    for (i, id) in example.ids.iter().enumerate() {
        let was = i > 0 && example.learn[i - 1];
        out.push_str(match (was, example.learn[i]) {
            (false, true) => "[",
            (true, false) => "]",
            _ => "",
        });
        out.push_str(&tokenizer().to_text(&[*id], Shown::All));
    }
    out + if example.learn.ends_with(&[true]) { "]" } else { "" }
}

fn shown_all(dataset: &Dataset) -> Vec<String> {
    dataset.train.all().map(shown).collect()
}

#[test]
fn every_form_learns_what_it_should() {
    let user = json!({"role": "user", "content": "u"});
    let answer = |text: &str| json!({"role": "assistant", "content": text});
    let files = [
        ("a.jsonl", lines(&[json!({"messages": [user, answer("x"), user, answer("y"), user]})])),
        ("b.csv", "question,answer\n\"q, 1\",a1\n".to_owned()),
        ("c/d.txt", "one\n<|endoftext|>\ntwo\n".to_owned()),
        ("e.json", json!([{"prompt": "p", "chosen": "c", "rejected": "r"}]).to_string()),
        ("f.bin", "not read".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let folder = Folder::new(&files);
    let dataset = folder.load(&Loader::new(encoder(Some(CHATML))));
    let head = "<|bos|><|im_start|>user\n";
    let turn = "<|im_end|>\n<|im_start|>assistant\n";
    let expected = [
        format!("{head}u{turn}[x<|im_end|>]\n<|im_start|>user\nu{turn}[y<|im_end|>]"),
        format!("{head}q, 1{turn}[a1<|im_end|>]"),
        "<|bos|>[one<|im_end|>]".to_owned(),
        "<|bos|>[two<|im_end|>]".to_owned(),
        format!("{head}p{turn}[c<|im_end|>]"),
        format!("{head}p{turn}[r<|im_end|>]"),
    ];
    assert_eq!(shown_all(&dataset), expected);
    let report = &dataset.report;
    assert_eq!((report.lines, report.examples, report.bad, report.skipped_files.len()), (5, 6, 0, 1));
    let forms: Vec<(Form, usize)> = report.forms.clone().into_iter().collect();
    assert_eq!(forms, [(Form::Text, 2), (Form::Completion, 1), (Form::Chat, 1), (Form::Preference, 1)]);
    assert_eq!(dataset.train.pairs[0].shared(), 21);
}

#[test]
fn without_a_template_the_completion_follows_the_prompt() {
    let folder = Folder::new(&[("a.jsonl", "{\"prompt\": \"Q: <|im_end|>\", \"completion\": \" A\"}\n")]);
    let mut loader = Loader::new(encoder(None));
    assert_eq!(shown_all(&folder.load(&loader)), ["<|bos|>Q: <|im_end|>[ A<|im_end|>]"]);
    assert_eq!(folder.load(&loader).train.examples[0].ids.len(), 1 + 13 + 2 + 1);
    assert_eq!(folder.load(&loader).report.glued_completions, 0);
    let glued = Folder::new(&[("a.csv", "prompt,completion\na,b\n")]);
    assert_eq!(glued.load(&loader).report.glued_completions, 1);
    loader.encoder.learn = Learn::Everything;
    assert_eq!(shown_all(&folder.load(&loader)), ["<|bos|>[Q: <|im_end|> A<|im_end|>]"]);
}

#[test]
fn a_system_text_and_weights_are_heeded() {
    let answer = |text: &str, weight: u8| json!({"role": "assistant", "content": text, "weight": weight});
    let chat = json!({"messages": [answer("x", 0), answer("y", 1), answer("z", 1)]});
    let folder = Folder::new(&[("a.jsonl", &lines(&[chat]))]);
    let mut loader = Loader::new(encoder(Some(CHATML)));
    loader.encoder.system = Some("s".into());
    let text =
        "<|bos|><|im_start|>system\ns<|im_end|>\n<|im_start|>assistant\nx<|im_end|>\n<|im_start|>assistant\n";
    let both = format!("{text}[y<|im_end|>]\n<|im_start|>assistant\n[z<|im_end|>]");
    assert_eq!(shown_all(&folder.load(&loader)), [both]);
    loader.encoder.learn = Learn::LastAnswer;
    let last = format!("{text}y<|im_end|>\n<|im_start|>assistant\n[z<|im_end|>]");
    assert_eq!(shown_all(&folder.load(&loader)), [last]);
}

#[test]
fn arguments_of_calls_are_objects_for_the_template() {
    let call = json!({"function": {"name": "f", "arguments": "{\"x\": 7}"}});
    let chat = json!({"messages": [{"role": "assistant", "content": "", "tool_calls": [call]}]});
    let folder = Folder::new(&[("a.jsonl", &lines(&[chat]))]);
    let dataset = folder.load(&Loader::new(encoder(Some(CHATML))));
    assert_eq!(shown_all(&dataset), ["<|bos|><|im_start|>assistant\n[<call>7<|im_end|>]"]);
}

#[test]
fn an_end_that_the_template_leaves_out_is_put() {
    let endless = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
                   {% if add_generation_prompt %}assistant: {% endif %}";
    let folder = Folder::new(&[("a.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n")]);
    let dataset = folder.load(&Loader::new(encoder(Some(endless))));
    assert_eq!(shown_all(&dataset), ["<|bos|>user: a\nassistant: [b\n<|im_end|>]"]);
    assert_eq!(dataset.report.unended_answers, 0);
    let answer = json!({"role": "assistant", "content": "b"});
    let folder = Folder::new(&[("a.jsonl", &lines(&[json!({"messages": [answer, answer]})]))]);
    assert_eq!(folder.load(&Loader::new(encoder(Some(endless)))).report.unended_answers, 1);
}

#[test]
fn an_answer_that_the_template_drops_is_not_learnt() {
    let plain = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>\n{% endfor %}\
                 {% if add_generation_prompt %}<|im_start|>{% endif %}";
    let call = json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]});
    let answer = json!({"role": "assistant", "content": "x"});
    let folder = Folder::new(&[("a.jsonl", &lines(&[json!({"messages": [call, answer]})]))]);
    let dataset = folder.load(&Loader::new(encoder(Some(plain))));
    assert_eq!(shown_all(&dataset), ["<|bos|><|im_start|><|im_end|>\n<|im_start|>[x<|im_end|>]"]);
    assert_eq!(dataset.report.empty_answers, 1);
}

#[test]
fn bad_lines_are_named_and_a_wrong_file_is_an_error() {
    let good = "{\"text\": \"a\"}\n";
    let folder =
        Folder::new(&[("a.jsonl", &format!("{good}\n{{\n{{\"text\": \"\"}}\n{{\"messages\": 3}}\n"))]);
    let report = folder.load(&Loader::new(encoder(None))).report;
    let bad: Vec<(usize, &str)> =
        report.bad_lines.iter().map(|bad| (bad.line, bad.reason.as_str())).collect();
    assert_eq!(bad[0].0, 3);
    assert_eq!(
        bad[1..],
        [
            (4, "column `text`: wanted text, found none"),
            (5, "column `messages`: wanted a list, found a number"),
        ]
    );
    assert_eq!((report.lines, report.bad, report.bad_by_reason.len()), (4, 3, 2));

    let wrong = Folder::new(&[("a.jsonl", good), ("b.jsonl", &"{\"title\": 1}\n".repeat(5000))]);
    let error = Loader::new(encoder(None)).load(&[wrong.path()]).unwrap_err();
    assert!(matches!(error, Error::NoExample { lines: 1000, line: 1, .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("b.jsonl") && message.contains("found `title`"), "{message}");
}

#[test]
fn what_is_no_data_is_an_error() {
    let loader = Loader::new(encoder(None));
    let empty = Folder::new(&[("a.jsonl", "")]);
    let error = loader.load(&[empty.path()]).unwrap_err().to_string();
    assert!(error.contains("no line that is not blank"), "{error}");
    let binary = Folder::new(&[("model.gguf", "GGUF\0\0")]);
    let error = loader.load(&[binary.path().join("model.gguf")]).unwrap_err().to_string();
    assert!(error.contains("a binary file"), "{error}");
    assert!(matches!(loader.load(&[binary.path()]), Err(Error::Empty { .. })));
    assert!(matches!(loader.load(&["/nowhere.jsonl".into()]), Err(Error::Io { .. })));
    let chats =
        Folder::new(&[("a.jsonl", "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}")]);
    let error = loader.load(&[chats.path()]).unwrap_err().to_string();
    assert!(error.contains("no chat template"), "{error}");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(empty.path(), empty.path().join("ring")).unwrap();
        assert!(loader.load(&[empty.path()]).is_err());
    }
}

#[test]
fn duplicates_are_counted_and_left_out_as_asked() {
    let long = "the quick brown fox jumps over the lazy dog and runs far away into the deep dark forest \
                where it sleeps until the sun comes up again over the green hills of the quiet land";
    let texts = [long.to_owned(), long.to_owned(), long.replace("land", "place"), "other words".to_owned()];
    let file = lines(&texts.map(|text| json!({"text": text})));
    let folder = Folder::new(&[("a.jsonl", &file)]);
    let mut loader = Loader::new(encoder(None));
    let cases = [(Duplicates::Keep, 4), (Duplicates::Exact, 3), (Duplicates::Near, 2)];
    for (duplicates, examples) in cases {
        loader.duplicates = duplicates;
        let report = folder.load(&loader).report;
        assert_eq!((report.examples, report.duplicates), (examples, 1), "{duplicates:?}");
        let near = usize::from(duplicates != Duplicates::Keep);
        assert_eq!(report.near_duplicates, near, "{duplicates:?}");
    }
    // Without comparing, a validation set would hold what is learnt.
    loader.duplicates = Duplicates::Exact;
    loader.validation = 0.5;
    for seed in 0..20 {
        loader.seed = seed;
        let dataset = folder.load(&loader);
        let is_other =
            |part: &bantam_data::Part| part.examples.iter().any(|e| shown(e).contains("other words"));
        for part in [&dataset.train, &dataset.validation] {
            assert_eq!(part.examples.len(), if is_other(part) { 1 } else { 2 });
        }
    }
}

#[test]
fn what_is_too_long_is_counted() {
    let folder = Folder::new(&[
        ("a.txt", &"x".repeat(50)),
        (
            "b.jsonl",
            &lines(&[
                json!({"prompt": "p".repeat(30), "completion": "c"}),
                json!({"prompt": "p", "completion": "c".repeat(30)}),
            ]),
        ),
    ]);
    let mut loader = Loader::new(encoder(None));
    loader.length_max = Some(20);
    let report = folder.load(&loader).report;
    assert_eq!(
        (report.cut.split, report.cut.ends, report.cut.dropped, report.cut.tokens),
        (1, 1, 1, 33 + 13)
    );
    assert!(report.lengths.longest <= 20);
    // Fifty bytes and the end, each learnt once.
    assert_eq!(report.learnt_tokens, 51 + 18);
    loader.too_long = Some(TooLong::Drop);
    assert!(loader.load(&[folder.path()]).is_err());
    loader.length_max = Some(33);
    let report = folder.load(&loader).report;
    assert_eq!((report.examples, report.cut.dropped), (2, 1));
}

#[test]
fn ranks_come_from_numbers_and_names() {
    let rows = "text,source\na,3\nb,book\nc,\nd,nan\n";
    let folder = Folder::new(&[("a.csv", rows)]);
    let mut loader = Loader::new(encoder(None));
    loader.columns.rank = Some("source".into());
    loader.weights.insert("book".into(), 9.5);
    let dataset = folder.load(&loader);
    let ranks: Vec<Option<f64>> = dataset.train.examples.iter().map(|example| example.rank).collect();
    assert_eq!(ranks, [Some(3.0), Some(9.5), None, None]);
    assert_eq!(dataset.report.without_rank, 2);
}

#[test]
fn contradictions_are_counted() {
    let file = "{\"text\": \"a\", \"label\": 1}\n{\"text\": \"a \", \"label\": 2}\n{\"text\": \"b\", \"label\": 1}\n";
    let folder = Folder::new(&[("a.jsonl", file)]);
    assert_eq!(folder.load(&Loader::new(encoder(None))).report.contradictions, 1);
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_is_named_where_it_is_left_out() {
    let folder = Folder::new(&[("a.parquet", "PAR1")]);
    let error = Loader::new(encoder(None)).load(&[folder.path()]).unwrap_err().to_string();
    assert!(error.contains("built with Parquet"), "{error}");
}

#[cfg(feature = "parquet")]
#[test]
fn a_broken_parquet_file_is_an_error() {
    for content in ["PAR1", "PAR1\0\0\0\0PAR1", "PAR1xxxxxxxx\u{7f}\u{7f}\0\0PAR1"] {
        let folder = Folder::new(&[("a.parquet", content)]);
        assert!(matches!(Loader::new(encoder(None)).load(&[folder.path()]), Err(Error::File { .. })));
    }
}

#[cfg(feature = "parquet")]
#[test]
fn columns_of_a_parquet_file_are_read_by_their_names() {
    use bantam_data::Columns;
    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    let folder = Folder::new(&[]);
    let schema = "message rows { required binary reply (UTF8); required binary question (UTF8); }";
    let settings = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let file = std::fs::File::create(folder.path().join("a.parquet")).unwrap();
    let schema = parse_message_type(schema).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema.into(), settings.into()).unwrap();
    let mut rows = writer.next_row_group().unwrap();
    for texts in [["one", "two"], ["a b", "c d e"]] {
        let mut column = rows.next_column().unwrap().unwrap();
        let texts = texts.map(ByteArray::from);
        column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
    }
    rows.close().unwrap();
    writer.close().unwrap();

    let columns =
        Columns { prompt: Some("question".into()), completion: Some("reply".into()), ..Columns::default() };
    let (parquet, lines) = (folder.path().join("a.parquet"), folder.path().join("a.jsonl"));
    let same = "{\"question\": \"a b\", \"reply\": \"one\"}\n{\"question\": \"c d e\", \"reply\": \"two\"}\n";
    std::fs::write(&lines, same).unwrap();
    let [found, wanted] = [parquet, lines].map(|path| {
        let mut loader = Loader::new(encoder(None));
        loader.columns = columns.clone();
        let dataset = loader.load(&[path]).unwrap();
        dataset.train.all().map(|example| example.ids.clone()).collect::<Vec<_>>()
    });
    assert_eq!(found.len(), 2);
    assert_eq!(found, wanted);
}

/// With `BANTAM_DATA`: real files load with few bad lines.
#[test]
fn real_files_load() {
    let Some(data) = std::env::var_os("BANTAM_DATA") else { return };
    let loader = Loader::new(encoder(Some(CHATML)));
    for file in
        ["tasks/banking77-train.jsonl", "tasks/gsm8k-train-2000.jsonl", "text/sgd-dialogues-dev.jsonl"]
    {
        let dataset = loader.load(&[Path::new(&data).join(file)]).unwrap();
        let report = &dataset.report;
        assert_eq!(report.bad, 0, "{file}: {:?}", report.bad_lines);
        println!("{file}: {}", serde_json::to_string(&json!({ "report": report })).unwrap());
        dataset.train.all().for_each(|example| assert!(example.learnt() > 0));
    }
}

#[test]
fn what_is_asked_comes_without_its_answer() {
    let lines = "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"only\"}\n{\"x\": 1}\n\
                 {\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"q\"}, \
                 {\"role\": \"assistant\", \"content\": \"a\"}]}\n";
    let folder = Folder::new(&[("asked.jsonl", lines)]);
    let found = bantam_data::questions(&[folder.path()], &bantam_data::Columns::default()).unwrap();
    let asked: Vec<Value> = found.asked.iter().map(|asked| json!(asked.messages)).collect();
    let user = |text: &str| json!({ "role": "user", "content": text });
    let system = json!({ "role": "system", "content": "s" });
    assert_eq!(asked, [json!([user("a")]), json!([user("only")]), json!([system, user("q")])]);
    assert_eq!(found.bad[0].0.line, 3);
    let mut texts = Vec::new();
    bantam_data::texts(&[folder.path()], &bantam_data::Columns::default(), |text| {
        texts.push(text.to_owned())
    })
    .unwrap();
    assert_eq!(texts[0], "a\nb\n");
}

#[test]
fn validation_goes_back_to_its_place() {
    let lines: String = (0..30).map(|i| format!("{{\"text\": \"number {i}\"}}\n")).collect();
    let folder = Folder::new(&[("texts.jsonl", &lines)]);
    let mut loader = Loader::new(encoder(None));
    let whole = loader.load(&[folder.path()]).unwrap();
    loader.validation = 0.2;
    let split = loader.load(&[folder.path()]).unwrap();
    assert_eq!(split.validation.examples.len(), 6);
    let joined = split.without_validation();
    assert_eq!(joined.train, whole.train);
    assert_eq!(joined.report.validation_examples, 0);
}
