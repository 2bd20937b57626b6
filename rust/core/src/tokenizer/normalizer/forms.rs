//! The four Unicode normalization forms, from the old tables that tokenizers in use are run with.

use super::rewrite::rewritten;
use crate::tokenizer::text::Character;
use unicode_normalization_alignments::{
    IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick,
};

/// A normalization form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Canonical decomposition, then composition.
    Nfc,
    /// Canonical decomposition.
    Nfd,
    /// Compatibility decomposition, then canonical composition.
    Nfkc,
    /// Compatibility decomposition.
    Nfkd,
}

impl Form {
    /// The name in tokenizer.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nfc => "NFC",
            Self::Nfd => "NFD",
            Self::Nfkc => "NFKC",
            Self::Nfkd => "NFKD",
        }
    }

    /// Whether a scan finds that text has this form already; it may have it all the same where not.
    pub(super) fn holds(self, values: impl Iterator<Item = char>) -> bool {
        let found = match self {
            Self::Nfc => is_nfc_quick(values),
            Self::Nfd => is_nfd_quick(values),
            Self::Nfkc => is_nfkc_quick(values),
            Self::Nfkd => is_nfkd_quick(values),
        };
        found == IsNormalized::Yes
    }

    /// Brings characters to this form.
    ///
    /// Places follow the reference: marks take places in the order they have after sorting, not each its own.
    pub(super) fn apply(self, characters: &mut Vec<Character>) {
        let values = || characters.iter().map(|character| character.value);
        let marked = characters.first().is_some_and(|first| first.start == first.end);
        if !marked && self.holds(values()) {
            return;
        }
        *characters = match self {
            Self::Nfc => rewritten(characters, 0, values().nfc()),
            Self::Nfd => rewritten(characters, 0, values().nfd()),
            Self::Nfkc => rewritten(characters, 0, values().nfkc()),
            Self::Nfkd => rewritten(characters, 0, values().nfkd()),
        };
    }
}
