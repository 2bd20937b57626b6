//! The safetensors header: an 8-byte little-endian length, that many bytes of JSON, then the tensors' bytes.
//!
//! Everything a later reader relies on is checked here, once: the tensors lie in the file, fill it without
//! overlap or hole, and have the sizes that their dtypes and shapes ask for.

use std::collections::HashMap;
use std::io::Read;

use serde_json::value::RawValue;

use super::dtype::Dtype;
use super::json::{Pairs, brief};
use crate::{Error, Result};

/// The largest header that is read, in bytes: the format's own limit.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The size of the length that precedes the header, in bytes.
pub(super) const LENGTH_BYTES: u64 = 8;

/// The name under which a header keeps its text annotations.
pub(super) const METADATA: &str = "__metadata__";

/// Where one tensor lies in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, such as `model.embed_tokens.weight`.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// The sizes of its dimensions; empty for a single value.
    pub shape: Vec<u64>,
    /// Its first byte, counted from the start of the file.
    pub start: u64,
    /// The byte after its last, counted from the start of the file.
    pub end: u64,
}

/// A header that was checked against the size of its file.
#[derive(Debug)]
pub struct Header {
    /// The tensors in the order of their bytes.
    pub tensors: Vec<TensorInfo>,
    /// The annotations, in the order of the file.
    pub metadata: Vec<(String, String)>,
    positions: HashMap<String, usize>,
}

impl Header {
    /// Reads and checks the header of a file of `file_bytes` bytes.
    ///
    /// # Errors
    /// `Error::Format` with the tensor's name and field (`model.norm.weight.shape`) or "header".
    pub fn read(path: &str, reader: &mut impl Read, file_bytes: u64) -> Result<Self> {
        let wrong = |expected: String, actual: String| Error::format(path, "header", expected, actual);
        if file_bytes < LENGTH_BYTES {
            return Err(wrong("an 8-byte header length".into(), format!("a file of {file_bytes} bytes")));
        }
        let mut length = [0; LENGTH_BYTES as usize];
        reader.read_exact(&mut length).map_err(|error| Error::io(path, error))?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER_BYTES {
            return Err(wrong(
                format!("at most {MAX_HEADER_BYTES} bytes"),
                format!("a length of {length} bytes"),
            ));
        }
        let rest = file_bytes - LENGTH_BYTES;
        if length > rest {
            return Err(wrong(
                format!("{length} bytes, as its length says"),
                format!("{rest} bytes after the length (truncated file?)"),
            ));
        }
        let mut bytes = vec![0; length as usize];
        reader.read_exact(&mut bytes).map_err(|error| Error::io(path, error))?;
        Self::parse(path, &bytes, file_bytes)
    }

    /// Checks the JSON part of the header of a file of `file_bytes` bytes.
    fn parse(path: &str, bytes: &[u8], file_bytes: u64) -> Result<Self> {
        let malformed = |actual: String| Error::format(path, "header", "a JSON object in UTF-8", actual);
        let text = std::str::from_utf8(bytes)
            .map_err(|error| malformed(format!("invalid UTF-8 at byte {}", error.valid_up_to())))?;
        if !text.starts_with('{') {
            return Err(malformed(format!("text that starts with {:?}", brief(text))));
        }
        let Pairs(pairs) =
            serde_json::from_str(text).map_err(|error| malformed(brief(&error.to_string())))?;

        let data_start = LENGTH_BYTES + bytes.len() as u64;
        let mut header = Self {
            tensors: Vec::with_capacity(pairs.len()),
            metadata: Vec::new(),
            positions: HashMap::new(),
        };
        let mut has_metadata = false;
        for (name, value) in pairs {
            if name == METADATA {
                if std::mem::replace(&mut has_metadata, true) {
                    return Err(duplicate(path, METADATA));
                }
                header.metadata = parse_metadata(path, value)?;
            } else {
                header.tensors.push(parse_tensor(path, name, value, data_start, file_bytes)?);
            }
        }
        header.tensors.sort_by_key(|tensor| (tensor.start, tensor.end));
        check_contiguous(path, &header.tensors, data_start, file_bytes)?;
        header.positions.reserve(header.tensors.len());
        for (position, tensor) in header.tensors.iter().enumerate() {
            if header.positions.insert(tensor.name.clone(), position).is_some() {
                return Err(duplicate(path, &tensor.name));
            }
        }
        Ok(header)
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.positions.get(name).and_then(|&position| self.tensors.get(position))
    }
}

fn duplicate(path: &str, name: &str) -> Error {
    Error::format(path, brief(name), "one entry of this name", "several")
}

fn parse_metadata(path: &str, value: &RawValue) -> Result<Vec<(String, String)>> {
    if value.get() == "null" {
        return Ok(Vec::new());
    }
    let wrong = |key: String, actual: &str| Error::format(path, key, "a string", brief(actual));
    let Pairs(pairs) = serde_json::from_str(value.get())
        .map_err(|_| Error::format(path, METADATA, "a JSON object of strings", brief(value.get())))?;
    let mut seen = HashMap::with_capacity(pairs.len());
    let mut metadata = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let key = format!("{METADATA}.{}", brief(&name));
        let text: String = serde_json::from_str(value.get()).map_err(|_| wrong(key.clone(), value.get()))?;
        if seen.insert(name.clone(), ()).is_some() {
            return Err(duplicate(path, &key));
        }
        metadata.push((name, text));
    }
    Ok(metadata)
}

fn parse_tensor(
    path: &str,
    name: String,
    value: &RawValue,
    data_start: u64,
    file_bytes: u64,
) -> Result<TensorInfo> {
    let wrong = |field: &str, expected: &str, actual: String| {
        let key = if field.is_empty() { brief(&name) } else { format!("{}.{field}", brief(&name)) };
        Error::format(path, key, expected, actual)
    };
    const FIELDS: &str = "a JSON object with dtype, shape and data_offsets";
    let Pairs(pairs) =
        serde_json::from_str(value.get()).map_err(|_| wrong("", FIELDS, brief(value.get())))?;
    let field = |field: &str| -> Result<&str> {
        let mut values = pairs.iter().filter(|(key, _)| key == field).map(|(_, value)| value.get());
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(wrong("", FIELDS, format!("no {field}"))),
            (Some(_), Some(_)) => Err(wrong(field, "one entry of this name", "several".into())),
        }
    };

    let dtype = field("dtype")?;
    let dtype = serde_json::from_str::<String>(dtype)
        .ok()
        .and_then(|name| Dtype::from_name(&name))
        .ok_or_else(|| wrong("dtype", "a dtype of the safetensors format", brief(dtype)))?;
    let shape = field("shape")?;
    let shape: Vec<u64> = serde_json::from_str(shape)
        .map_err(|_| wrong("shape", "a list of non-negative integers", brief(shape)))?;
    let offsets = field("data_offsets")?;
    let [begin, end]: [u64; 2] = serde_json::from_str(offsets)
        .map_err(|_| wrong("data_offsets", "two non-negative integers", brief(offsets)))?;

    let size = dtype
        .byte_size(&shape)
        .map_err(|problem| wrong("shape", "a size in whole bytes below 2^64 bits", problem.into()))?;
    let data_bytes = file_bytes - data_start;
    if begin > end {
        return Err(wrong("data_offsets", "a begin that is at most the end", brief(offsets)));
    }
    if end > data_bytes {
        let expected = format!("offsets within the {data_bytes} bytes after the header (truncated file?)");
        return Err(wrong("data_offsets", &expected, brief(offsets)));
    }
    if end - begin != size {
        let expected = format!("{size} bytes, as {dtype} {} asks for", brief(&format!("{shape:?}")));
        return Err(wrong("data_offsets", &expected, format!("{} bytes", end - begin)));
    }
    Ok(TensorInfo { dtype, shape, start: data_start + begin, end: data_start + end, name })
}

/// The tensors, sorted by their bytes, must follow each other from the header to the end of the file.
fn check_contiguous(path: &str, tensors: &[TensorInfo], data_start: u64, file_bytes: u64) -> Result<()> {
    let mut expected = data_start;
    for tensor in tensors {
        if tensor.start != expected {
            let what = if tensor.start < expected { "an overlap" } else { "a hole" };
            return Err(Error::format(
                path,
                format!("{}.data_offsets", brief(&tensor.name)),
                format!("a begin of {}, where the tensor before it ends", expected - data_start),
                format!("{what}: {}", tensor.start - data_start),
            ));
        }
        expected = tensor.end;
    }
    if expected != file_bytes {
        return Err(Error::format(
            path,
            "header",
            format!("tensors that fill the {} bytes after the header", file_bytes - data_start),
            format!("tensors that end at {}", expected - data_start),
        ));
    }
    Ok(())
}
