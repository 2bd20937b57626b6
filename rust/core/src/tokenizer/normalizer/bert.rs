//! BERT's normalizer: clean, space out ideographs, strip accents, lowercase; in this order.

use crate::Result;
use crate::tokenizer::json::Node;
use crate::tokenizer::text::Character;
use crate::tokenizer::unicode::{is_accent, is_ideograph, is_removed};
use serde_json::{Value, json};
use unicode_normalization_alignments::char::{canonical_combining_class, decompose_canonical};

/// The options of a BertNormalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BertNormalizer {
    /// Remove control characters and turn every white space into a space.
    pub clean_text: bool,
    /// Put spaces around ideographs.
    pub handle_chinese_chars: bool,
    /// Decompose and remove nonspacing marks; None means "where lowercase is on".
    pub strip_accents: Option<bool>,
    /// Lowercase each character.
    pub lowercase: bool,
}

impl BertNormalizer {
    /// Reads the fields of the JSON object.
    pub fn read(node: &Node<'_, '_>) -> Result<Self> {
        Ok(Self {
            clean_text: node.field("clean_text")?.boolean()?,
            handle_chinese_chars: node.field("handle_chinese_chars")?.boolean()?,
            strip_accents: node.present("strip_accents")?.map(|flag| flag.boolean()).transpose()?,
            lowercase: node.field("lowercase")?.boolean()?,
        })
    }

    /// The object in a tokenizer.json.
    pub fn to_json(&self) -> Value {
        json!({
            "type": "BertNormalizer",
            "clean_text": self.clean_text,
            "handle_chinese_chars": self.handle_chinese_chars,
            "strip_accents": self.strip_accents,
            "lowercase": self.lowercase,
        })
    }

    /// Whether accents are stripped, the default resolved.
    pub fn strips_accents(&self) -> bool {
        self.strip_accents.unwrap_or(self.lowercase)
    }

    /// Normalizes in place.
    pub fn apply(&self, characters: &mut Vec<Character>) {
        if self.clean_text {
            characters.retain(|character| !is_removed(character.value));
            for character in characters.iter_mut() {
                if character.value.is_whitespace() {
                    character.value = ' ';
                }
            }
        }
        if self.handle_chinese_chars && characters.iter().any(|character| is_ideograph(character.value)) {
            space_ideographs(characters);
        }
        if self.strips_accents() && characters.iter().any(|character| !character.value.is_ascii()) {
            decompose(characters);
            characters.retain(|character| !is_accent(character.value));
        }
        if self.lowercase {
            lowercase(characters);
        }
    }
}

/// The spaces share the ideograph's place.
fn space_ideographs(characters: &mut Vec<Character>) {
    let mut spaced = Vec::with_capacity(characters.len() * 2);
    for character in characters.iter() {
        if is_ideograph(character.value) {
            let space = Character { value: ' ', ..*character };
            spaced.extend([space, *character, space]);
        } else {
            spaced.push(*character);
        }
    }
    *characters = spaced;
}

/// Canonical decomposition with canonical ordering.
///
/// Places follow the reference: the first character of a decomposition takes the next source place in the order
/// after sorting, the further ones repeat the place of the source character taken last.
fn decompose(characters: &mut Vec<Character>) {
    let mut parts: Vec<(u8, char, bool)> = Vec::with_capacity(characters.len() + characters.len() / 4);
    let mut pending = 0;
    for character in characters.iter() {
        let mut first = true;
        decompose_canonical(character.value, |value| {
            let class = if value.is_ascii() { 0 } else { canonical_combining_class(value) };
            if class == 0 {
                if let Some(run) = parts.get_mut(pending..) {
                    run.sort_by_key(|part| part.0);
                }
                pending = parts.len() + 1;
            }
            parts.push((class, value, first));
            first = false;
        });
    }
    if let Some(run) = parts.get_mut(pending..) {
        run.sort_by_key(|part| part.0);
    }
    let mut sources = characters.iter();
    let mut place = (0, 0);
    let mut decomposed = Vec::with_capacity(parts.len());
    for (_, value, first) in parts {
        if first && let Some(source) = sources.next() {
            place = (source.start, source.end);
        }
        decomposed.push(Character { value, start: place.0, end: place.1 });
    }
    *characters = decomposed;
}

fn lowercase(characters: &mut Vec<Character>) {
    // İ is the one character whose lowercase form is longer than one character.
    if characters.iter().any(|character| character.value.to_lowercase().len() > 1) {
        *characters = characters
            .iter()
            .flat_map(|character| {
                character.value.to_lowercase().map(|value| Character { value, ..*character })
            })
            .collect();
        return;
    }
    for character in characters.iter_mut() {
        if let Some(lower) = character.value.to_lowercase().next() {
            character.value = lower;
        }
    }
}
