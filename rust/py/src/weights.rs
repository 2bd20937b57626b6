//! Safetensors files through the buffer protocol, shard indices and saving.

use std::ffi::c_int;

use oxiformers_core::weights::{Dtype, MappedFile, TensorInfo, TensorSpec, Writer, read_shard_index};
use oxiformers_core::{Error, Result};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::detach::detach;
use crate::error::to_py;

/// A safetensors file: checked header, and the whole file as one private writable buffer.
#[pyclass(frozen, module = "oxiformers._core")]
struct SafetensorsFile {
    file: MappedFile,
}

#[pymethods]
impl SafetensorsFile {
    #[new]
    fn new(py: Python<'_>, path: &str) -> PyResult<Self> {
        Ok(Self { file: detach(py, || MappedFile::open(path))? })
    }

    /// The file, as it was named.
    #[getter]
    fn path(&self) -> &str {
        self.file.path()
    }

    /// The header's text annotations.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let metadata = PyDict::new(py);
        for (name, text) in &self.file.header().metadata {
            metadata.set_item(name, text)?;
        }
        Ok(metadata)
    }

    /// The tensors' names, in the order of their bytes.
    fn keys(&self) -> Vec<&str> {
        self.file.header().tensors.iter().map(|tensor| tensor.name.as_str()).collect()
    }

    /// A tensor's dtype, shape, first byte and the byte after its last, counted from the start of the buffer.
    fn info(&self, py: Python<'_>, name: &str) -> PyResult<(&'static str, Vec<u64>, u64, u64)> {
        let TensorInfo { dtype, shape, start, end, .. } = self.file.header().get(name).ok_or_else(|| {
            to_py(
                py,
                Error::argument("name", format!("a tensor of {}", self.file.path()), format!("{name:?}")),
            )
        })?;
        Ok((dtype.name(), shape.clone(), *start, *end))
    }

    /// Exports the mapping as writable bytes.
    ///
    /// # Safety
    /// `view` is the interpreter's, to be filled in.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill in"));
        }
        let file = &slf.get().file;
        // SAFETY: the view takes a reference to this object, and a consumer that drops the view keeps the
        // object itself (torch.frombuffer does): the object owns the mapping and unmaps it only when it is
        // freed, and being frozen never moves or replaces it. Rust makes no reference to these bytes, so
        // writing to them is sound.
        let status = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                file.as_mut_ptr().cast(),
                // A mapping is at most isize::MAX bytes long.
                file.len() as ffi::Py_ssize_t,
                0,
                flags,
            )
        };
        if status == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// Which shard holds which tensor: the checked `weight_map` of a `*.safetensors.index.json`.
#[pyfunction(name = "read_shard_index")]
fn read_index<'py>(py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyDict>> {
    let files = PyDict::new(py);
    for (name, file) in detach(py, || read_shard_index(path))? {
        files.set_item(name, file)?;
    }
    Ok(files)
}

/// Writes a safetensors file that appears whole or not at all.
///
/// An entry is (name, dtype, shape, source); a source is a contiguous buffer, or a function that returns one,
/// called when its turn has come, so that converted copies need not exist together.
#[pyfunction]
#[pyo3(signature = (path, entries, metadata=None))]
fn save_safetensors<'py>(
    py: Python<'py>,
    path: &str,
    entries: Vec<(String, String, Vec<u64>, Bound<'py, PyAny>)>,
    metadata: Option<&Bound<'py, PyDict>>,
) -> PyResult<()> {
    let metadata: Vec<(String, String)> = match metadata {
        Some(metadata) => metadata
            .iter()
            .map(|(name, text)| Ok((name.extract()?, text.extract()?)))
            .collect::<PyResult<_>>()?,
        None => Vec::new(),
    };
    let mut specs = Vec::with_capacity(entries.len());
    let mut sources = Vec::with_capacity(entries.len());
    for (name, dtype, shape, source) in entries {
        let dtype = named_dtype(&name, &dtype).map_err(|error| to_py(py, error))?;
        specs.push(TensorSpec { name, dtype, shape });
        sources.push(source);
    }
    let mut writer = detach(py, || Writer::create(path, &specs, &metadata))?;
    for position in writer.order() {
        let source = &sources[position];
        let source = if source.is_callable() { source.call0()? } else { source.clone() };
        let buffer = PyUntypedBuffer::get(&source)?;
        if !buffer.is_c_contiguous() {
            let name = &specs[position].name;
            let error =
                Error::argument("entries", format!("a contiguous buffer for {name:?}"), "a strided one");
            return Err(to_py(py, error));
        }
        let bytes: &[u8] = match buffer.len_bytes() {
            0 => &[],
            // SAFETY: `buffer` keeps the exporter's memory alive and in place until it is dropped, after the
            // write; that nobody writes to a tensor while it is being saved is the caller's duty, as it is
            // with any save.
            length => unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), length) },
        };
        detach(py, || writer.write(bytes))?;
    }
    detach(py, || writer.finish())
}

fn named_dtype(tensor: &str, dtype: &str) -> Result<Dtype> {
    Dtype::from_name(dtype).ok_or_else(|| {
        Error::argument("entries", format!("a safetensors dtype for {tensor:?}"), format!("{dtype:?}"))
    })
}

/// Adds this file's part of `oxiformers._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<SafetensorsFile>()?;
    module.add_function(wrap_pyfunction!(read_index, module)?)?;
    module.add_function(wrap_pyfunction!(save_safetensors, module)?)
}
