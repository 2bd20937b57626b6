//! Replacing characters so that the new ones know the places of the old.

use crate::part::PartOf;
use crate::tokenizer::text::Character;

/// A new character, and what it does to the old ones: 0 stands for the next one, `-n` for the next one and the `n`
/// after it, a positive number for none: it shares the place of the one before.
pub(super) type Step = (char, isize);

/// The characters that `steps` make of `old`, of which the first `removed` vanish.
///
/// Leading characters that stand for nothing of the original are out of its reach, as in the tokenizers in use: they
/// stay, while `steps`, made from all characters, replace the others. Where that asks for more characters than there
/// are, which those tokenizers do not survive, all are replaced.
pub(super) fn rewritten(
    old: &[Character],
    removed: usize,
    steps: impl Iterator<Item = Step>,
) -> Vec<Character> {
    let inserted = inserted(old);
    if inserted == 0 {
        return follow(old, 0, removed, steps);
    }
    let steps: Vec<Step> = steps.collect();
    let mut at = inserted + removed;
    let enough = steps.iter().filter(|step| step.1 <= 0).all(|step| {
        let there = at < old.len();
        at += 1 + step.1.unsigned_abs();
        there
    });
    follow(old, if enough { inserted } else { 0 }, removed, steps.into_iter())
}

/// How many characters at the start stand for nothing of the original.
fn inserted(characters: &[Character]) -> usize {
    characters.iter().take_while(|character| character.start == character.end).count()
}

fn follow(
    old: &[Character],
    kept: usize,
    removed: usize,
    steps: impl Iterator<Item = Step>,
) -> Vec<Character> {
    let mut new = Vec::with_capacity(old.len());
    new.extend_from_slice(old.part(..kept));
    let mut at = kept + removed;
    for (value, step) in steps {
        let source = if step > 0 { at.saturating_sub(1) } else { at };
        if let Some(source) = old.get(source).or(old.last()) {
            new.push(Character { value, ..*source });
        }
        if step <= 0 {
            at += 1 + step.unsigned_abs();
        }
    }
    new
}

/// Removes the characters that are not to be kept.
pub(super) fn filter(characters: &mut Vec<Character>, keep: impl Fn(char) -> bool) {
    if inserted(characters) == 0 {
        characters.retain(|character| keep(character.value));
        return;
    }
    let mut steps: Vec<Step> = Vec::with_capacity(characters.len());
    let mut removed = 0;
    for character in characters.iter() {
        match steps.last_mut() {
            _ if keep(character.value) => steps.push((character.value, 0)),
            Some(last) => last.1 -= 1,
            None => removed += 1,
        }
    }
    if steps.is_empty() {
        removed = 0;
    }
    *characters = rewritten(characters, removed, steps.into_iter());
}

/// Replaces each character by another.
pub(super) fn map(characters: &mut Vec<Character>, change: impl Fn(char) -> char) {
    if inserted(characters) == 0 {
        for character in characters.iter_mut() {
            character.value = change(character.value);
        }
        return;
    }
    *characters = rewritten(characters, 0, characters.iter().map(|character| (change(character.value), 0)));
}

/// Replaces each character by what `change` makes of it: at least one, all in its place.
pub(super) fn expand<I: Iterator<Item = char>>(characters: &mut Vec<Character>, change: impl Fn(char) -> I) {
    let steps = characters.iter().flat_map(|character| {
        change(character.value).enumerate().map(|(index, c)| (c, isize::from(index > 0)))
    });
    *characters = rewritten(characters, 0, steps);
}
