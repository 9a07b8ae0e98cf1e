//! What a model of the store adds to its files: how it is talked to, and adapters.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::record::FileRecord;

/// What a model of the store adds to its files. Fields are as Ollama's Modelfile has them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Recipe {
    /// The model that it was made from.
    #[serde(default)]
    pub from: Option<String>,
    /// What the model is told before each conversation.
    #[serde(default)]
    pub system: Option<String>,
    /// A chat template in the place of its files' own.
    #[serde(default)]
    pub template: Option<String>,
    /// Settings that hold where a request says nothing, such as `temperature`.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// What was said before each conversation, as `{role, content}`.
    #[serde(default)]
    pub messages: Vec<Value>,
    /// Adapters that always change it.
    #[serde(default)]
    pub adapters: Vec<FileRecord>,
}

impl Recipe {
    /// This over what the model had that it is made from.
    pub(crate) fn over(self, base: Option<Recipe>) -> Recipe {
        let Some(base) = base else { return self };
        let mut parameters = base.parameters;
        parameters.extend(self.parameters);
        let mut adapters = base.adapters;
        adapters.extend(self.adapters);
        Recipe {
            from: self.from.or(base.from),
            system: self.system.or(base.system),
            template: self.template.or(base.template),
            parameters,
            messages: if self.messages.is_empty() { base.messages } else { self.messages },
            adapters,
        }
    }
}
