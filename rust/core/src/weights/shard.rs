//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Component, Path};

use super::header::MAX_HEADER_BYTES;
use super::json::{Pairs, brief};
use super::mmap::open_regular;
use crate::{Error, Result};

const WEIGHT_MAP: &str = "weight_map";

/// The pairs (tensor name, shard's file name) of an index, in the order of the file.
///
/// A file name is relative to the index's folder and stays below it: no absolute path, no `..`, no drive.
///
/// # Errors
/// `Error::Io` where the file cannot be read, `Error::Format` with the name of the tensor concerned.
pub fn read_shard_index(path: &str) -> Result<Vec<(String, String)>> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_HEADER_BYTES + 1).read_to_end(&mut bytes).map_err(|error| Error::io(path, error))?;
    let malformed = |actual: String| Error::format(path, "index", "a JSON object in UTF-8", actual);
    if bytes.len() as u64 > MAX_HEADER_BYTES {
        return Err(Error::format(path, "index", format!("at most {MAX_HEADER_BYTES} bytes"), "more"));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| malformed(format!("invalid UTF-8 at byte {}", error.valid_up_to())))?;
    let Pairs(members) = serde_json::from_str(text).map_err(|error| malformed(brief(&error.to_string())))?;

    let mut maps = members.iter().filter(|(name, _)| name == WEIGHT_MAP).map(|(_, value)| value.get());
    let map = match (maps.next(), maps.next()) {
        (Some(map), None) => map,
        (None, _) => return Err(Error::format(path, WEIGHT_MAP, "a JSON object", "no such entry")),
        (Some(_), Some(_)) => {
            return Err(Error::format(path, WEIGHT_MAP, "one entry of this name", "several"));
        }
    };
    let Pairs(entries) = serde_json::from_str(map)
        .map_err(|_| Error::format(path, WEIGHT_MAP, "a JSON object", brief(map)))?;

    let mut pairs = Vec::with_capacity(entries.len());
    let mut seen = HashMap::with_capacity(entries.len());
    for (name, value) in entries {
        let key = || format!("{WEIGHT_MAP}.{}", brief(&name));
        let file: String = serde_json::from_str(value.get())
            .map_err(|_| Error::format(path, key(), "a file name", brief(value.get())))?;
        if !stays_below(&file) {
            let expected = "the name of a file in the index's own folder";
            return Err(Error::format(path, key(), expected, format!("{:?}", brief(&file))));
        }
        if seen.insert(name.clone(), ()).is_some() {
            return Err(Error::format(path, key(), "one entry of this name", "several"));
        }
        pairs.push((name, file));
    }
    Ok(pairs)
}

fn stays_below(file: &str) -> bool {
    // A backslash or a colon is a separator or a drive elsewhere: an index must mean the same on every
    // system.
    !file.is_empty()
        && !file.contains(['\\', ':', '\0'])
        && Path::new(file).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::stays_below;

    #[test]
    fn only_names_below_the_folder_pass() {
        for good in ["model-00001-of-00002.safetensors", "sub/model.safetensors", "..hidden", "a..b"] {
            assert!(stays_below(good), "{good}");
        }
        for bad in
            ["", "/etc/passwd", "../x", "a/../../x", "a/..", "c:x", "..\\x", "\\\\host\\x", "./x", "x\0"]
        {
            assert!(!stays_below(bad), "{bad}");
        }
    }
}
