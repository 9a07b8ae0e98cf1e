//! What is typed in a chat: something to say, or a command.

/// A line of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Nothing.
    Nothing,
    /// To the model.
    Say(String),
    Help,
    /// `/set NAME VALUE`
    Set(String, String),
    /// `/show TOPIC`
    Show(String),
    Save(String),
    Load(String),
    /// `/adapter PATH`, or none
    Adapter(String),
    Stats,
    Clear,
    Bye,
    /// No command; with what to tell.
    Unknown(String),
}

/// The commands, with what they do.
pub(crate) const COMMANDS: &[(&str, &str)] = &[
    ("/set NAME VALUE", "change how it answers; /set alone shows what there is"),
    ("/system TEXT", "what the model is told before the conversation; alone shows it"),
    ("/show TOPIC", "info, parameters, system, template, messages"),
    ("/save NAME", "keep this conversation"),
    ("/load NAME", "go on with a kept conversation, or change to another model"),
    ("/adapter PATH", "change the model by an adapter; /adapter off takes it away"),
    ("/stats", "speeds of the last answer"),
    ("/clear", "begin a new conversation"),
    ("/help", "this; also /?"),
    ("/bye", "leave; also /exit, Ctrl-D"),
];

impl Command {
    /// Reads a line. `"""` around a text, on as many lines as it takes, makes it one message.
    pub(crate) fn parse(line: &str) -> Self {
        let line = line.trim();
        if line.is_empty() {
            return Command::Nothing;
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        // A path at the beginning of a message is no command.
        if !word.starts_with('/') || word[1..].contains('/') {
            return Command::Say(unquoted(line));
        }
        let rest = rest.trim();
        match word {
            "/help" | "/?" => Command::Help,
            "/set" => set(rest),
            "/system" if rest.is_empty() => Command::Show("system".to_owned()),
            "/system" => Command::Set("system".to_owned(), unquoted(rest)),
            "/show" => Command::Show(rest.to_owned()),
            "/save" if !rest.is_empty() => Command::Save(rest.to_owned()),
            "/load" if !rest.is_empty() => Command::Load(rest.to_owned()),
            "/save" | "/load" => Command::Unknown(format!("{word} wants a name, as in: {word} sky")),
            "/adapter" if !rest.is_empty() => Command::Adapter(rest.to_owned()),
            "/adapter" => Command::Unknown("/adapter wants a path, PATH=SCALE, or off".to_owned()),
            "/stats" => Command::Stats,
            "/clear" => Command::Clear,
            "/bye" | "/exit" | "/quit" => Command::Bye,
            _ => Command::Unknown(format!("no command {word}; /help shows what there is")),
        }
    }
}

/// `/set temperature 0.2`, `/set parameter temperature 0.2`, `/set system You are brief.`, `/set verbose`
fn set(rest: &str) -> Command {
    let rest = rest.strip_prefix("parameter").filter(|rest| rest.starts_with(' ')).map_or(rest, str::trim);
    let (name, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Command::Set(name.to_owned(), unquoted(value.trim()))
}

/// The text without `"""` around it.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix("\"\"\"") else { return text.to_owned() };
    inner.strip_suffix("\"\"\"").unwrap_or(inner).trim_matches('\n').to_owned()
}

/// Whether a `"""` is open, so that more lines belong to the text.
pub(crate) fn is_open(text: &str) -> bool {
    let start = text.trim_start();
    let may_open = ["\"\"\"", "/set ", "/system "].iter().any(|begin| start.starts_with(begin));
    may_open && text.matches("\"\"\"").count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_of(name: &str, value: &str) -> Command {
        Command::Set(name.to_owned(), value.to_owned())
    }

    #[test]
    fn commands_are_told_from_text() {
        assert_eq!(Command::parse("  "), Command::Nothing);
        assert_eq!(Command::parse("hello /bye"), Command::Say("hello /bye".into()));
        assert_eq!(Command::parse("/etc/hosts is what?"), Command::Say("/etc/hosts is what?".into()));
        assert_eq!(Command::parse("/?"), Command::Help);
        assert_eq!(Command::parse("/exit"), Command::Bye);
        assert_eq!(Command::parse("/load a b"), Command::Load("a b".into()));
        assert_eq!(Command::parse("/adapter a b=0.5"), Command::Adapter("a b=0.5".into()));
        assert!(matches!(Command::parse("/save"), Command::Unknown(_)));
        assert!(matches!(Command::parse("/what"), Command::Unknown(_)));
    }

    #[test]
    fn settings_have_a_name_and_a_value() {
        assert_eq!(Command::parse("/set temperature 0.2"), set_of("temperature", "0.2"));
        assert_eq!(Command::parse("/set parameter num_ctx 4096"), set_of("num_ctx", "4096"));
        assert_eq!(Command::parse("/set system You are brief."), set_of("system", "You are brief."));
        assert_eq!(Command::parse("/set verbose"), set_of("verbose", ""));
        assert_eq!(Command::parse("/set"), set_of("", ""));
        assert_eq!(Command::parse("/system You are brief."), set_of("system", "You are brief."));
        assert_eq!(Command::parse("/system"), Command::Show("system".into()));
    }

    #[test]
    fn quotes_hold_lines_together() {
        assert!(is_open("\"\"\"a\nb"));
        assert!(!is_open("\"\"\"a\nb\"\"\""));
        assert!(is_open("/set system \"\"\"a"));
        assert!(is_open("/system \"\"\"a"));
        assert!(!is_open("what does \"\"\" do?"));
        assert_eq!(Command::parse("\"\"\"\na\n  b\n\"\"\""), Command::Say("a\n  b".into()));
        assert_eq!(Command::parse("/set system \"\"\"a\nb\"\"\""), set_of("system", "a\nb"));
    }
}
