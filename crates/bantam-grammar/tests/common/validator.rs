//! JSON Schema by its words, for the keywords that the tests use: slow, plain, and with nothing in common with the
//! parser.

use serde_json::Value;

/// Whether a value holds to a schema; `root` is what references begin at.
pub(crate) fn holds(value: &Value, schema: &Value, root: &Value) -> bool {
    let Value::Object(keywords) = schema else { return *schema == Value::Bool(true) };
    keywords.iter().all(|(keyword, wanted)| keyword_holds(value, schema, keyword, wanted, root))
}

fn keyword_holds(value: &Value, schema: &Value, keyword: &str, wanted: &Value, root: &Value) -> bool {
    let number = |place: &Value| place.as_f64().unwrap();
    let count = |least: bool, found: Option<usize>| {
        found.is_none_or(|found| {
            let wanted = wanted.as_u64().unwrap() as usize;
            if least { found >= wanted } else { found <= wanted }
        })
    };
    let length = value.as_str().map(|text| text.chars().count());
    let items = value.as_array().map(Vec::len);
    match keyword {
        "type" => match wanted {
            Value::Array(types) => types.iter().any(|name| is_of(value, name.as_str().unwrap())),
            name => is_of(value, name.as_str().unwrap()),
        },
        "enum" => wanted.as_array().unwrap().contains(value),
        "const" => value == wanted,
        "anyOf" => wanted.as_array().unwrap().iter().any(|one| holds(value, one, root)),
        "allOf" => wanted.as_array().unwrap().iter().all(|one| holds(value, one, root)),
        "oneOf" => wanted.as_array().unwrap().iter().filter(|one| holds(value, one, root)).count() == 1,
        "$ref" => holds(value, root.pointer(&wanted.as_str().unwrap()[1..]).unwrap(), root),
        "minimum" => value.as_f64().is_none_or(|found| found >= number(wanted)),
        "maximum" => value.as_f64().is_none_or(|found| found <= number(wanted)),
        "multipleOf" => value.as_f64().is_none_or(|found| found % number(wanted) == 0.0),
        "minLength" => count(true, length),
        "maxLength" => count(false, length),
        "minItems" => count(true, items),
        "minProperties" => count(true, value.as_object().map(serde_json::Map::len)),
        "maxItems" => count(false, items),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| holds(item, wanted, root))),
        "required" => value.as_object().is_none_or(|object| {
            wanted.as_array().unwrap().iter().all(|name| object.contains_key(name.as_str().unwrap()))
        }),
        "properties" => value.as_object().is_none_or(|object| {
            let known = object.iter().filter_map(|(name, value)| Some((value, wanted.get(name)?)));
            known.into_iter().all(|(value, schema)| holds(value, schema, root))
        }),
        "additionalProperties" => value.as_object().is_none_or(|object| {
            let known = |name: &str| schema["properties"].get(name).is_some();
            object.iter().all(|(name, value)| known(name) || holds(value, wanted, root))
        }),
        "$defs" | "title" | "description" => true,
        other => panic!("this validator does not know {other}"),
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type {other}"),
    }
}
