//! The smallest writer of the safetensors format: the length of a JSON header, the header, the bytes of the tensors.

use serde_json::{Map, Value, json};

/// The bytes of a file of float32 tensors: (name, shape, values in row-major order).
pub(crate) fn file(tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>) -> Vec<u8> {
    let mut header = Map::new();
    let mut bytes = Vec::new();
    for (name, shape, values) in tensors {
        let start = bytes.len();
        bytes.extend(values.into_iter().flat_map(f32::to_le_bytes));
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [start, bytes.len()]}));
    }
    let header = Value::Object(header).to_string().into_bytes();
    [(header.len() as u64).to_le_bytes().as_slice(), &header, &bytes].concat()
}
