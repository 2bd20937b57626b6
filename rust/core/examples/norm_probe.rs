#![allow(clippy::unwrap_used, missing_docs)]
use oxiformers_core::tokenizer::{Edges, Tokenizer, characters};
use std::io::{BufRead, Write};
fn main() {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut last = (String::new(), None);
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let v: serde_json::Value = serde_json::from_str(&line).unwrap();
        let n = v["n"].to_string();
        if v["n"] != serde_json::Value::Null {
            let file = format!(
                r#"{{"normalizer":{n},"model":{{"type":"WordLevel","vocab":{{"[UNK]":0}},"unk_token":"[UNK]"}}}}"#
            );
            last = (n, Some(Tokenizer::from_json(&file, "probe").map_err(|e| e.to_string())));
        }
        let answer = match last.1.as_ref().unwrap() {
            Err(e) => serde_json::json!({"error": e}),
            Ok(t) => {
                let text = v["t"].as_str().unwrap();
                let mut c = characters(text, 0);
                match t.normalizer().unwrap().apply(&mut c, Edges::BOTH) {
                    Err(e) => serde_json::json!({"error": e.to_string()}),
                    Ok(()) => {
                        let s: String = c.iter().map(|c| c.value).collect();
                        serde_json::json!({"s": s, "o": c.iter().map(|c| (c.start, c.end)).collect::<Vec<_>>(), "n": t.normalizer().unwrap().normalize(text).ok()})
                    }
                }
            }
        };
        writeln!(out, "{answer}").unwrap();
        out.flush().unwrap();
    }
}
