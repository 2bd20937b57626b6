//! The protobuf wire format: a message as its fields, one after the other, each with its place in the file.
//! Source: <https://protobuf.dev/programming-guides/encoding/>

use crate::part::PartOf;
use crate::{Error, Result};

/// Groups within groups deeper than this are refused, as other readers do.
const DEEPEST_GROUP: usize = 100;

/// What a field holds, by its wire type.
#[derive(Debug, Clone, Copy)]
enum Value<'b> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'b [u8]),
    Group,
}

impl Value<'_> {
    fn describe(self) -> &'static str {
        match self {
            Self::Varint(_) => "a varint",
            Self::Fixed32(_) => "four bytes",
            Self::Fixed64 => "eight bytes",
            Self::Bytes(_) => "a run of bytes",
            Self::Group => "a group",
        }
    }
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub struct Field<'b> {
    /// Its number in the schema.
    pub number: u64,
    source: &'b str,
    /// Where its value starts in the file.
    at: usize,
    value: Value<'b>,
}

impl<'b> Field<'b> {
    fn mismatch(&self, name: &str, expected: &str) -> Error {
        self.refuse(name, expected, self.value.describe())
    }

    /// An error at this field, which the schema calls `name`.
    pub fn refuse(&self, name: &str, expected: &str, actual: impl Into<String>) -> Error {
        Error::format(self.source, format!("byte {} ({name})", self.at), expected, actual)
    }

    /// The bytes of a string, an embedded message or `bytes`.
    pub fn bytes(&self, name: &str) -> Result<&'b [u8]> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.mismatch(name, "a run of bytes")),
        }
    }

    /// A string, which must be UTF-8.
    pub fn text(&self, name: &str) -> Result<&'b str> {
        std::str::from_utf8(self.bytes(name)?).map_err(|error| {
            let place = format!("byte {} ({name})", self.at + error.valid_up_to());
            Error::format(self.source, place, "UTF-8", "a byte that is not")
        })
    }

    /// An embedded message.
    pub fn message(&self, name: &str) -> Result<Message<'b>> {
        Ok(Message { source: self.source, rest: self.bytes(name)?, at: self.at })
    }

    /// A `float`.
    pub fn float(&self, name: &str) -> Result<f32> {
        match self.value {
            Value::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(self.mismatch(name, "a float of four bytes")),
        }
    }

    /// An `int32` or an enum: of a longer varint the low 32 bits count.
    pub fn integer(&self, name: &str) -> Result<i32> {
        match self.value {
            Value::Varint(value) => Ok(value as i32),
            _ => Err(self.mismatch(name, "a varint")),
        }
    }

    /// A `bool`.
    pub fn boolean(&self, name: &str) -> Result<bool> {
        match self.value {
            Value::Varint(value) => Ok(value != 0),
            _ => Err(self.mismatch(name, "a varint")),
        }
    }
}

/// A message that has been read up to a field.
#[derive(Debug, Clone)]
pub struct Message<'b> {
    source: &'b str,
    rest: &'b [u8],
    /// Where `rest` starts in the file.
    at: usize,
}

impl<'b> Message<'b> {
    /// The message a whole file is; `source` names the file in errors.
    pub fn root(source: &'b str, bytes: &'b [u8]) -> Self {
        Self { source, rest: bytes, at: 0 }
    }

    /// The next field, or None at the end. Groups are read over.
    pub fn next_field(&mut self) -> Result<Option<Field<'b>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, kind) = self.tag()?;
        if kind != 3 {
            return self.value(number, kind).map(Some);
        }
        let at = self.at;
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            let start = self.at;
            match self.tag()? {
                (inner, 3) if open.len() < DEEPEST_GROUP => open.push(inner),
                (_, 3) => return Err(self.refuse(start, "groups at most 100 deep", "a deeper one")),
                (inner, 4) if inner == innermost => {
                    open.pop();
                }
                (inner, 4) => {
                    let expected = format!("the end of group {innermost}");
                    return Err(self.refuse(start, &expected, format!("that of group {inner}")));
                }
                (inner, kind) => {
                    self.value(inner, kind)?;
                }
            }
        }
        Ok(Some(Field { number, source: self.source, at, value: Value::Group }))
    }

    fn refuse(&self, at: usize, expected: &str, actual: impl Into<String>) -> Error {
        Error::format(self.source, format!("byte {at}"), expected, actual)
    }

    /// A field's number and wire type.
    fn tag(&mut self) -> Result<(u64, u64)> {
        let at = self.at;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number >= 1 << 29 {
            return Err(self.refuse(at, "a field number from 1 to 536870911", number.to_string()));
        }
        Ok((number, tag & 7))
    }

    fn value(&mut self, number: u64, kind: u64) -> Result<Field<'b>> {
        let mut at = self.at;
        let value = match kind {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint()?;
                at = self.at;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                Value::Fixed32(self.take(4)?.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte)))
            }
            4 => {
                return Err(self.refuse(
                    at,
                    "a field",
                    format!("the end of group {number}, which is not open"),
                ));
            }
            _ => return Err(self.refuse(at, "a wire type from 0 to 5", kind.to_string())),
        };
        Ok(Field { number, source: self.source, at, value })
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                self.advance(index + 1);
                return Ok(value);
            }
        }
        let actual = if self.rest.len() < 10 { "the end of the data" } else { "more" };
        Err(self.refuse(self.at, "a varint of at most 10 bytes", actual))
    }

    fn take(&mut self, length: u64) -> Result<&'b [u8]> {
        let taken = usize::try_from(length).ok().and_then(|length| self.rest.get(..length));
        let taken = taken.ok_or_else(|| {
            let expected = format!("{length} more bytes");
            self.refuse(self.at, &expected, format!("{} to the end of the data", self.rest.len()))
        })?;
        self.advance(taken.len());
        Ok(taken)
    }

    fn advance(&mut self, length: usize) {
        self.rest = self.rest.part(length..);
        self.at += length;
    }
}
