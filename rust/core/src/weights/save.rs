//! Saving: a file appears whole or not at all, and an older one of the same name stays until then.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::dtype::Dtype;
use super::header::{LENGTH_BYTES, MAX_HEADER_BYTES, METADATA};
use crate::{Error, Result};

/// Small tensors are gathered to writes of this many bytes; larger ones are written from where they lie.
const BUFFER_BYTES: usize = 1 << 20;

/// What a tensor will be in the file.
#[derive(Clone, Debug)]
pub struct TensorSpec {
    /// The name, unique in the file.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// The sizes of its dimensions.
    pub shape: Vec<u64>,
}

/// A file in the making. Its bytes go to a temporary file in the same folder; `finish` gives it its name.
///
/// Dropped before that, it removes the temporary file and leaves the old one as it was.
pub struct Writer {
    path: String,
    file: BufWriter<File>,
    temporary: TemporaryFile,
    /// For each tensor in the order of the file: its position in the caller's list, name and size.
    plan: Vec<(usize, String, u64)>,
    written: usize,
}

impl Writer {
    /// Writes the header of a file with these tensors, laid out so that each is aligned to its element's
    /// size.
    ///
    /// # Errors
    /// `Error::Argument` for a duplicate or reserved name or an impossible shape, `Error::Io` from the file
    /// system.
    pub fn create(path: &str, tensors: &[TensorSpec], metadata: &[(String, String)]) -> Result<Self> {
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by(|&left, &right| {
            let (left, right) = (&tensors[left], &tensors[right]);
            right.dtype.cmp(&left.dtype).then_with(|| left.name.cmp(&right.name))
        });
        let mut plan = Vec::with_capacity(tensors.len());
        let mut names = HashSet::with_capacity(tensors.len());
        for position in order {
            let TensorSpec { name, dtype, shape } = &tensors[position];
            if name == METADATA || !names.insert(name.as_str()) {
                let expected = format!("unique tensor names other than {METADATA}");
                return Err(Error::argument("entries", expected, format!("{name:?}")));
            }
            let size = dtype.byte_size(shape).map_err(|problem| {
                Error::argument("entries", format!("a shape of {name:?} that has a size"), problem)
            })?;
            plan.push((position, name.clone(), size));
        }
        let header = build_header(tensors, &plan, metadata)?;
        let (temporary, file) = TemporaryFile::beside(path)?;
        let mut writer = Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            temporary,
            plan,
            written: 0,
        };
        writer.put(&(header.len() as u64).to_le_bytes())?;
        writer.put(&header)?;
        Ok(writer)
    }

    /// The positions in the caller's list, in the order in which `write` wants their bytes.
    pub fn order(&self) -> Vec<usize> {
        self.plan.iter().map(|&(position, ..)| position).collect()
    }

    /// Appends the bytes of the next tensor of `order`.
    ///
    /// # Errors
    /// `Error::Argument` where their number is not what the tensor's dtype and shape ask for, or all were
    /// written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self.plan.get(self.written) {
            Some((_, name, size)) if *size != bytes.len() as u64 => Err(Error::argument(
                "entries",
                format!("{size} bytes for {name:?}, as its dtype and shape ask for"),
                format!("{} bytes", bytes.len()),
            )),
            Some(_) => {
                self.written += 1;
                self.put(bytes)
            }
            None => Err(Error::argument("entries", format!("{} tensors", self.plan.len()), "one more")),
        }
    }

    /// Makes the bytes durable and gives the file its name, replacing an older file of that name in one step.
    ///
    /// # Errors
    /// `Error::Argument` where tensors are missing, `Error::Io` from the file system; the old file is intact
    /// then.
    pub fn finish(mut self) -> Result<()> {
        if let Some((_, name, _)) = self.plan.get(self.written) {
            return Err(Error::argument("entries", format!("the bytes of {name:?}"), "none"));
        }
        let failed = |error| Error::io(&self.path, error);
        self.file.flush().map_err(failed)?;
        let file = self.file.get_ref();
        // A file that is replaced keeps its permissions, as one that is overwritten does.
        match std::fs::symlink_metadata(&self.path) {
            Ok(old) if old.is_file() => file.set_permissions(old.permissions()).map_err(failed)?,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        file.sync_all().map_err(failed)?;
        self.temporary.rename_to(&self.path).map_err(failed)?;
        sync_folder(Path::new(&self.path)).map_err(failed)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| Error::io(&self.path, error))
    }
}

/// The JSON part, padded with spaces so that the first tensor starts at a multiple of 8 bytes.
fn build_header(
    tensors: &[TensorSpec],
    plan: &[(usize, String, u64)],
    metadata: &[(String, String)],
) -> Result<Vec<u8>> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut members = Vec::with_capacity(plan.len() + 1);
    if !metadata.is_empty() {
        let pairs: Vec<_> =
            metadata.iter().map(|(name, text)| format!("{}:{}", quoted(name), quoted(text))).collect();
        members.push(format!("{}:{{{}}}", quoted(METADATA), pairs.join(",")));
    }
    let mut begin = 0u64;
    for (position, name, size) in plan {
        let TensorSpec { dtype, shape, .. } = &tensors[*position];
        let end = begin
            .checked_add(*size)
            .ok_or_else(|| Error::argument("entries", "tensors of less than 2^64 bytes together", "more"))?;
        let sizes: Vec<_> = shape.iter().map(u64::to_string).collect();
        members.push(format!(
            r#"{}:{{"dtype":"{dtype}","shape":[{}],"data_offsets":[{begin},{end}]}}"#,
            quoted(name),
            sizes.join(",")
        ));
        begin = end;
    }
    let mut header = format!("{{{}}}", members.join(",")).into_bytes();
    header.resize(header.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
    if header.len() as u64 > MAX_HEADER_BYTES {
        let actual = format!("{} bytes", header.len());
        return Err(Error::argument(
            "entries",
            format!("a header of at most {MAX_HEADER_BYTES} bytes"),
            actual,
        ));
    }
    Ok(header)
}

/// A file that is removed again unless it was renamed.
struct TemporaryFile {
    path: Option<PathBuf>,
}

impl TemporaryFile {
    fn beside(target: &str) -> Result<(Self, File)> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let Some(file_name) = Path::new(target).file_name().and_then(|name| name.to_str()) else {
            return Err(Error::argument("path", "the path of a file", format!("{target:?}")));
        };
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!(".{file_name}.{}-{number}.tmp", std::process::id());
            let path = Path::new(target).with_file_name(name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((Self { path: Some(path) }, file)),
                // Left by a killed process that had the same number: take the next name, it is not ours to
                // remove.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(target, error)),
            }
        }
    }

    fn rename_to(&mut self, target: &str) -> std::io::Result<()> {
        if let Some(path) = &self.path {
            std::fs::rename(path, target)?;
            self.path = None;
        }
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nobody is left to hear of a failure here: the one that led here is already on its way.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Makes a rename in the folder of `path` durable.
#[cfg(unix)]
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// Folders cannot be opened for this elsewhere; the rename itself is journalled there.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}
