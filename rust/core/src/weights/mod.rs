//! Weights on disk: the safetensors format read through one private mapping, shard indices, and atomic
//! saving.

#[cfg(target_endian = "big")]
compile_error!("safetensors files are little-endian, and tensors are views of them");

pub mod dtype;
pub mod header;
mod json;
pub mod mmap;
pub mod save;
pub mod shard;

pub use dtype::Dtype;
pub use header::{Header, TensorInfo};
pub use mmap::MappedFile;
pub use save::{TensorSpec, Writer};
pub use shard::read_shard_index;
