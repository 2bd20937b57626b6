//! A safetensors file as one private, copy-on-write mapping.

use std::fs::File;
use std::io::ErrorKind;

use memmap2::{MmapOptions, MmapRaw};

use super::header::Header;
use crate::{Error, Result};

/// A file whose header was checked and whose bytes lie in memory, writable without ever changing the file.
///
/// Pages are read when they are first touched and shared with every other process that maps the file; a page
/// that is written to becomes this mapping's own copy. The mapping lives as long as this value.
///
/// Another program that shortens the file in place while it is mapped makes later reads of the lost pages
/// fail with a bus error, as with every mapping; replacing the file by rename, as [`super::save::Writer`]
/// does, is safe.
pub struct MappedFile {
    path: String,
    header: Header,
    // Raw: no Rust reference to the bytes ever exists, since whoever holds the pointer may write through it.
    mapping: MmapRaw,
}

impl MappedFile {
    /// Opens a file read-only, checks its header and maps it whole.
    ///
    /// # Errors
    /// `Error::Io` where it cannot be opened or mapped, `Error::Format` where it is not a safetensors file.
    pub fn open(path: &str) -> Result<Self> {
        let mut file = open_regular(path)?;
        let file_bytes = file.metadata().map_err(|error| Error::io(path, error))?.len();
        let header = Header::read(path, &mut file, file_bytes)?;
        let length = usize::try_from(file_bytes)
            .map_err(|_| Error::unsupported(path, "file", format!("a mapping of {file_bytes} bytes here")))?;
        let mut options = MmapOptions::new();
        // Without a reservation of swap: a file larger than memory may be mapped, few of its pages are ever
        // written.
        options.len(length).no_reserve_swap();
        // SAFETY: map_copy is unsafe because a reference to the bytes would be unsound if the file changed.
        // None is made: the mapping becomes raw at once, and this value owns it until it is dropped.
        let mapping = unsafe { options.map_copy(&file) }.map_err(|error| Error::io(path, error))?;
        Ok(Self { path: path.to_owned(), header, mapping: MmapRaw::from(mapping) })
    }

    /// The file, as the caller named it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the file holds.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The first byte of the mapping: that of the file, header included. Valid for `len` bytes while `self`
    /// lives.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.mapping.as_mut_ptr()
    }

    /// The size of the mapping in bytes: at least 8.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }
}

/// Opens a file for reading after making sure that it is one: opening a pipe would wait for its writer.
pub(super) fn open_regular(path: &str) -> Result<File> {
    let found = std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
    if !found.is_file() {
        let (kind, actual) = match found.is_dir() {
            true => (ErrorKind::IsADirectory, "a folder, not a file"),
            false => (ErrorKind::InvalidInput, "a device, pipe or socket, not a file"),
        };
        return Err(Error::io(path, std::io::Error::new(kind, actual)));
    }
    File::open(path).map_err(|error| Error::io(path, error))
}
