//! `golden`: writes `testdata/golden/FAMILY.json` anew.
//!
//! For each tiny config in `testdata/golden/configs` the weights are made by the generator that the tests use too
//! (`testdata/golden/weights.rs`), written as a checkpoint into the build folder, and run through transformers.
//! `testdata/golden/README.md` has the format.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::{Arguments, Error, Result, process, python, safetensors, workspace};

#[path = "../../../testdata/golden/weights.rs"]
mod weights;

/// Writes the families named, or all.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let named = arguments.names()?;
    let families = if named.is_empty() { families()? } else { named };
    let work = workspace::target().join("golden");
    for family in &families {
        copy_config(family, &work.join(family))?;
    }
    let shapes = script("shapes", &work, &families)?;
    for family in &families {
        write_checkpoint(&work.join(family), &shapes[family])?;
    }
    let truths = script("truth", &work, &families)?;
    for family in &families {
        write_golden(family, &shapes[family], &truths[family])?;
    }
    Ok(())
}

/// The families that have a config, in order of their names.
pub(crate) fn families() -> Result<Vec<String>> {
    let files = workspace::files(&folder().join("configs"))?;
    let stems = files.iter().filter_map(|path| path.file_name()?.to_str()?.strip_suffix(".json"));
    Ok(stems.map(str::to_owned).collect())
}

/// Whether the rope of a family depends on the longest call so far, by its config.
pub(crate) fn has_dynamic_rope(family: &str) -> bool {
    let text = workspace::read(&config_path(family)).unwrap_or_default();
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    let rope = &config["rope_scaling"];
    rope["rope_type"] == "dynamic" || rope["type"] == "dynamic"
}

fn config_path(family: &str) -> PathBuf {
    folder().join("configs").join(format!("{family}.json"))
}

fn folder() -> PathBuf {
    workspace::root().join("testdata/golden")
}

fn copy_config(family: &str, to: &Path) -> Result<()> {
    let from = config_path(family);
    std::fs::create_dir_all(to).map_err(Error::io(to))?;
    std::fs::copy(&from, to.join("config.json")).map_err(Error::io(&from))?;
    Ok(())
}

/// Runs `golden.py`, which prints one JSON object keyed by family.
fn script(verb: &str, work: &Path, families: &[String]) -> Result<Value> {
    let program = workspace::root().join("crates/xtask/golden.py");
    process::json(python::interpreter()?.arg(program).arg(verb).arg(work).args(families), None)
}

fn write_checkpoint(to: &Path, shapes: &Value) -> Result<()> {
    let shapes: Vec<(String, Vec<usize>)> = shapes
        .as_object()
        .and_then(|table| table.iter().map(|(name, shape)| Some((name.clone(), sizes(shape)?))).collect())
        .ok_or_else(|| Error::form("shapes of tensors", shapes.to_string()))?;
    let tensors = shapes.into_iter().map(|(name, shape)| {
        let values = weights::tensor(&name, &shape);
        (name, shape, values)
    });
    let path = to.join("model.safetensors");
    std::fs::write(&path, safetensors::file(tensors)).map_err(Error::io(&path))
}

fn sizes(shape: &Value) -> Option<Vec<usize>> {
    serde_json::from_value(shape.clone()).ok()
}

fn write_golden(family: &str, shapes: &Value, truth: &Value) -> Result<()> {
    let mut golden =
        Map::from_iter([("family".to_owned(), json!(family)), ("tensors".to_owned(), shapes.clone())]);
    golden.extend(truth.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    let path = folder().join(format!("{family}.json"));
    std::fs::write(&path, lines(&golden)).map_err(Error::io(&path))?;
    println!("{}", workspace::relative(&path));
    Ok(())
}

/// One line for each key, and for each entry of a table, so that a change of one number is a change of one line.
fn lines(object: &Map<String, Value>) -> String {
    let line = |(key, value): (&String, &Value)| match value {
        Value::Object(table) => {
            let rows: Vec<_> = table.iter().map(|(name, row)| format!("  {}: {row}", json!(name))).collect();
            format!("{}: {{\n{}\n}}", json!(key), rows.join(",\n"))
        }
        _ => format!("{}: {value}", json!(key)),
    };
    let lines: Vec<_> = object.iter().map(line).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_files_are_json_with_a_line_per_entry() {
        let value = json!({"a": [1, 2], "t": {"x": 1, "y": [2]}});
        let text = lines(value.as_object().unwrap());
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert_eq!(text.lines().count(), 7);
    }

    #[test]
    fn dynamic_ropes_are_known_by_their_configs() {
        let dynamic = families().unwrap().into_iter().filter(|family| has_dynamic_rope(family));
        assert_eq!(dynamic.collect::<Vec<_>>(), ["llama_dynamic"]);
    }

    #[test]
    fn every_config_has_its_golden_file_and_back() {
        let files = workspace::files(&folder()).unwrap();
        let files = files.iter().filter(|path| path.parent() == Some(folder().as_path()));
        let stems: Vec<_> =
            files.filter_map(|path| path.file_name()?.to_str()?.strip_suffix(".json")).collect();
        assert_eq!(stems, families().unwrap());
    }

    /// Were the generator to change, every golden file would be wrong at once; this says why.
    #[test]
    fn the_generator_has_not_changed() {
        let first = weights::tensor("model.layers.0.self_attn.q_proj.weight", &[2, 64]);
        assert_eq!(first[..3], [-0.40991372, 0.17608054, 0.052604273]);
    }
}
