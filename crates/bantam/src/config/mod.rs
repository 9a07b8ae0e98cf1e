//! The file of settings: what it says holds where neither a flag nor the environment says otherwise.
//!
//! A section for each command, and in it the long names of that command's flags, so that there is nothing to learn
//! twice. It becomes the defaults of the command line, which is why flags and environment come before it by themselves.

mod lines;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use crate::args::Arguments;
use lines::{Line, Value};

/// What a file of settings says.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Where it lies; none if there is none.
    pub(crate) path: Option<PathBuf>,
    /// Values by section and name.
    values: BTreeMap<String, BTreeMap<String, Line>>,
}

/// The arguments of this process over its environment over the file.
pub(crate) fn arguments() -> Result<Arguments> {
    let config = Config::find(|name| std::env::var_os(name))?;
    let matches = config.apply(Arguments::command())?.get_matches();
    Ok(Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

impl Config {
    /// The file that `lookup`, the environment, leads to.
    pub(crate) fn find(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let path = |name: &str| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(named) = lookup("BANTAM_CONFIG") {
            // An empty name is for no file at all.
            return if named.is_empty() { Ok(Config::default()) } else { Config::read(Path::new(&named)) };
        }
        let folder = path("XDG_CONFIG_HOME").or_else(|| path("APPDATA").filter(|_| cfg!(windows)));
        let folder = folder.or_else(|| Some(path("HOME")?.join(".config")));
        match folder.map(|folder| folder.join("bantam").join("config.toml")) {
            Some(path) if path.is_file() => Config::read(&path),
            _ => Ok(Config::default()),
        }
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the settings in {}", path.display()))?;
        let values = lines::parse(&text).map_err(|why| anyhow::anyhow!("{}:{why}", path.display()))?;
        Ok(Config { path: Some(path.to_owned()), values })
    }

    /// The command line with the file's values as its defaults.
    ///
    /// # Errors
    ///
    /// Commands and flags that there are none.
    pub(crate) fn apply(&self, mut command: Command) -> Result<Command> {
        for (section, values) in &self.values {
            for (name, line) in values {
                let Some(verb) = command.find_subcommand(section) else {
                    bail!("{}: there is no command `{section}` for [{section}]", self.place(line.number));
                };
                let Some(id) = verb_argument(verb, name).map(|arg| arg.get_id().clone()) else {
                    bail!("{}: `{section}` has no flag --{name}", self.place(line.number));
                };
                if is_ollamas(section, name) {
                    continue;
                }
                let values = line.value.texts();
                command = command.mut_subcommand(section, |verb| {
                    verb.mut_arg(id.as_str(), |arg| arg.default_values(values))
                });
            }
        }
        Ok(command)
    }

    /// Whether a value stands in the file.
    pub(crate) fn has(&self, section: &str, name: &str) -> bool {
        !is_ollamas(section, name) && self.values.get(section).is_some_and(|values| values.contains_key(name))
    }

    fn place(&self, line: usize) -> String {
        let path = self.path.as_deref().unwrap_or(Path::new("the settings"));
        format!("{}:{line}", path.display())
    }
}

/// A flag by its long name, or what stands without a name by its own.
fn verb_argument<'a>(verb: &'a Command, name: &str) -> Option<&'a Arg> {
    let is_it = |arg: &&Arg| arg.get_long() == Some(name) || (arg.is_positional() && arg.get_id() == name);
    verb.get_arguments().find(is_it)
}

/// OLLAMA_HOST is no flag's variable, and comes before the file all the same.
fn is_ollamas(section: &str, name: &str) -> bool {
    section == "serve"
        && ["host", "port"].contains(&name)
        && std::env::var_os("OLLAMA_HOST").is_some_and(|host| !host.is_empty())
}

impl Value {
    /// As the command line would have it.
    fn texts(&self) -> Vec<String> {
        match self {
            Value::One(text) => vec![text.clone()],
            Value::Many(texts) => texts.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Verb;

    fn config(text: &str) -> Config {
        Config { path: Some("c.toml".into()), values: lines::parse(text).unwrap() }
    }

    fn parallel(config: &Config, args: &[&str]) -> usize {
        let command = config.apply(Arguments::command()).unwrap();
        let matches = command.try_get_matches_from([&["bantam", "serve"], args].concat()).unwrap();
        match Arguments::from_arg_matches(&matches).unwrap().verb {
            Verb::Serve(args) => args.parallel(),
            _ => 0,
        }
    }

    #[test]
    fn flags_come_before_the_file() {
        let config = config("[serve]\nparallel = 3\nquiet = true\nmodels = [\"a\", \"b\"]\n");
        assert_eq!(parallel(&config, &[]), 3);
        assert_eq!(parallel(&config, &["--parallel", "5"]), 5);
        let command = config.apply(Arguments::command()).unwrap();
        let matches = command.try_get_matches_from(["bantam", "serve"]).unwrap();
        let Verb::Serve(args) = Arguments::from_arg_matches(&matches).unwrap().verb else {
            panic!("no serve")
        };
        assert!(args.quiet);
        assert_eq!(args.models, ["a", "b"]);
    }

    #[test]
    fn what_is_not_known_is_told_by_its_line() {
        for (text, told) in [("[serve]\n\nspeed = 9\n", "c.toml:3"), ("[fly]\nx = 1\n", "[fly]")] {
            let error = config(text).apply(Arguments::command()).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let wrong = config("[serve]\nparallel = \"many\"\n").apply(Arguments::command()).unwrap();
        assert!(wrong.try_get_matches_from(["bantam", "serve"]).is_err());
    }

    #[test]
    fn the_file_is_where_such_files_are() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".config/bantam");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), "[serve]\ncache = 5\n").unwrap();
        let from = |vars: &[(&str, &str)]| {
            let vars = vars.to_vec();
            let value =
                |name: &str| vars.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).into());
            Config::find(value)
        };
        let home = home.path().to_str().unwrap();
        assert!(from(&[("HOME", home)]).unwrap().has("serve", "cache"));
        assert!(from(&[("HOME", home), ("BANTAM_CONFIG", "")]).unwrap().path.is_none());
        assert!(from(&[("HOME", home), ("XDG_CONFIG_HOME", "/nonexistent")]).unwrap().path.is_none());
        assert!(from(&[("BANTAM_CONFIG", "/nonexistent/c.toml")]).is_err());
    }
}
