//! A JSON tree that keeps the order of keys, and a cursor over it whose errors name the place.

use crate::part::PartOf;
use crate::{Error, Result};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A JSON value. Objects are pairs in the order of the file, duplicates included.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'t> {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// An integer from 0 to 2^64 - 1.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// Every other number.
    Float(f64),
    /// A string, borrowed from the file where it holds no escapes.
    Text(Cow<'t, str>),
    /// An array.
    Array(Vec<Json<'t>>),
    /// An object.
    Object(Vec<(Cow<'t, str>, Json<'t>)>),
}

impl Json<'_> {
    /// A token id: an integer from 0 to 2^32 - 2 (the largest u32 marks "none").
    pub fn id(&self) -> Option<u32> {
        match self {
            Self::Unsigned(value) => u32::try_from(*value).ok().filter(|id| *id != u32::MAX),
            _ => None,
        }
    }

    /// What this is, in words for an error.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Boolean(value) => format!("the boolean {value}"),
            Self::Unsigned(value) => format!("the integer {value}"),
            Self::Negative(value) => format!("the negative integer {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(value) => format!("the string {}", quoted(value)),
            Self::Array(items) => format!("an array of {}", items.len()),
            Self::Object(fields) => format!("an object of {} keys", fields.len()),
        }
    }
}

/// A string in quotes, cut where it is long.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", text.part(..end)),
        None => format!("{text:?}"),
    }
}

/// Parses `text`; `source` names it in errors. Nesting deeper than 128 levels is refused, not followed.
pub fn parse<'t>(source: &str, text: &'t str) -> Result<Json<'t>> {
    serde_json::from_str(text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Error::format(source, place, "JSON", error.to_string())
    })
}

/// A key or string that borrows from the input where it can.
struct Borrowed<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Borrowed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Borrowed<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
                Ok(Borrowed(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(Borrowed(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: de::Error>(self) -> std::result::Result<Self::Value, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> std::result::Result<Self::Value, E> {
        Ok(Json::Boolean(value))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> std::result::Result<Self::Value, E> {
        Ok(Json::Unsigned(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<Self::Value, E> {
        Ok(Json::Negative(value))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<Self::Value, E> {
        Ok(Json::Float(value))
    }
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> std::result::Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((Borrowed(key), value)) = access.next_entry()? {
            fields.push((key, value));
        }
        Ok(Json::Object(fields))
    }
}

/// A value, the file it came from and the path to it (`model.vocab`).
#[derive(Debug, Clone)]
pub struct Node<'j, 't> {
    value: &'j Json<'t>,
    source: &'j str,
    path: String,
}

impl<'j, 't> Node<'j, 't> {
    /// The root of a parsed file.
    pub fn root(source: &'j str, value: &'j Json<'t>) -> Self {
        Self { value, source, path: String::new() }
    }

    /// The value itself.
    pub fn value(&self) -> &'j Json<'t> {
        self.value
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Json::Null)
    }

    /// The file's name.
    pub fn source(&self) -> &'j str {
        self.source
    }

    /// The path from the root, `$` for the root itself.
    pub fn path(&self) -> &str {
        if self.path.is_empty() { "$" } else { &self.path }
    }

    /// "expected this here, found that".
    pub fn mismatch(&self, expected: &str) -> Error {
        Error::format(self.source, self.path(), expected, self.value.describe())
    }

    /// A format error at this place with its own words for what was found.
    pub fn refuse(&self, expected: impl Into<String>, actual: impl Into<String>) -> Error {
        Error::format(self.source, self.path(), expected, actual)
    }

    /// An error at a key of this object.
    pub fn refuse_key(&self, key: &str, expected: impl Into<String>, actual: impl Into<String>) -> Error {
        Error::format(self.source, self.join(key), expected, actual)
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The pairs of an object.
    pub fn fields(&self) -> Result<&'j [(Cow<'t, str>, Json<'t>)]> {
        match self.value {
            Json::Object(fields) => Ok(fields),
            _ => Err(self.mismatch("an object")),
        }
    }

    /// A child of this object under `key`, built for iteration over [`Self::fields`].
    pub fn child(&self, key: &str, value: &'j Json<'t>) -> Node<'j, 't> {
        Node { value, source: self.source, path: self.join(key) }
    }

    /// The value under `key`, or None where the key is absent. A repeated key is refused.
    pub fn optional(&self, key: &str) -> Result<Option<Node<'j, 't>>> {
        let mut found = None;
        for (name, value) in self.fields()? {
            if name == key {
                if found.is_some() {
                    return Err(self.refuse_key(key, "the key once", "it repeated"));
                }
                found = Some(self.child(key, value));
            }
        }
        Ok(found)
    }

    /// The value under `key`, or None where it is absent or null.
    pub fn present(&self, key: &str) -> Result<Option<Node<'j, 't>>> {
        Ok(self.optional(key)?.filter(|node| !node.is_null()))
    }

    /// The value under `key`, which must be there.
    pub fn field(&self, key: &str) -> Result<Node<'j, 't>> {
        self.optional(key)?.ok_or_else(|| self.refuse_key(key, "this key", "nothing"))
    }

    /// The elements of an array.
    pub fn items(&self) -> Result<impl Iterator<Item = Node<'j, 't>> + use<'j, 't, '_>> {
        let items = self.elements()?.iter().enumerate();
        Ok(items.map(|(index, value)| self.element(index, value)))
    }

    /// The elements of an array without their places: for long arrays of what is rarely wrong.
    pub fn elements(&self) -> Result<&'j [Json<'t>]> {
        match self.value {
            Json::Array(items) => Ok(items),
            _ => Err(self.mismatch("an array")),
        }
    }

    /// An element of this array, built for an error while going through [`Self::elements`].
    pub fn element(&self, index: usize, value: &'j Json<'t>) -> Node<'j, 't> {
        Node { value, source: self.source, path: format!("{}[{index}]", self.path) }
    }

    /// A string.
    pub fn text(&self) -> Result<&'j str> {
        match self.value {
            Json::Text(text) => Ok(text),
            _ => Err(self.mismatch("a string")),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Result<bool> {
        match self.value {
            Json::Boolean(value) => Ok(*value),
            _ => Err(self.mismatch("true or false")),
        }
    }

    /// A token id, as [`Json::id`].
    pub fn id(&self) -> Result<u32> {
        self.value.id().ok_or_else(|| self.mismatch("an integer from 0 to 4294967294"))
    }

    /// A length or count.
    pub fn size(&self) -> Result<usize> {
        match self.value {
            Json::Unsigned(value) => {
                usize::try_from(*value).map_err(|_| self.mismatch("an integer that fits in memory"))
            }
            _ => Err(self.mismatch("an integer, 0 or more")),
        }
    }

    /// The error for a component this version does not have.
    pub fn unsupported(&self) -> Error {
        Error::unsupported(self.source, self.path(), self.found())
    }

    /// The error for a name, such as a component's `type`, that is none of the known ones.
    pub fn unknown(&self, known: &[&str]) -> Error {
        Error::unknown(self.source, self.path(), known, self.found())
    }

    fn found(&self) -> String {
        match self.value {
            Json::Text(text) => quoted(text),
            other => other.describe(),
        }
    }
}
