"""The Transformers quick tour on a Rust core."""

__version__ = "0.1.0"
