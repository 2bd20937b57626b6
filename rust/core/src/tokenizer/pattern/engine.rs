//! A regular expression of Oniguruma's syntax on an engine that is bounded: linear where it needs no backtracking,
//! else limited in steps by the length of the text.

use super::oniguruma::{Translation, translate};
use super::program::Program;
use crate::{Error, Result};
use fancy_regex::{Regex, RegexBuilder};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Steps for a text up to [`SHORT`] bytes; longer ones get as many more as they are longer.
const STEPS: usize = 1_000_000;
const SHORT: usize = 1 << 14;
/// How much longer the texts of the next engine are, and how many engines that makes for 2 GiB.
const GROWTH: u32 = 3;
const SIZES: usize = 7;

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub struct Engine {
    source: String,
    translation: Translation,
    /// Where it takes backtracking and can be done by a program.
    program: Option<Arc<Program>>,
    /// Else, for each size of text, made when one of that size is first met.
    sizes: Arc<[OnceLock<Option<Regex>>; SIZES]>,
}

impl Engine {
    /// Compiles; the error says what of the syntax is wrong or not supported.
    pub fn new(source: &str) -> std::result::Result<Self, String> {
        let translation = translate(source)?;
        let program = Some(&translation.text).filter(|_| translation.backtracks);
        let program = program.and_then(|text| Program::new(text)).map(Arc::new);
        let engine = Self { source: source.to_owned(), translation, program, sizes: Arc::default() };
        let first = engine.compile(0).map_err(|error| error.to_string())?;
        if let Some(place) = engine.sizes.first() {
            place.get_or_init(|| Some(first));
        }
        Ok(engine)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    fn compile(&self, size: usize) -> std::result::Result<Regex, Box<fancy_regex::Error>> {
        let steps = STEPS << (GROWTH as usize * size);
        RegexBuilder::new(&self.translation.text).backtrack_limit(steps).build().map_err(Box::new)
    }

    fn of_size(&self, length: usize) -> Option<&Regex> {
        let mut size = 0;
        if self.translation.backtracks {
            while size + 1 < SIZES && length > SHORT << (GROWTH as usize * size) {
                size += 1;
            }
        }
        self.sizes.get(size)?.get_or_init(|| self.compile(size).ok()).as_ref()
    }

    /// Calls `found` with each match, in ascending order.
    pub fn find_matches(&self, text: &str, found: &mut dyn FnMut(Range<usize>)) -> Result<()> {
        let refuse = |actual: String| {
            let expected = format!("a text that {:?} is done with in few steps", self.source);
            Error::argument("inputs", expected, actual)
        };
        if let Some(program) = &self.program {
            if u32::try_from(text.len()).is_err() {
                return Err(refuse(format!("{} bytes", text.len())));
            }
            program.find_matches(text, found);
            return Ok(());
        }
        let regex = self.of_size(text.len()).ok_or_else(|| refuse("one it can't be compiled for".into()))?;
        for result in regex.find_iter(text) {
            found(result.map_err(|error| refuse(error.to_string()))?.range());
        }
        Ok(())
    }
}
