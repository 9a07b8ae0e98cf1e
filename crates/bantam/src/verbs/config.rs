//! `bantam config show`: the settings that a command would have now, and who says so.

use std::ffi::OsStr;

use anyhow::{Result, anyhow};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory};
use serde_json::{Value, json};

use crate::args::{Arguments, ConfigArgs, ConfigVerb};
use crate::config::Config;
use crate::print::{print_json, print_table};

pub(crate) fn run(args: &ConfigArgs) -> Result<()> {
    let ConfigVerb::Show(args) = &args.verb;
    let config = Config::find(|name| std::env::var_os(name))?;
    let settings = settings(&config, &args.command)?;
    if args.json {
        let told: Value = settings.iter().map(|one| (one.name.clone(), one.to_json())).collect();
        return print_json(&json!({ "file": config.path, "command": args.command, "settings": told }));
    }
    if args.origin {
        let rows = settings.into_iter().map(|one| [one.name, one.values.join(", "), one.origin]);
        return print_table(["SETTING", "VALUE", "FROM"], rows);
    }
    print_table(["SETTING", "VALUE"], settings.into_iter().map(|one| [one.name, one.values.join(", ")]))
}

/// A setting that has a value.
struct Setting {
    name: String,
    values: Vec<String>,
    origin: String,
}

impl Setting {
    fn to_json(&self) -> Value {
        json!({ "value": self.values, "from": self.origin })
    }
}

fn settings(config: &Config, command: &str) -> Result<Vec<Setting>> {
    let mut all = config.apply(Arguments::command())?.ignore_errors(true);
    all.build();
    let verb =
        all.find_subcommand(command).ok_or_else(|| anyhow!("there is no command `{command}`"))?.clone();
    let matches = all.try_get_matches_from(["bantam", command])?;
    let matches =
        matches.subcommand_matches(command).ok_or_else(|| anyhow!("`{command}` has no settings"))?;
    Ok(verb.get_arguments().filter_map(|arg| setting(config, &verb, arg, matches)).collect())
}

fn setting(config: &Config, verb: &Command, arg: &Arg, matches: &ArgMatches) -> Option<Setting> {
    let id = arg.get_id().as_str();
    let name = arg.get_long().unwrap_or(id);
    if ["help", "version"].contains(&name) {
        return None;
    }
    let origin = match matches.value_source(id)? {
        ValueSource::EnvVariable => format!("environment, {}", arg.get_env().map(told).unwrap_or_default()),
        _ if config.has(verb.get_name(), name) => {
            format!(
                "file, {}",
                config.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
            )
        }
        _ => "default".to_owned(),
    };
    let values = matches.get_raw(id)?.map(told);
    // What the help does not show of a variable is a secret.
    let values = if arg.is_hide_env_values_set() { vec!["***".to_owned()] } else { values.collect() };
    Some(Setting { name: name.to_owned(), values, origin })
}

fn told(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_an_origin() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "[serve]\ncache = 7\napi-key = \"secret-key\"\n").unwrap();
        let config = Config::find(|name| (name == "BANTAM_CONFIG").then(|| path.clone().into())).unwrap();
        let settings = settings(&config, "serve").unwrap();
        let of = |name: &str| settings.iter().find(|one| one.name == name).unwrap();
        assert_eq!(of("cache").values, ["7"]);
        assert!(of("cache").origin.starts_with("file") && of("cache").origin.ends_with("c.toml"));
        assert_eq!((of("drain").values.join(""), of("drain").origin.as_str()), ("30".into(), "default"));
        assert_eq!(of("api-key").values, ["***"]);
        assert!(super::settings(&config, "fly").is_err());
    }
}
