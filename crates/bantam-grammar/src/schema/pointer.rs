//! Places in a JSON document (RFC 6901).

use serde_json::Value;

/// The steps of a pointer such as `/properties/a~1b`, and of one in a URI's fragment such as `/properties/a%20b`.
pub(super) fn steps(pointer: &str) -> Option<Vec<String>> {
    let rest = match pointer {
        "" | "/" => return Some(Vec::new()),
        pointer => pointer.strip_prefix('/')?,
    };
    rest.split('/').map(|step| Some(unescaped(step)?.replace("~1", "/").replace("~0", "~"))).collect()
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| std::str::from_utf8(after.get(..2)?).ok()).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// What stands at a place.
pub(super) fn at<'a>(root: &'a Value, steps: &[String]) -> Option<&'a Value> {
    steps.iter().try_fold(root, |value, step| match value {
        Value::Object(object) => object.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// A place as messages tell it: `#/properties/a~1b`.
pub(super) fn place_of<S: AsRef<str>>(steps: &[S]) -> String {
    let step = |step: &S| format!("/{}", step.as_ref().replace('~', "~0").replace('/', "~1"));
    steps.iter().fold("#".to_owned(), |place, next| place + &step(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pointers_are_read_and_written() {
        let root = json!({ "a/b": { "c~d": [1, { "e f": 2 }] } });
        let steps = steps("/a~1b/c~0d/1/e%20f").unwrap();
        assert_eq!(at(&root, &steps), Some(&json!(2)));
        assert_eq!(place_of(&steps), "#/a~1b/c~0d/1/e f");
        assert_eq!(super::steps("/"), Some(vec![]));
        assert_eq!(super::steps("a"), None);
        assert_eq!(super::steps("/%zz%"), Some(vec!["%zz%".to_owned()]));
        assert_eq!(super::steps("/%ff"), None);
        assert_eq!(at(&root, &["a".into()]), None);
    }
}
