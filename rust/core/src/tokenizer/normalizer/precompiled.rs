//! Precompiled: a sentencepiece model's own rules, applied to graphemes.

use super::Piece;
use super::charsmap::CharsMap;
use super::rewrite::{Step, rewritten};
use crate::Result;
use crate::tokenizer::base64;
use crate::tokenizer::json::Node;
use crate::tokenizer::text::Character;
use serde_json::{Value, json};
use std::sync::Arc;
use unicode_segmentation::UnicodeSegmentation;

/// Longer graphemes are not looked up whole, only their characters are.
const LONGEST_GRAPHEME: usize = 5;

/// The rules of a `precompiled_charsmap`.
#[derive(Debug, Clone, PartialEq)]
pub struct Precompiled {
    map: Arc<CharsMap>,
}

impl Precompiled {
    /// From the bytes of a sentencepiece model's `precompiled_charsmap`.
    ///
    /// Fails, with what was expected and found, where they are malformed.
    pub fn new(charsmap: &[u8]) -> std::result::Result<Self, (&'static str, String)> {
        Ok(Self { map: Arc::new(CharsMap::new(charsmap)?) })
    }

    pub(super) fn read(node: &Node<'_, '_>) -> Result<Self> {
        let charsmap = node.field("precompiled_charsmap")?;
        let bytes = base64::decode(charsmap.text()?).ok_or_else(|| charsmap.mismatch("base64"))?;
        Self::new(&bytes).map_err(|(expected, actual)| charsmap.refuse(expected, actual))
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"type": "Precompiled", "precompiled_charsmap": base64::encode(&self.map.bytes())})
    }

    /// Whether no rule applies to a text.
    pub(super) fn keeps(&self, text: &str) -> bool {
        let mut kept = true;
        let walked = self.walk(text, |_, new| {
            kept &= new.is_none();
            Ok(())
        });
        walked.is_ok() && kept
    }

    /// Calls `visit` with each part of the text and what it becomes, None where it stays.
    ///
    /// What the map says of a grapheme's shortest start in it goes for the whole grapheme.
    pub(super) fn walk<'t>(
        &'t self,
        text: &'t str,
        mut visit: impl FnMut(&'t str, Option<&'t str>) -> Result<()>,
    ) -> Result<()> {
        let mut rest = text;
        while !rest.is_empty() {
            let (plain, after) = rest.split_at_checked(self.plain(rest)).unwrap_or((rest, ""));
            if !plain.is_empty() {
                visit(plain, None)?;
            }
            let (stretch, after) = after.split_at_checked(stretch(after)).unwrap_or((after, ""));
            for grapheme in stretch.graphemes(true) {
                self.grapheme(grapheme, &mut visit)?;
            }
            rest = after;
        }
        Ok(())
    }

    /// What some text becomes. None: it may be part of a longer grapheme.
    pub(super) fn free(&self, old: &[char]) -> Option<Vec<char>> {
        let mut new = Vec::new();
        for c in old {
            match self.map.find(c.encode_utf8(&mut [0; 4]).as_bytes()) {
                Some(found) => new.extend(found.chars()),
                None => new.push(*c),
            }
        }
        old.iter().all(|c| stands_alone(*c)).then_some(new)
    }

    /// How many bytes at the start are ASCII characters that stay, each a grapheme of its own.
    fn plain(&self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let run = bytes.iter().take_while(|byte| self.map.is_plain(**byte) && **byte != b'\r').count();
        // What follows may join the last of them.
        if bytes.get(run).is_some_and(|byte| !byte.is_ascii()) { run.saturating_sub(1) } else { run }
    }

    fn grapheme<'t>(
        &'t self,
        grapheme: &'t str,
        visit: &mut impl FnMut(&'t str, Option<&'t str>) -> Result<()>,
    ) -> Result<()> {
        if grapheme.len() <= LONGEST_GRAPHEME
            && let Some(found) = self.map.find(grapheme.as_bytes())
        {
            return visit(grapheme, Some(found));
        }
        let mut rest = grapheme;
        while let Some(c) = rest.chars().next() {
            let (part, after) = rest.split_at_checked(c.len_utf8()).unwrap_or((rest, ""));
            visit(part, self.map.find(part.as_bytes()))?;
            rest = after;
        }
        Ok(())
    }

    /// Applies the rules.
    ///
    /// Places follow the reference: a grapheme that becomes nothing before anything was written is not accounted for,
    /// and all that follows has the places of what came before it.
    pub(super) fn apply(&self, characters: &mut Vec<Character>, piece: Piece) -> Result<()> {
        let text: String = characters.iter().map(|character| character.value).collect();
        let mut steps: Vec<Step> = Vec::with_capacity(characters.len());
        let mut changed = false;
        self.walk(&text, |old, new| {
            let Some(new) = new else {
                steps.extend(old.chars().map(|c| (c, 0)));
                return Ok(());
            };
            changed = true;
            let replaced = old.chars().count();
            steps.extend(new.chars().enumerate().map(|(index, c)| (c, isize::from(index >= replaced))));
            let written = new.chars().count();
            if let Some(last) = steps.last_mut() {
                last.1 -= replaced.saturating_sub(written) as isize;
            }
            piece.check(steps.len())
        })?;
        if changed {
            *characters = rewritten(characters, 0, steps.into_iter());
        }
        Ok(())
    }
}

/// How many bytes there are before the next place where graphemes surely part: between two ASCII characters.
fn stretch(text: &str) -> usize {
    let parts = |pair: &[u8]| matches!(pair, [a, b] if a.is_ascii() && b.is_ascii() && pair != b"\r\n");
    text.as_bytes().windows(2).position(parts).map_or(text.len(), |at| at + 1)
}

/// Whether no two characters of which this holds are one grapheme.
fn stands_alone(c: char) -> bool {
    let parts = |pair: [char; 2]| pair.iter().collect::<String>().graphemes(true).count() == 2;
    c != '\r' && parts(['a', c]) && parts([c, 'a']) && parts([c, c])
}
