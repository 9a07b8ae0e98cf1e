//! How a person names a model: a name, a path, or a place on the hub.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::quant::{self, Want};
use crate::{Error, Result};

const SEGMENT_CHARS_MAX: usize = 128;
/// Ends of files that are, or may hold, Python pickles.
const PICKLES: &[&str] = &[".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".h5"];
const HUB_PREFIXES: &[&str] =
    &["hf.co/", "huggingface.co/", "https://huggingface.co/", "https://hf.co/", "hf://", "hf:"];

/// A model as the user named it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reference {
    /// `smollm2:135m`: a name of the store or of the catalogue.
    Name(String),
    /// A file or folder on this machine.
    Path(PathBuf),
    /// A repository on the hub.
    Hub(HubReference),
}

/// `org/repo[@revision][:quant]` or `org/repo[@revision]/path/file`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HubReference {
    /// `org/name`.
    pub repo: String,
    /// A branch, tag or commit; `main` when none was given.
    pub revision: String,
    /// A quantisation label, as `Q4_K_M`.
    pub quant: Option<String>,
    /// One file of the repository.
    pub file: Option<String>,
}

impl FromStr for Reference {
    type Err = Error;

    /// A text with a hub prefix is a hub reference; one that looks like a path, ends as a model file does or leads to a
    /// model on disk is a path; `a/b` is a hub reference; the rest is a name.
    fn from_str(text: &str) -> Result<Reference> {
        if let Some(rest) = HUB_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
            return rest.parse().map(Reference::Hub);
        }
        let path = Path::new(text);
        if looks_like_path(text) || (text.contains('/') && path.exists()) || is_model(path) {
            return Ok(Reference::Path(text.into()));
        }
        if text.contains('/') {
            return text.parse().map(Reference::Hub);
        }
        check_name(text).map_err(|why| bad(text, why))?;
        Ok(Reference::Name(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Name(name) => f.write_str(name),
            Reference::Path(path) => write!(f, "{}", path.display()),
            Reference::Hub(hub) => write!(f, "{hub}"),
        }
    }
}

/// A bare word is a path only if a model lies there: any folder called `phi2` must not take the name from the catalogue.
fn is_model(path: &Path) -> bool {
    path.is_file() || path.join("config.json").is_file()
}

fn looks_like_path(text: &str) -> bool {
    let starts = ["/", "./", "../", "~", ".\\", "..\\"].iter().any(|start| text.starts_with(start));
    let ends = [".gguf", ".safetensors", "/", "\\"].iter().any(|end| text.ends_with(end));
    starts || ends || text == "." || text == ".." || text.contains('\\')
}

fn bad(text: &str, why: &'static str) -> Error {
    Error::BadReference { text: text.chars().take(200).collect(), why }
}

impl FromStr for HubReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<HubReference> {
        let refused = |why| bad(text, why);
        let (place, quant) = match text.rsplit_once(':') {
            Some((place, quant)) => (place, Some(quant)),
            None => (text, None),
        };
        let mut parts = place.splitn(3, '/');
        let org = parts.next().unwrap_or_default();
        let (name, revision) = split_revision(parts.next().unwrap_or_default());
        let file = parts.next().map(strip_web_path);
        check_segment(org).and_then(|()| check_segment(name)).map_err(refused)?;
        check_segment(revision).map_err(refused)?;
        if let Some(file) = file {
            file.split('/').try_for_each(check_segment).map_err(refused)?;
            if PICKLES.iter().any(|end| file.to_ascii_lowercase().ends_with(end)) {
                return Err(refused("it may hold a pickle, which can run code; take .gguf or .safetensors"));
            }
        }
        if quant.is_some_and(|label| !quant::is_label(label)) {
            return Err(refused("what follows the colon is no quantisation such as Q4_K_M or Q8_0"));
        }
        Ok(HubReference {
            repo: format!("{org}/{name}"),
            revision: revision.into(),
            quant: quant.map(str::to_ascii_uppercase),
            file: file.map(String::from),
        })
    }
}

impl fmt::Display for HubReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf.co/{}", self.repo)?;
        if self.revision != "main" {
            write!(f, "@{}", self.revision)?;
        }
        match (&self.file, &self.quant) {
            (Some(file), _) => write!(f, "/{file}"),
            (None, Some(quant)) => write!(f, ":{quant}"),
            (None, None) => Ok(()),
        }
    }
}

impl HubReference {
    pub(crate) fn want(&self) -> Want<'_> {
        match (&self.file, &self.quant) {
            (Some(file), _) => Want::File(file),
            (None, Some(quant)) => Want::Quant(quant),
            (None, None) => Want::Best,
        }
    }
}

fn split_revision(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, "main"))
}

/// A pasted address holds `blob/main/` or `resolve/main/` before the file.
fn strip_web_path(rest: &str) -> &str {
    let rest = rest.split('?').next().unwrap_or(rest);
    ["blob/main/", "resolve/main/"].iter().find_map(|web| rest.strip_prefix(web)).unwrap_or(rest)
}

/// A part of a name or path that is one ordinary file name on every system.
pub(crate) fn check_segment(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > SEGMENT_CHARS_MAX {
        return Err("a part is empty or too long");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b)) {
        return Err("a part has characters other than letters, digits and - _ . +");
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') || text.ends_with('.') {
        return Err("a part starts or ends with a dot or a sign");
    }
    Ok(())
}

/// A store or catalogue name: `family` or `family:tag`.
pub(crate) fn check_name(text: &str) -> Result<(), &'static str> {
    let (family, tag) = text.split_once(':').unwrap_or((text, "latest"));
    check_segment(family).and_then(|()| check_segment(tag))
}

/// A path inside a repository that cannot leave the folder it is joined to.
pub(crate) fn check_relative(path: &str) -> Result<(), &'static str> {
    let plain = |part: &str| {
        let sound = !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
        sound && !part.chars().any(|c| c.is_control() || "\\:*?\"<>|".contains(c))
    };
    if path.len() <= 1024 && path.split('/').all(plain) {
        Ok(())
    } else {
        Err("a file path leaves its folder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(text: &str) -> HubReference {
        match text.parse() {
            Ok(Reference::Hub(hub)) => hub,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn references_are_told_apart() {
        assert_eq!("SmolLM2:135M".parse::<Reference>().unwrap(), Reference::Name("smollm2:135m".into()));
        for path in ["/m.gguf", "./m", "../m", "~/m", "m.gguf", "folder/", "a/b/c.gguf", "C:\\m", "."] {
            assert!(matches!(path.parse(), Ok(Reference::Path(_))), "{path}");
        }
        let plain = hub("Qwen/Qwen3-0.6B-GGUF:q8_0");
        assert_eq!((plain.repo.as_str(), plain.quant.as_deref()), ("Qwen/Qwen3-0.6B-GGUF", Some("Q8_0")));
        assert_eq!(plain.revision, "main");
        let file = hub("https://huggingface.co/o/r/blob/main/sub/m.gguf");
        assert_eq!((file.repo.as_str(), file.file.as_deref()), ("o/r", Some("sub/m.gguf")));
        assert_eq!(hub("hf.co/o/r@v1.2").revision, "v1.2");
    }

    #[test]
    fn a_reference_reads_as_it_is_written() {
        for text in ["hf.co/o/r", "hf.co/o/r:Q4_K_M", "hf.co/o/r@abc", "hf.co/o/r/sub/m.gguf"] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn climbing_names_are_refused() {
        for bad in [
            "",
            "..:x",
            "a:../b",
            "hf.co/../r",
            "hf.co/o/..",
            "hf.co/o/r/../../x",
            "hf.co/o/r@../x",
            "hf.co/o",
        ] {
            let parsed = bad.parse::<Reference>();
            assert!(parsed.is_err() || matches!(parsed, Ok(Reference::Path(_))), "{bad}: {parsed:?}");
        }
        for refused in ["hf.co/o/r:latest", "hf.co/o/r/pytorch_model.BIN", "o/r/sub/model.ckpt"] {
            assert!(refused.parse::<Reference>().is_err(), "{refused}");
        }
        for bad in ["/etc/passwd", "a//b", "a/../b", "a\\b", "c:x", "a\0", ""] {
            assert!(check_relative(bad).is_err(), "{bad}");
        }
    }
}
