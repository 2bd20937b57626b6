//! Character classes as the BERT tokenizers in use define them, from the old tables they are run with.

use unicode_categories::UnicodeCategories;

/// Removed by `clean_text`: NUL, the replacement character, and Cc, Cf and Co but for tab and line ends.
pub fn is_removed(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        '\0' | '\u{FFFD}' => true,
        // The table is searched for others alone.
        _ if c.is_ascii() => c.is_ascii_control(),
        _ => c.is_other(),
    }
}

/// Ideographs that stand alone. The gap 0x2B820..0x2B920 is in the definition the models were trained with.
pub fn is_ideograph(c: char) -> bool {
    matches!(
        u32::from(c),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}

/// Mn, which `strip_accents` removes after canonical decomposition.
pub fn is_accent(c: char) -> bool {
    !c.is_ascii() && c.is_mark_nonspacing()
}

/// What BertPreTokenizer isolates: ASCII punctuation (symbols such as `$` included) and the P categories.
pub fn is_punctuation(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_punctuation() } else { c.is_punctuation() }
}

/// `\w` of a Unicode regular expression.
pub fn is_word(c: char) -> bool {
    regex_syntax::try_is_word_character(c).unwrap_or(false)
}
