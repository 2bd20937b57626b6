//! The one error type. Every variant says where (path, key) and what was expected and found.

use std::fmt;

/// What went wrong, sorted by what a caller can do about it.
#[derive(Debug)]
pub enum Error {
    /// A file could not be opened, read, mapped or written.
    Io {
        /// The file, as the caller named it.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file was read but does not hold what its format promises.
    Format {
        /// The file, as the caller named it.
        path: String,
        /// Where in the file: a JSON path (`model.vocab`), a tensor's name, or a byte offset.
        key: String,
        /// What the format asks for at that place.
        expected: String,
        /// What was found there.
        actual: String,
    },
    /// The file is well formed but names a component or value this version does not have.
    Unsupported {
        /// The file, as the caller named it.
        path: String,
        /// Where in the file.
        key: String,
        /// What there is, where it can be listed.
        expected: Option<String>,
        /// What it asks for.
        actual: String,
    },
    /// An argument of a call is out of range or contradicts another one.
    Argument {
        /// The argument's name.
        name: String,
        /// What it must be.
        expected: String,
        /// What was passed.
        actual: String,
    },
}

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An i/o error with the path it happened on.
    pub fn io(path: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// A malformed file.
    pub fn format(
        path: impl Into<String>,
        key: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Self {
        Self::Format { path: path.into(), key: key.into(), expected: expected.into(), actual: actual.into() }
    }

    /// A component or value that is known to exist elsewhere, or not at all, but not here.
    pub fn unsupported(path: impl Into<String>, key: impl Into<String>, actual: impl Into<String>) -> Self {
        Self::Unsupported { path: path.into(), key: key.into(), expected: None, actual: actual.into() }
    }

    /// A name that is none of those known here.
    pub fn unknown(
        path: impl Into<String>,
        key: impl Into<String>,
        known: &[&str],
        actual: impl Into<String>,
    ) -> Self {
        let expected = Some(format!("one of {}", known.join(", ")));
        Self::Unsupported { path: path.into(), key: key.into(), expected, actual: actual.into() }
    }

    /// An argument out of range.
    pub fn argument(name: impl Into<String>, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self::Argument { name: name.into(), expected: expected.into(), actual: actual.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{path}: {source}"),
            Self::Format { path, key, expected, actual } => {
                write!(f, "{path}: {key}: expected {expected}, found {actual}")
            }
            Self::Unsupported { path, key, expected: None, actual } => {
                write!(f, "{path}: {key}: {actual} is not supported")
            }
            Self::Unsupported { path, key, expected: Some(expected), actual } => {
                write!(f, "{path}: {key}: {actual} is not supported, expected {expected}")
            }
            Self::Argument { name, expected, actual } => {
                write!(f, "{name}: expected {expected}, got {actual}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
