//! A BPE model as the `model` of a tokenizer.json.

use super::{Bpe, BpeOptions};
use crate::tokenizer::json::{Json, Node};
use crate::tokenizer::vocab::Vocab;
use crate::{Error, Result};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

impl BpeOptions {
    /// Reads the fields of the JSON object; all of them may be absent or null.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let text = |key| -> Result<Option<String>> {
            node.present(key)?.map(|node| node.text().map(str::to_owned)).transpose()
        };
        let flag = |key| Ok(node.present(key)?.map(|node| node.boolean()).transpose()?.unwrap_or(false));
        let dropout = node.present("dropout")?;
        let dropout = dropout.map(|dropout| match dropout.value() {
            Json::Unsigned(0) => Ok(0.0),
            Json::Float(value) if *value == 0.0 => Ok(0.0),
            Json::Float(value) if !(0.0..=1.0).contains(value) => {
                Err(dropout.mismatch("a number from 0 to 1"))
            }
            Json::Float(_) | Json::Unsigned(1) => Err(Error::unsupported(
                node.source(),
                dropout.path(),
                format!("{}: merging at random", dropout.value().describe()),
            )),
            _ => Err(dropout.mismatch("a number from 0 to 1")),
        });
        Ok(Self {
            unk_token: text("unk_token")?,
            continuing_subword_prefix: text("continuing_subword_prefix")?,
            end_of_word_suffix: text("end_of_word_suffix")?,
            fuse_unk: flag("fuse_unk")?,
            byte_fallback: flag("byte_fallback")?,
            ignore_merges: flag("ignore_merges")?,
            dropout: dropout.transpose()?,
        })
    }
}

impl Bpe {
    /// Reads the fields of the JSON object. Merges are pairs, or as older files have them strings of two tokens with
    /// a space between, of which those that start with `#version` do not count.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        let options = BpeOptions::read(node)?;
        let vocab = Vocab::read(&node.field("vocab")?)?;
        let list = node.field("merges")?;
        let items = list.elements()?;
        let legacy = matches!(items.first(), Some(Json::Text(_)));
        let mut places = Vec::new();
        let mut merges = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let pair = match item {
                Json::Text(line) if legacy => {
                    if line.starts_with("#version") {
                        places.push(index);
                        continue;
                    }
                    line.split_once(' ').filter(|pair| !pair.1.contains(' '))
                }
                Json::Array(pair) if !legacy => match pair.as_slice() {
                    [Json::Text(left), Json::Text(right)] => Some((&**left, &**right)),
                    _ => None,
                },
                _ => None,
            };
            let expected = if legacy { "two tokens with a space between" } else { "an array of two tokens" };
            merges.push(pair.ok_or_else(|| list.element(index, item).mismatch(expected))?);
        }
        Self::new(vocab, merges, options).map_err(|misfit| {
            // Lines that do not count were left out of the list.
            let shift =
                |index| places.iter().fold(index, |index, place| index + usize::from(*place <= index));
            let place = misfit.index.map_or_else(String::new, |index| format!("[{}]", shift(index)));
            node.refuse_key(&format!("{}{place}", misfit.key), misfit.expected, misfit.actual)
        })
    }
}

impl Bpe {
    /// The object in a tokenizer.json without vocabulary and merges.
    pub fn options(&self) -> Map<String, Value> {
        let options = self.settings();
        let entries: [(&str, Value); 8] = [
            ("type", "BPE".into()),
            ("dropout", options.dropout.into()),
            ("unk_token", options.unk_token.clone().into()),
            ("continuing_subword_prefix", options.continuing_subword_prefix.clone().into()),
            ("end_of_word_suffix", options.end_of_word_suffix.clone().into()),
            ("fuse_unk", options.fuse_unk.into()),
            ("byte_fallback", options.byte_fallback.into()),
            ("ignore_merges", options.ignore_merges.into()),
        ];
        entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
    }
}

impl Serialize for Bpe {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(10))?;
        for (key, value) in &self.options() {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("vocab", self.vocab())?;
        map.serialize_entry("merges", &Merges(self))?;
        map.end()
    }
}

struct Merges<'b>(&'b Bpe);

impl Serialize for Merges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.merges())
    }
}
