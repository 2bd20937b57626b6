//! What fuzzing starts from, and what it found: each input goes through what is fuzzed.
#![allow(clippy::unwrap_used)]

#[path = "../fuzz/entry.rs"]
mod entry;

use std::path::Path;

fn all(folder: &str, run: fn(&[u8])) {
    for part in ["seeds", "findings"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(part).join(folder);
        let files = folder.read_dir().into_iter().flatten();
        let count = files.map(|file| run(&std::fs::read(file.unwrap().path()).unwrap())).count();
        assert!(count > 0 || part == "findings", "{}", folder.display());
    }
}

#[test]
fn tokenizer_json() {
    all("tokenizer_json", entry::tokenizer_json);
}

#[test]
fn sentencepiece() {
    all("sentencepiece", entry::sentencepiece);
}

#[test]
fn tiktoken() {
    all("tiktoken", entry::tiktoken);
}

#[test]
fn text() {
    all("text", entry::text);
}
