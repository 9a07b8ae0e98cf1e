//! How families write calls and thinking, as data. Nothing else in the house knows one from another.
//!
//! A row is chosen by what stands in a chat template, never by a model's name. To add a family, add a row; the tests
//! of this folder then hold its writer, its parser and its grammar against each other.
//!
//! White space at the edges of a marker is what a model is used to: it is written, and not asked for when read.

/// How calls are written.
#[derive(Debug)]
pub(super) struct Form {
    /// For people.
    pub(super) name: &'static str,
    /// It is the form of a template that holds all texts of one of these lists.
    pub(super) signs: &'static [&'static [&'static str]],
    /// Before the first call; empty where each call has its own marker, or none.
    pub(super) open: &'static str,
    /// Before each call.
    pub(super) before: &'static str,
    pub(super) body: Body,
    /// Behind each call.
    pub(super) behind: &'static str,
    pub(super) series: Series,
    /// Behind the last call.
    pub(super) close: &'static str,
    /// Other forms that models of this one fall into: read, never written.
    pub(super) also: &'static [Form],
}

/// How several calls follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    /// One is all a model of this form was trained to make.
    One,
    /// One behind the other, with this between them.
    Repeated(&'static str),
    /// In brackets, with commas.
    List,
}

/// A call's name and arguments.
#[derive(Debug)]
pub(super) enum Body {
    /// `{"name": "f", "arguments": {..}}` with these two keys.
    Object { name: &'static str, arguments: &'static str },
    /// `{"f": {..}}`.
    Keyed,
    /// The name, then arguments as JSON; an id may stand between them, behind its own marker.
    Named { before: &'static str, id: Option<&'static str>, between: &'static str },
    /// The name, then each argument between tags, its value as it is.
    Tagged(Tags),
    /// `f(a="x", b=1)`.
    Python,
    /// `call:f{a:"x",b:1}`, with this where JSON has quotes.
    Braces { quote: &'static str },
}

/// The tags around names and values.
#[derive(Debug)]
pub(super) struct Tags {
    /// Before and behind the name of what is called.
    pub(super) name: (&'static str, &'static str),
    /// Before and behind the name of an argument.
    pub(super) key: (&'static str, &'static str),
    /// Before and behind its value.
    pub(super) value: (&'static str, &'static str),
    /// Behind the last argument.
    pub(super) end: &'static str,
}

/// What a row has where nothing is said.
const NONE: Form = Form {
    name: "",
    signs: &[],
    open: "",
    before: "",
    body: Body::Object { name: "name", arguments: "arguments" },
    behind: "",
    series: Series::One,
    close: "",
    also: &[],
};

const ARGUMENTS: Body = Body::Object { name: "name", arguments: "arguments" };
const PARAMETERS: Body = Body::Object { name: "name", arguments: "parameters" };

/// Hermes 2 and 3, Qwen 2.5 and 3, SmolLM3, Granite 4, Falcon-H1, EXAONE 4 and many fine-tunes; the form in which
/// models without one of their own are asked to call.
pub(super) const TAGGED_JSON: Form = Form {
    name: "tagged-json",
    signs: &[&["<tool_call>"]],
    before: "<tool_call>\n",
    behind: "\n</tool_call>",
    series: Series::Repeated("\n"),
    also: &[Form {
        name: "tagged-parameters",
        before: "<tool_call>\n",
        body: Body::Tagged(PARAMETER_TAGS),
        behind: "\n</tool_call>",
        series: Series::Repeated("\n"),
        ..NONE
    }],
    ..NONE
};

const PARAMETER_TAGS: Tags = Tags {
    name: ("<function=", ">\n"),
    key: ("<parameter=", ">\n"),
    value: ("", "\n</parameter>\n"),
    end: "</function>",
};

/// Templates that hold one of these write calls in a form that is not known here.
pub(super) const UNKNOWN: &[&str] = &["]<]minimax[>["];

/// In this order: a row that needs more stands before one that needs less.
pub(super) const FORMS: &[Form] = &[
    // Seed-OSS.
    Form {
        name: "seed-parameters",
        signs: &[&["<seed:tool_call>"]],
        before: "<seed:tool_call>\n",
        body: Body::Tagged(Tags {
            name: ("<function=", ">\n"),
            key: ("<parameter=", ">"),
            value: ("", "</parameter>\n"),
            end: "</function>",
        }),
        behind: "\n</seed:tool_call>",
        series: Series::Repeated("\n"),
        ..NONE
    },
    // MiniMax M2.
    Form {
        name: "invoke-parameters",
        signs: &[&["<minimax:tool_call>"]],
        open: "<minimax:tool_call>\n",
        body: Body::Tagged(Tags {
            name: ("<invoke name=\"", "\">\n"),
            key: ("<parameter name=\"", "\">"),
            value: ("", "</parameter>\n"),
            end: "</invoke>",
        }),
        series: Series::Repeated("\n"),
        close: "\n</minimax:tool_call>",
        ..NONE
    },
    // Qwen3-Coder, Qwen 3.5, Nemotron 3 Nano, Step 3.5.
    Form {
        name: "tagged-parameters",
        signs: &[&["<tool_call>", "<function=", "<parameter="]],
        before: "<tool_call>\n",
        body: Body::Tagged(PARAMETER_TAGS),
        behind: "\n</tool_call>",
        series: Series::Repeated("\n"),
        also: &[Form {
            name: "tagged-json",
            before: "<tool_call>\n",
            behind: "\n</tool_call>",
            series: Series::Repeated("\n"),
            ..NONE
        }],
        ..NONE
    },
    // MiniCPM 5.
    Form {
        name: "function-params",
        signs: &[&["<function name=", "<param name="]],
        body: Body::Tagged(Tags {
            name: ("<function name=\"", "\">"),
            key: ("<param name=\"", "\">"),
            value: ("", "</param>"),
            end: "</function>",
        }),
        series: Series::Repeated("\n"),
        ..NONE
    },
    // GLM 4.5 and newer, Laguna, Ling 3.
    Form {
        name: "key-value-tags",
        signs: &[&["<tool_call>", "<arg_key>", "<arg_value>"]],
        before: "<tool_call>",
        body: Body::Tagged(Tags {
            name: ("", "\n"),
            key: ("<arg_key>", "</arg_key>\n"),
            value: ("<arg_value>", "</arg_value>\n"),
            end: "",
        }),
        behind: "</tool_call>",
        series: Series::Repeated("\n"),
        ..NONE
    },
    // Functionary 3.1, and Llama 3.1 with functions of a user's own.
    Form {
        name: "function-json",
        signs: &[&["<function="]],
        body: Body::Named { before: "<function=", id: None, between: ">" },
        behind: "</function>",
        series: Series::Repeated(""),
        ..NONE
    },
    // Apertus.
    Form {
        name: "keyed-list",
        signs: &[&["<|tools_prefix|>"]],
        open: "<|tools_prefix|>",
        body: Body::Keyed,
        series: Series::List,
        close: "<|tools_suffix|>",
        ..NONE
    },
    // Command R7B and Command A.
    Form {
        name: "action-list",
        signs: &[&["<|START_ACTION|>"]],
        open: "<|START_ACTION|>",
        body: Body::Object { name: "tool_name", arguments: "parameters" },
        series: Series::List,
        close: "<|END_ACTION|>",
        ..NONE
    },
    // Nemotron Nano 2.
    Form {
        name: "toolcall-list",
        signs: &[&["<TOOLCALL>"]],
        open: "<TOOLCALL>",
        body: ARGUMENTS,
        series: Series::List,
        close: "</TOOLCALL>",
        ..NONE
    },
    // Apriel, Jamba.
    Form {
        name: "tool-calls-list",
        signs: &[&["<tool_calls>"]],
        open: "<tool_calls>",
        body: ARGUMENTS,
        series: Series::List,
        close: "</tool_calls>",
        also: &[Form {
            // MiniMax M1.
            name: "tool-calls-lines",
            open: "<tool_calls>\n",
            body: ARGUMENTS,
            series: Series::Repeated("\n"),
            close: "\n</tool_calls>",
            ..NONE
        }],
        ..NONE
    },
    // OLMo 3.
    Form {
        name: "python-lines",
        signs: &[&["<function_calls>"]],
        open: "<function_calls>",
        body: Body::Python,
        series: Series::Repeated("\n"),
        close: "</function_calls>",
        ..NONE
    },
    // LFM2.
    Form {
        name: "python-list",
        signs: &[&["<|tool_call_start|>"], &["<|tool_list_start|>"], &["List of tools: ["]],
        open: "<|tool_call_start|>",
        body: Body::Python,
        series: Series::List,
        close: "<|tool_call_end|>",
        also: &[Form { name: "bare-python-list", body: Body::Python, series: Series::List, ..NONE }],
        ..NONE
    },
    // Gemma 4.
    Form {
        name: "braces",
        signs: &[&["<|tool_call>"]],
        before: "<|tool_call>",
        body: Body::Braces { quote: "<|\"|>" },
        behind: "<tool_call|>",
        series: Series::Repeated(""),
        ..NONE
    },
    // FunctionGemma.
    Form {
        name: "escaped-braces",
        signs: &[&["<start_function_call>"], &["<start_function_declaration>"]],
        before: "<start_function_call>",
        body: Body::Braces { quote: "<escape>" },
        behind: "<end_function_call>",
        series: Series::Repeated(""),
        ..NONE
    },
    // DeepSeek V3 and R1, and what was distilled from it.
    Form {
        name: "fenced-json",
        signs: &[&["<｜tool▁calls▁begin｜>", "```json"]],
        open: "<｜tool▁calls▁begin｜>",
        before: "<｜tool▁call▁begin｜>",
        body: Body::Named { before: "function<｜tool▁sep｜>", id: None, between: "\n```json\n" },
        behind: "\n```<｜tool▁call▁end｜>",
        series: Series::Repeated("\n"),
        close: "<｜tool▁calls▁end｜>",
        ..NONE
    },
    // DeepSeek V3.1.
    Form {
        name: "separated-json",
        signs: &[&["<｜tool▁calls▁begin｜>"]],
        open: "<｜tool▁calls▁begin｜>",
        before: "<｜tool▁call▁begin｜>",
        body: Body::Named { before: "", id: None, between: "<｜tool▁sep｜>" },
        behind: "<｜tool▁call▁end｜>",
        series: Series::Repeated(""),
        close: "<｜tool▁calls▁end｜>",
        ..NONE
    },
    // Mistral Small 3.2, Magistral, Devstral, Ministral 3.
    Form {
        name: "named-args",
        signs: &[&["[TOOL_CALLS]", "[ARGS]"]],
        before: "[TOOL_CALLS]",
        body: Body::Named { before: "", id: Some("[CALL_ID]"), between: "[ARGS]" },
        series: Series::Repeated(""),
        also: &[MARKED_LIST],
        ..NONE
    },
    // Mistral 7B v0.3, Nemo, Ministral 8B.
    Form { signs: &[&["[TOOL_CALLS]"]], ..MARKED_LIST },
    // Phi-4-mini.
    Form {
        name: "closed-list",
        signs: &[&["<|tool|>", "<|/tool|>"], &["<|/tool_call|>"]],
        open: "<|tool_call|>",
        body: ARGUMENTS,
        series: Series::List,
        close: "<|/tool_call|>",
        also: &[Form { name: "functools", open: "functools", body: ARGUMENTS, series: Series::List, ..NONE }],
        ..NONE
    },
    // Granite 3.
    Form {
        name: "open-list",
        signs: &[&["<|tool_call|>"]],
        open: "<|tool_call|>",
        body: ARGUMENTS,
        series: Series::List,
        also: &[Form {
            name: "tagged-list",
            open: "<tool_call>",
            body: ARGUMENTS,
            series: Series::List,
            close: "</tool_call>",
            ..NONE
        }],
        ..NONE
    },
    // GigaChat 3.
    Form {
        name: "marked-json",
        signs: &[&["<|function_call|>"]],
        before: "<|function_call|>",
        body: ARGUMENTS,
        ..NONE
    },
    // InternLM 2.5 and 3.
    Form {
        name: "plugin",
        signs: &[&["<|action_start|>", "<|plugin|>"]],
        before: "<|action_start|><|plugin|>\n",
        body: PARAMETERS,
        behind: "\n<|action_end|>",
        ..NONE
    },
    // Llama 3.2 and 4 as Meta's pages ask them.
    Form {
        name: "bare-python-list",
        signs: &[&["[func_name1("]],
        body: Body::Python,
        series: Series::List,
        also: &[TAG_PYTHON],
        ..NONE
    },
    // Llama 3.1 to 3.3.
    Form {
        name: "bare-json",
        signs: &[&["<|python_tag|>"], &["\"parameters\": dictionary of argument name"]],
        body: PARAMETERS,
        also: &[
            Form { name: "tag-json", open: "<|python_tag|>", body: PARAMETERS, ..NONE },
            Form { name: "bare-python-list", body: Body::Python, series: Series::List, ..NONE },
        ],
        ..NONE
    },
    TAGGED_JSON,
];

const MARKED_LIST: Form =
    Form { name: "marked-list", open: "[TOOL_CALLS]", body: ARGUMENTS, series: Series::List, ..NONE };

const TAG_PYTHON: Form = Form {
    name: "tag-python-list",
    open: "<|python_start|>",
    body: Body::Python,
    series: Series::List,
    close: "<|python_end|>",
    ..NONE
};

/// The markers around thinking.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) open: &'static str,
    pub(super) close: &'static str,
}

/// All of them: an answer that begins with one of the first is thinking, whoever wrote the template.
pub(super) const THINKING: &[Marks] = &[
    // Qwen 3, SmolLM3, DeepSeek R1, Granite 3.3, Nemotron, GLM and most others.
    Marks { open: "<think>", close: "</think>" },
    // Magistral, Ministral 3.
    Marks { open: "[THINK]", close: "[/THINK]" },
    // Command A.
    Marks { open: "<|START_THINKING|>", close: "<|END_THINKING|>" },
    // Gemma 4.
    Marks { open: "<|channel>thought", close: "<channel|>" },
    // Seed-OSS.
    Marks { open: "<seed:think>", close: "</seed:think>" },
    // Apriel 1.6.
    Marks { open: "Here are my reasoning steps:", close: "[BEGIN FINAL RESPONSE]" },
];

/// Names under which templates are told whether to think.
pub(super) const THINKING_SWITCHES: &[&str] = &["enable_thinking", "thinking"];
