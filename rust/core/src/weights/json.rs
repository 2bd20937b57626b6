//! JSON objects read as ordered pairs, so that duplicate names are seen and nesting costs neither stack nor
//! time.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object, in the order of the file, each value still as its text.
///
/// A value's text is delimited by a scanner without recursion: 100,000 nested brackets are skipped like any
/// others.
pub(super) struct Pairs<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// Text of a file as it may stand in an error message: cut where it is long.
pub(super) fn brief(text: &str) -> String {
    const LIMIT: usize = 120;
    match text.char_indices().nth(LIMIT) {
        Some((cut, _)) => format!("{}... ({} bytes)", &text[..cut], text.len()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_duplicates() {
        let Pairs(pairs) = serde_json::from_str(r#"{"b": [1, 2], "a": {}, "b": null}"#).unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.get())).collect();
        assert_eq!(pairs, [("b", "[1, 2]"), ("a", "{}"), ("b", "null")]);
    }

    #[test]
    fn deep_nesting_is_skipped_without_recursion() {
        let text = format!(r#"{{"deep": {}{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        let Pairs(pairs) = serde_json::from_str(&text).unwrap();
        assert_eq!(pairs[0].1.get().len(), 2_000_000);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(brief("short"), "short");
        assert_eq!(brief(&"é".repeat(500)), format!("{}... (1000 bytes)", "é".repeat(120)));
    }
}
