//! The catalogue: well-known small models by short names. Data in the repository, checked when it is read.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::Digest;
use crate::quant::{self, Want};
use crate::reference::{HubReference, check_name, check_relative, check_segment};
use crate::{Error, Result};

const BUILTIN: &str = include_str!("../catalogue.json");
const SUGGESTIONS_MAX: usize = 4;

/// Models by name.
#[derive(Clone, Debug)]
pub struct Catalogue {
    default: String,
    licences: BTreeMap<String, Licence>,
    models: Vec<Entry>,
}

/// A licence that models of the catalogue are under.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// Its name.
    pub name: String,
    /// Its text.
    pub url: String,
    /// What it is about, in our own words; given when the terms must be shown before the first download.
    #[serde(default)]
    pub notice: Option<String>,
}

/// One model of the catalogue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `family:tag`.
    pub name: String,
    /// Other names for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The name its makers gave it.
    pub title: String,
    /// Number of weights, to about two digits.
    pub parameters: u64,
    /// Key into the licences.
    pub licence: String,
    /// `org/name` on the hub.
    pub repo: String,
    /// A branch, tag or commit.
    #[serde(default = "main_revision")]
    pub revision: String,
    /// The quantisation taken by default; none for a folder of safetensors.
    #[serde(default)]
    pub quant: Option<String>,
    /// The default's file, where its name does not tell.
    #[serde(default)]
    pub file: Option<String>,
    /// Size of the default on disk: exact if `sha256` is given, else to about two digits.
    pub bytes: u64,
    /// Digest of the default, where it is known; else the hub's own decides.
    #[serde(default)]
    pub sha256: Option<String>,
    /// The same model in a package index.
    #[serde(default)]
    pub packages: Option<Packages>,
}

/// A model file carried by packages, one part in each.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// The name of the joined file.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: String,
    /// The parts in order.
    pub parts: Vec<PackagePart>,
}

/// A part of a model file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagePart {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The member of its wheel.
    pub member: String,
}

/// An entry and the quantisation asked for.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// The label asked for, if it is not the entry's default.
    pub quant: Option<&'a str>,
}

fn main_revision() -> String {
    "main".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    default: String,
    licences: BTreeMap<String, Licence>,
    models: Vec<Entry>,
}

impl Catalogue {
    /// The catalogue that comes with this program.
    pub fn builtin() -> Result<Catalogue> {
        Catalogue::from_json(BUILTIN)
    }

    /// Reads and checks a catalogue.
    pub fn from_json(text: &str) -> Result<Catalogue> {
        let raw: Raw =
            serde_json::from_str(text).map_err(|error| Error::Catalogue { why: error.to_string() })?;
        let catalogue = Catalogue { default: raw.default, licences: raw.licences, models: raw.models };
        catalogue.check()?;
        Ok(catalogue)
    }

    /// The model taken when none is named.
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// All entries, in the catalogue's order.
    pub fn entries(&self) -> &[Entry] {
        &self.models
    }

    /// The licence of an entry.
    pub fn licence(&self, entry: &Entry) -> Option<&Licence> {
        self.licences.get(&entry.licence)
    }

    /// Looks up `name`, an alias, or either with a quantisation after it (`qwen3:0.6b-q8_0`).
    pub fn find<'a>(&'a self, name: &'a str) -> Result<Pick<'a>> {
        if let Some(entry) = self.entry(name) {
            return Ok(Pick { entry, quant: None });
        }
        if let Some((base, label)) = name.rsplit_once('-')
            && quant::is_label(label)
            && let Some(entry) = self.entry(base)
        {
            let is_default =
                entry.quant.as_deref().is_some_and(|default| default.eq_ignore_ascii_case(label));
            return Ok(Pick { entry, quant: if is_default { None } else { Some(label) } });
        }
        Err(Error::UnknownModel { name: name.into(), suggestions: self.suggest(name) })
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.name == name || entry.aliases.iter().any(|alias| alias == name))
    }

    /// Names near `name`: of the same family, or a few letters away.
    fn suggest(&self, name: &str) -> Vec<String> {
        let family = name.split(':').next().unwrap_or(name);
        let near = |known: &str| {
            let same_family = known.split(':').next() == Some(family);
            let distance = edit_distance(name, known);
            (same_family || distance <= known.len() / 3).then_some(distance)
        };
        let mut found: Vec<(usize, &str)> = self
            .models
            .iter()
            .filter_map(|entry| near(&entry.name).map(|d| (d, entry.name.as_str())))
            .collect();
        found.sort();
        found.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name.to_string()).collect()
    }

    fn check(&self) -> Result<()> {
        let mut seen = std::collections::BTreeSet::new();
        for entry in &self.models {
            let wrong = |why: &str| Error::Catalogue { why: format!("{}: {why}", entry.name) };
            entry.check().map_err(|why| wrong(&why))?;
            if !self.licences.contains_key(&entry.licence) {
                return Err(wrong("its licence is not among the licences"));
            }
            if !entry.names().all(|name| seen.insert(name)) {
                return Err(wrong("a name or alias of it is taken"));
            }
        }
        if self.entry(&self.default).is_none() {
            return Err(Error::Catalogue { why: format!("the default {} is not in it", self.default) });
        }
        Ok(())
    }
}

impl Entry {
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.aliases.iter().map(String::as_str))
    }

    fn check(&self) -> Result<(), String> {
        for name in self.names() {
            check_name(name)?;
            if name.to_ascii_lowercase() != name {
                return Err(format!("{name} is not in lower case"));
            }
        }
        let reference: HubReference = self.repo.parse().map_err(|error: Error| error.to_string())?;
        if reference.repo != self.repo {
            return Err(format!("{} is not ORG/NAME", self.repo));
        }
        check_segment(&self.revision)?;
        if self.quant.as_deref().is_some_and(|label| !quant::is_label(label)) && self.file.is_none() {
            return Err("its quantisation has an unknown label and no file".into());
        }
        if let Some(file) = &self.file {
            check_relative(file)?;
        }
        if self.parameters == 0 || self.bytes == 0 {
            return Err("it has no size".into());
        }
        self.digest().map_err(|error| error.to_string())?;
        self.packages.as_ref().map_or(Ok(()), Packages::check)
    }

    /// The default's digest, where it is known.
    pub fn digest(&self) -> Result<Option<Digest>> {
        self.sha256.as_deref().map(Digest::from_hex).transpose()
    }
}

impl Packages {
    fn check(&self) -> Result<(), String> {
        check_relative(&self.file)?;
        self.digest().map_err(|error| error.to_string())?;
        if self.parts.is_empty() || self.bytes == 0 {
            return Err("its packages are empty".into());
        }
        for part in &self.parts {
            check_segment(&part.package)?;
            check_segment(&part.version)?;
            check_relative(&part.member)?;
        }
        Ok(())
    }

    /// The joined file's digest.
    pub fn digest(&self) -> Result<Digest> {
        Digest::from_hex(&self.sha256)
    }
}

impl<'a> Pick<'a> {
    /// The store's name for this pick: the entry's, and the quantisation if it is not the default.
    pub fn store_name(&self) -> String {
        match self.quant {
            Some(label) => format!("{}-{}", self.entry.name, label.to_ascii_lowercase()),
            None => self.entry.name.clone(),
        }
    }

    pub(crate) fn want(&self) -> Want<'a> {
        match (self.quant, &self.entry.file, &self.entry.quant) {
            (Some(label), _, _) => Want::Quant(label),
            (None, Some(file), _) => Want::File(file),
            (None, None, Some(label)) => Want::Quant(label),
            (None, None, None) => Want::Folder,
        }
    }
}

/// Levenshtein's distance, in bytes: names are ASCII.
fn edit_distance(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().take(256).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_catalogue_is_valid() {
        let catalogue = Catalogue::builtin().unwrap();
        let default = catalogue.find(catalogue.default_name()).unwrap().entry;
        assert_eq!(default.name, "smollm2:135m");
        assert!(default.packages.is_some() && default.digest().unwrap().is_some());
        assert!(catalogue.licence(default).unwrap().notice.is_none());
        let gemma = catalogue.find("gemma3:270m").unwrap().entry;
        assert!(catalogue.licence(gemma).unwrap().notice.is_some());
        assert_eq!(gemma.packages.as_ref().unwrap().parts.len(), 4);
    }

    #[test]
    fn sizes_fit_their_parameters() {
        for entry in Catalogue::builtin().unwrap().entries() {
            let bits = entry.bytes as f64 * 8.0 / entry.parameters as f64;
            // A little over 32 where a checkpoint of F32 holds attention masks too.
            assert!((4.0..36.0).contains(&bits), "{}: {bits} bits per weight", entry.name);
            assert!(entry.parameters <= 15_000_000_000, "{}", entry.name);
        }
    }

    #[test]
    fn every_family_is_there() {
        let catalogue = Catalogue::builtin().unwrap();
        let families = "llama2 llama3 llama3.1 llama3.2 tinyllama smollm smollm2 smollm3 mistral mistral-nemo ministral \
            qwen1.5 qwen2 qwen2.5 qwen3 phi1 phi1.5 phi2 phi3 phi3.5 phi4 phi4-mini gemma gemma2 gemma3 stablelm2 olmo olmo2 \
            olmo3 granite3.3 gpt2 deepseek-r1";
        for family in families.split_whitespace() {
            let known = catalogue.entries().iter().any(|e| e.name.split(':').next() == Some(family));
            assert!(known, "{family}");
        }
    }

    #[test]
    fn names_aliases_and_quantisations_are_found() {
        let catalogue = Catalogue::builtin().unwrap();
        assert_eq!(catalogue.find("smollm2").unwrap().store_name(), "smollm2:135m");
        let f16 = catalogue.find("qwen3:4b-f16").unwrap();
        assert_eq!((f16.store_name().as_str(), f16.want()), ("qwen3:4b-f16", Want::Quant("f16")));
        assert_eq!(catalogue.find("qwen3:4b-q4_k_m").unwrap().store_name(), "qwen3:4b");
    }

    #[test]
    fn a_slip_of_the_finger_gets_suggestions() {
        let catalogue = Catalogue::builtin().unwrap();
        let error = catalogue.find("qwen3:06b").unwrap_err();
        let Error::UnknownModel { suggestions, .. } = error else { panic!("{error}") };
        assert_eq!(suggestions[0], "qwen3:0.6b");
        let error = catalogue.find("zzzzzzzzzzz").unwrap_err();
        assert!(matches!(error, Error::UnknownModel { suggestions, .. } if suggestions.is_empty()));
    }

    #[test]
    fn a_wrong_catalogue_is_refused() {
        let text = |repo: &str, licence: &str, sha: &str| {
            format!(
                r#"{{"default":"a:1","licences":{{"l":{{"name":"L","url":"u"}}}},"models":[{{"name":"a:1","title":"A",
                "parameters":1,"bytes":1,"repo":"{repo}","licence":"{licence}","quant":"Q8_0","sha256":"{sha}"}}]}}"#
            )
        };
        let sha = Digest::of(b"").hex();
        assert!(Catalogue::from_json(&text("o/r", "l", &sha)).is_ok());
        for (repo, licence, sha) in
            [("o/../r", "l", sha.as_str()), ("o/r", "m", &sha), ("o/r", "l", "../x"), ("o", "l", &sha)]
        {
            assert!(Catalogue::from_json(&text(repo, licence, sha)).is_err(), "{repo} {licence} {sha}");
        }
    }
}
