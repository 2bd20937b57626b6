//! A byte trie in two arrays: the child of node `n` under byte `b` is `base(n) ^ b`, if that cell names `n` as parent.
//! Source: Aoe, "An efficient digital search algorithm by using a double-array structure" (1989).
use crate::part::PartOf;

const FREE: u32 = u32::MAX;
const NONE: u32 = u32::MAX;
/// How many free cells are tried for a node with several children before the array grows.
const TRIES: usize = 48;

/// Sorted keys with their values.
type Keys<'k, 't> = &'k [(&'t [u8], u32)];

/// Finds the longest key that starts a byte string.
#[derive(Debug, Clone)]
pub struct Trie {
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    base: u32,
    parent: u32,
    value: u32,
}

const EMPTY: Cell = Cell { base: 0, parent: FREE, value: NONE };

impl Trie {
    /// Builds over distinct keys; empty ones are left out, as no token is empty.
    pub fn new<'t>(keys: impl Iterator<Item = (&'t [u8], u32)>) -> Self {
        let mut keys: Vec<(&[u8], u32)> = keys.filter(|key| !key.0.is_empty()).collect();
        keys.sort_unstable();
        let mut builder = Builder { cells: vec![EMPTY; 256], free: (1..256).rev().collect() };
        if let Some(root) = builder.cells.first_mut() {
            root.parent = 0;
        }
        // (node, depth, keys below it)
        let mut open = vec![(0u32, 0usize, keys.as_slice())];
        let mut groups: Vec<(u8, Keys<'_, '_>)> = Vec::new();
        while let Some((node, depth, below)) = open.pop() {
            let mut rest = below;
            if let Some((key, value)) = rest.first()
                && key.len() == depth
            {
                builder.set_value(node, *value);
                rest = rest.part(1..);
            }
            groups.clear();
            while let Some(byte) = rest.first().and_then(|key| key.0.get(depth)).copied() {
                let count = rest.partition_point(|key| key.0.get(depth) == Some(&byte));
                let (group, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
                groups.push((byte, group));
                rest = after;
            }
            if groups.is_empty() {
                continue;
            }
            let base = builder.place(node, &groups);
            open.extend(groups.iter().map(|(byte, group)| (base ^ u32::from(*byte), depth + 1, *group)));
        }
        Self { cells: builder.cells }
    }

    /// Calls `found(value, length)` for each key that starts `bytes`, the shortest first.
    #[inline]
    pub fn prefixes(&self, bytes: &[u8], mut found: impl FnMut(u32, usize)) {
        let mut node = 0;
        let mut base = self.cells.first().map_or(0, |root| root.base);
        for (at, byte) in bytes.iter().enumerate() {
            let next = base ^ u32::from(*byte);
            let Some(cell) = self.cells.get(next as usize) else {
                return;
            };
            // The root is its own parent, and no one's child.
            if cell.parent != node || next == 0 {
                return;
            }
            if cell.value != NONE {
                found(cell.value, at + 1);
            }
            node = next;
            base = cell.base;
        }
    }

    /// The value of the longest key that starts `bytes`, and its length.
    #[inline]
    pub fn longest(&self, bytes: &[u8]) -> Option<(u32, usize)> {
        let mut node = 0;
        let mut base = self.cells.first()?.base;
        let mut found = None;
        for (at, byte) in bytes.iter().enumerate() {
            let next = base ^ u32::from(*byte);
            let Some(cell) = self.cells.get(next as usize) else {
                break;
            };
            // The root is its own parent, and no one's child.
            if cell.parent != node || next == 0 {
                break;
            }
            if cell.value != NONE {
                found = Some((cell.value, at + 1));
            }
            node = next;
            base = cell.base;
        }
        found
    }
}

struct Builder {
    cells: Vec<Cell>,
    /// Cells that were free when listed; the last is tried first.
    free: Vec<u32>,
}

impl Builder {
    fn set_value(&mut self, node: u32, value: u32) {
        if let Some(cell) = self.cells.get_mut(node as usize) {
            cell.value = value;
        }
    }

    fn is_free(&self, cell: u32) -> bool {
        self.cells.get(cell as usize).is_some_and(|cell| cell.parent == FREE)
    }

    /// Finds room for the children of `node` and takes it.
    fn place<K>(&mut self, node: u32, groups: &[(u8, K)]) -> u32 {
        let base = self.find(groups);
        for (byte, _) in groups {
            if let Some(cell) = self.cells.get_mut((base ^ u32::from(*byte)) as usize) {
                cell.parent = node;
            }
        }
        if let Some(cell) = self.cells.get_mut(node as usize) {
            cell.base = base;
        }
        base
    }

    fn find<K>(&mut self, groups: &[(u8, K)]) -> u32 {
        let first = groups.first().map_or(0, |group| u32::from(group.0));
        while self.free.last().is_some_and(|cell| !self.is_free(*cell)) {
            self.free.pop();
        }
        for candidate in self.free.iter().rev().take(TRIES) {
            let base = candidate ^ first;
            if groups.iter().all(|(byte, _)| self.is_free(base ^ u32::from(*byte))) {
                return base;
            }
        }
        // A fresh block of 256 has room for any node.
        let block = self.cells.len() as u32;
        self.cells.resize(self.cells.len() + 256, EMPTY);
        let cells = std::mem::take(&mut self.free);
        self.free = cells.into_iter().rev().take(TRIES * 4).filter(|cell| self.is_free(*cell)).collect();
        self.free.reverse();
        self.free.extend((block..block + 256).rev());
        block ^ first
    }
}
