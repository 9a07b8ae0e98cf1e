//! Folders of Hugging Face's PEFT.
//!
//! Tensors are called `base_model.model.MODULE.lora_A.weight` `[r, inputs]` and `.lora_B.weight` `[outputs, r]`, for
//! projections stored transposed, too. The scale is `lora_alpha / r`, with `use_rslora` `lora_alpha / sqrt(r)`
//! (Kalajdzievski 2023). Source: `tuners/lora` of PEFT.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use bantam_kernels::matmul::Layout;
use serde_json::{Map, Value, json};

use super::pattern::Pattern;
use super::{
    AdapterFile, AdapterForm, AdapterPair, CONFIG, FINGERPRINT, Half, Quantized, pair, pair_up, prefix,
    renamed,
};
use crate::Tensor;
use crate::error::{Error, Quoted};
use crate::format::{atomic, folder, json as json_format, map, safetensors};

pub(super) const WEIGHTS: &str = "adapter_model.safetensors";

const PREFIX: &str = "base_model.model.";

pub(super) fn read(folder: &Path) -> Result<AdapterFile, Error> {
    let path = folder.join(CONFIG);
    let config = read_config(&path)?;
    check(&config).map_err(|error| error.in_file(&path))?;
    let in_config = |error: Error| error.in_file(&path);
    let scaling =
        if prefix::is_prefix(&config) { None } else { Some(Scaling::read(&config).map_err(in_config)?) };
    let path = folder.join(WEIGHTS);
    let bytes = map::map(&path)?;
    let read = || {
        let file = safetensors::File::parse(&bytes)?;
        file.refuse_unreadable()?;
        let (pairs, prefix) = match &scaling {
            Some(scaling) => (pairs(&config, scaling, file.tensors())?, None),
            None => (Vec::new(), Some(prefix::read(&config, file.tensors())?)),
        };
        Ok((pairs, prefix, safetensors::metadata(&bytes)?.remove(FINGERPRINT)))
    };
    let (pairs, prefix, fingerprint) = read().map_err(|error: Error| error.in_file(&path))?;
    let transposed = config.get("fan_in_fan_out").and_then(Value::as_bool).unwrap_or_default();
    let base_name = config.get("base_model_name_or_path").and_then(Value::as_str).map(str::to_owned);
    Ok(AdapterFile {
        form: AdapterForm::Peft,
        pairs,
        prefix,
        fingerprint,
        base_name,
        architecture: None,
        base_layout: if transposed { Layout::InOut } else { Layout::OutIn },
    })
}

/// The products among the tensors of a folder.
fn pairs<'a>(
    config: &Value,
    scaling: &Scaling,
    tensors: impl Iterator<Item = &'a Tensor>,
) -> Result<Vec<AdapterPair>, Error> {
    let (lengths, halves) = tensors.partition::<Vec<_>, _>(|tensor| lengths_of(tensor.name()).is_some());
    let modules = pair_up(halves.into_iter(), half_of)?.into_iter();
    let pairs = modules.map(|(module, [a, b])| scaling.pair(module, a, b)).collect::<Result<_, _>>()?;
    with_lengths(pairs, &lengths, lengths_of, is_dora(config))
}

/// An adapter's config, of bounded size.
pub(super) fn read_config(path: &Path) -> Result<Value, Error> {
    let bytes = folder::read_bounded(path, folder::JSON_BYTES_MAX)?;
    json_format::parse(&bytes).map_err(|error| error.in_file(path))
}

/// Refuses configs of what is more, or other, than low-rank products or a prefix.
fn check(config: &Value) -> Result<(), Error> {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let kind = text("peft_type").unwrap_or_default();
    if kind != "LORA" && !prefix::is_prefix(config) {
        let kind = Quoted(kind);
        return Err(Error::adapter(format!(
            "its peft_type is {kind}; bantam applies LORA and PREFIX_TUNING"
        )));
    }
    if let Some(module) =
        config.get("modules_to_save").and_then(Value::as_array).and_then(|list| list.first())
    {
        let module = Quoted(module.as_str().unwrap_or_default()).to_string();
        return Err(Error::adapter(format!(
            "{module} was trained and saved whole (modules_to_save); {MERGE}"
        )));
    }
    if let Some(bias @ ("all" | "lora_only")) = text("bias") {
        return Err(Error::adapter(format!("it holds biases (bias is \"{bias}\"); {MERGE}")));
    }
    // Other starts take a part out of the base's own weights.
    let start = text("init_lora_weights").unwrap_or("true");
    if !["true", "gaussian", "eva", "orthogonal"].contains(&start) {
        return Err(Error::adapter(format!(
            "it stands on a base that its start ({}) changed; save it as a plain LoRA \
             (path_initial_model_for_weight_conversion), or {MERGE}",
            Quoted(start)
        )));
    }
    let is_set = |key: &&str| match config.get(*key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(_) => true,
    };
    match FOREIGN.iter().find(|key| is_set(key)) {
        Some(key) => {
            Err(Error::adapter(format!("{key} in its config changes more than projections; {MERGE}")))
        }
        None => Ok(()),
    }
}

/// Keys of what is more than a product for each projection.
const FOREIGN: [&str; 9] = [
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
];

const MERGE: &str = "merge it with PEFT (merge_and_unload) and take the merged model";

/// Whether rows are given lengths (DoRA, Liu et al., 2024).
fn is_dora(config: &Value) -> bool {
    config.get("use_dora").and_then(Value::as_bool).unwrap_or_default()
}

/// From a module's name to the scale of its product.
struct Scaling {
    rank: Pattern,
    alpha: Pattern,
    kind: ScalingKind,
}

enum ScalingKind {
    /// `alpha / r`
    ByRank,
    /// `alpha / sqrt(r)`
    ByRoot,
}

impl Scaling {
    fn read(config: &Value) -> Result<Self, Error> {
        let by_root = config.get("use_rslora").and_then(Value::as_bool).unwrap_or_default();
        Ok(Scaling {
            rank: Pattern::read(config, "r", "rank_pattern")?,
            alpha: Pattern::read(config, "lora_alpha", "alpha_pattern")?,
            kind: if by_root { ScalingKind::ByRoot } else { ScalingKind::ByRank },
        })
    }

    fn pair(&self, module: String, a: crate::Tensor, b: crate::Tensor) -> Result<AdapterPair, Error> {
        let (wanted, found) = (self.rank.of(&module), a.rows());
        if wanted != found as f64 {
            let reason = format!("its config gives rank {wanted}, and A has {found} rows");
            return Err(Error::tensor(&module, reason));
        }
        let alpha = self.alpha.of(&module);
        let scale = match self.kind {
            ScalingKind::ByRank => alpha / wanted,
            ScalingKind::ByRoot => alpha / wanted.sqrt(),
        };
        pair(module, a, b, scale)
    }
}

/// The module of a tensor; older versions leave the adapter's name in.
fn half_of(name: &str) -> Result<(&str, Half), Error> {
    const ENDS: [(&str, Half); 4] = [
        (".lora_A.weight", Half::A),
        (".lora_B.weight", Half::B),
        (".lora_A.default.weight", Half::A),
        (".lora_B.default.weight", Half::B),
    ];
    let module = name.strip_prefix(PREFIX).unwrap_or(name);
    let found = ENDS.iter().find_map(|(end, half)| Some((module.strip_suffix(end)?, *half)));
    found.ok_or_else(|| match () {
        () if name.contains("lora_embedding_") => {
            Error::tensor(name, format!("it changes a table of embeddings, not a projection; {MERGE}"))
        }
        () => Error::tensor(name, format!("it is saved whole, not as lora_A or lora_B; {MERGE}")),
    })
}

/// The module whose rows are given lengths by a tensor of this name.
fn lengths_of(name: &str) -> Option<&str> {
    const ENDS: [&str; 4] = ["", ".weight", ".default", ".default.weight"];
    let (module, end) = name.split_once(".lora_magnitude_vector")?;
    ENDS.contains(&end).then(|| module.strip_prefix(PREFIX).unwrap_or(module))
}

/// The pairs with the lengths of their rows; `module_of` is the module that a tensor is of.
pub(super) fn with_lengths(
    mut pairs: Vec<AdapterPair>,
    lengths: &[&Tensor],
    module_of: fn(&str) -> Option<&str>,
    is_dora: bool,
) -> Result<Vec<AdapterPair>, Error> {
    for tensor in lengths {
        let module = module_of(tensor.name()).unwrap_or_default();
        let pair = pairs.iter_mut().find(|pair| pair.module == module);
        let pair = pair.filter(|_| is_dora).ok_or_else(|| {
            Error::tensor(
                tensor.name(),
                "it is a length of rows, without DoRA in the config or without a product",
            )
        })?;
        if tensor.elements() != pair.b.rows() {
            let reason = format!("shape {:?}, wanted [{}]", tensor.shape(), pair.b.rows());
            return Err(Error::tensor(tensor.name(), reason));
        }
        pair.magnitude = Some((*tensor).clone());
    }
    match pairs.iter().find(|pair| is_dora && pair.magnitude.is_none()) {
        Some(pair) => Err(Error::adapter(format!(
            "the config asks for DoRA, and {} has no lengths of rows",
            Quoted(&pair.module)
        ))),
        None => Ok(pairs),
    }
}

pub(super) fn write(file: &AdapterFile, folder: &Path) -> Result<(), Error> {
    let (tensors, config) = match &file.prefix {
        Some(_) if !file.pairs.is_empty() => {
            return Err(Error::adapter("PEFT folders hold products or a prefix, and this adapter is both"));
        }
        Some(prefix) => (vec![prefix::tensor(prefix)?], prefix::config(file, prefix)),
        None => (halves(file)?, config(file)),
    };
    let metadata = file.fingerprint.iter().map(|fingerprint| (FINGERPRINT, fingerprint.as_str()));
    std::fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    safetensors::write_with(&folder.join(WEIGHTS), metadata, &tensors)?;
    let config = format!("{config:#}\n");
    // Last, since a folder without it is no adapter.
    atomic::write(&folder.join(CONFIG), |out| out.write_all(config.as_bytes()))
}

/// The tensors of all pairs.
fn halves(file: &AdapterFile) -> Result<Vec<Tensor>, Error> {
    let mut tensors = Vec::with_capacity(2 * file.pairs.len());
    let has_lengths = file.pairs.iter().filter(|pair| pair.magnitude.is_some()).count();
    if has_lengths > 0 && has_lengths < file.pairs.len() {
        return Err(Error::adapter("some of its projections give rows lengths (DoRA) and some do not"));
    }
    for AdapterPair { module, a, b, magnitude, .. } in &file.pairs {
        if let Some(lengths) = magnitude {
            let name = format!("{PREFIX}{module}.lora_magnitude_vector");
            tensors.push(renamed(lengths, name, Quantized::None)?);
        }
        for (half, tensor) in [("A", a), ("B", b)] {
            tensors.push(renamed(tensor, format!("{PREFIX}{module}.lora_{half}.weight"), Quantized::None)?);
        }
    }
    Ok(tensors)
}

/// A config of keys that all versions of PEFT know.
fn config(file: &AdapterFile) -> Value {
    let first = file.pairs.first();
    let (rank, alpha) = first.map_or((1, 1.0), |pair| (pair.rank(), pair.alpha()));
    let (mut rank_pattern, mut alpha_pattern) = (Map::new(), Map::new());
    for pair in &file.pairs {
        if pair.rank() != rank {
            rank_pattern.insert(pair.module.clone(), json!(pair.rank()));
        }
        if pair.alpha() != alpha {
            alpha_pattern.insert(pair.module.clone(), alpha_json(pair.alpha()));
        }
    }
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": file.base_name,
        "inference_mode": true,
        "r": rank,
        "lora_alpha": alpha_json(alpha),
        "lora_dropout": 0.0,
        "target_modules": target_modules(&file.pairs),
        "rank_pattern": rank_pattern,
        "alpha_pattern": alpha_pattern,
        "use_rslora": false,
        "use_dora": first.is_some_and(|pair| pair.magnitude.is_some()),
        "fan_in_fan_out": file.base_layout == Layout::InOut,
        "bias": "none",
        "modules_to_save": null,
        "init_lora_weights": true,
    })
}

/// A whole number as such, as most readers expect it.
fn alpha_json(alpha: f64) -> Value {
    if alpha.fract() == 0.0 && alpha.abs() < f64::from(u32::MAX) { json!(alpha as i64) } else { json!(alpha) }
}

/// The last parts of the names where each stands in all layers from the first on, else the whole names.
fn target_modules(pairs: &[AdapterPair]) -> Vec<&str> {
    let mut leaves: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for AdapterPair { module, .. } in pairs {
        let leaf = module.rfind('.').map_or(0, |dot| dot + 1);
        let layer = module.split('.').find_map(|part| part.parse().ok()).unwrap_or_default();
        leaves.entry(&module[leaf..]).or_default().insert(layer);
    }
    let layers = leaves.values().map(BTreeSet::len).max().unwrap_or_default();
    let is_whole = |of: &BTreeSet<usize>| of.len() == layers && of.last() == Some(&(layers - 1));
    let is_alone = |leaf: &str| pairs.iter().any(|pair| pair.module == leaf);
    if layers > 1 && leaves.iter().all(|(leaf, of)| is_whole(of) || is_alone(leaf)) {
        return leaves.into_keys().collect();
    }
    pairs.iter().map(|pair| pair.module.as_str()).collect()
}
