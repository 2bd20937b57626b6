//! A sentencepiece model's rules of normalization: a trie of texts, and what each becomes.

use std::fmt;

/// One cell of the double array: a byte, flags and a distance.
#[derive(Clone, Copy, PartialEq)]
struct Cell(u32);

impl Cell {
    /// The byte that leads here. Cells with a value have a bit set that no byte has.
    fn label(self) -> u32 {
        self.0 & 0x8000_00FF
    }

    /// Whether a text ends here.
    fn ends(self) -> bool {
        self.0 & 0x100 != 0
    }

    /// What the index of this cell is combined with to find its children.
    fn offset(self) -> usize {
        ((self.0 >> 10) << ((self.0 & 0x200) >> 6)) as usize
    }

    /// Where the replacement starts, in a cell with a value.
    fn value(self) -> usize {
        (self.0 & 0x7FFF_FFFF) as usize
    }
}

/// The rules of a `precompiled_charsmap`. Whatever it holds, a search ends and stays within it.
#[derive(Clone, PartialEq)]
pub struct CharsMap {
    cells: Vec<Cell>,
    /// The replacements; each ends at a NUL or at the end.
    texts: String,
    /// Whether an ASCII character by itself stays as it is.
    plain: [bool; 128],
}

impl CharsMap {
    /// From the bytes in a sentencepiece model: the size of the trie in four bytes, the trie, the replacements.
    ///
    /// Fails, with what was expected and found, where that does not fit together.
    pub fn new(bytes: &[u8]) -> Result<Self, (&'static str, String)> {
        let missing = || ("a charsmap of at least 4 bytes", format!("{} bytes", bytes.len()));
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(missing)?;
        let size = u32::from_le_bytes(*size) as usize;
        let fits = rest.split_at_checked(size).filter(|_| size.is_multiple_of(4));
        let (trie, texts) = fits.ok_or_else(|| {
            ("a charsmap whose trie of whole cells fits in it", format!("{size} of {} bytes", rest.len()))
        })?;
        let texts = std::str::from_utf8(texts)
            .map_err(|error| ("a charsmap whose replacements are UTF-8", error.to_string()))?;
        let (cells, _) = trie.as_chunks::<4>();
        let mut map = Self {
            cells: cells.iter().map(|cell| Cell(u32::from_le_bytes(*cell))).collect(),
            texts: texts.to_owned(),
            plain: [false; 128],
        };
        for byte in 0..128 {
            let plain = map.find(&[byte]).is_none();
            if let Some(place) = map.plain.get_mut(usize::from(byte)) {
                *place = plain;
            }
        }
        Ok(map)
    }

    /// The bytes it was read from.
    pub fn bytes(&self) -> Vec<u8> {
        let size = self.cells.len() as u32 * 4;
        let cells = self.cells.iter().flat_map(|cell| cell.0.to_le_bytes());
        size.to_le_bytes().into_iter().chain(cells).chain(self.texts.bytes()).collect()
    }

    /// Whether an ASCII character by itself stays as it is.
    pub fn is_plain(&self, byte: u8) -> bool {
        self.plain.get(usize::from(byte)).is_some_and(|plain| *plain)
    }

    /// What the shortest text of the map that `bytes` starts with becomes.
    pub fn find(&self, bytes: &[u8]) -> Option<&str> {
        self.matches(bytes).next().map(|found| found.1)
    }

    /// The length of the longest text of the map that `bytes` starts with, and what it becomes.
    pub fn longest(&self, bytes: &[u8]) -> Option<(usize, &str)> {
        self.matches(bytes).last()
    }

    /// The texts of the map that `bytes` starts with, the shortest first.
    fn matches(&self, bytes: &[u8]) -> impl Iterator<Item = (usize, &str)> {
        let root = self.cells.first().map(|root| root.offset());
        let steps = bytes.iter().take_while(|byte| **byte != 0).scan(root, |at, byte| {
            let place = (*at)? ^ usize::from(*byte);
            let cell = self.cells.get(place).filter(|cell| cell.label() == u32::from(*byte))?;
            let next = place ^ cell.offset();
            *at = Some(next);
            Some(cell.ends().then_some(next))
        });
        steps.zip(1..).filter_map(|(value, length)| {
            let text = self.texts.get(self.cells.get(value?)?.value()..)?;
            Some((length, text.split('\0').next()?))
        })
    }
}

impl fmt::Debug for CharsMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CharsMap {{ {} cells, {} bytes of text }}", self.cells.len(), self.texts.len())
    }
}
