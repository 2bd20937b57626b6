//! Features into padded or packed arrays, and batch plans: the arrays are filled in Rust and handed over
//! uncopied.

use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyUntypedArray};
use numpy::{PyArrayDescrMethods, PyUntypedArrayMethods};
use oxiformers_core::Error;
use oxiformers_core::collate::{self, PadOptions, Side};
use pyo3::exceptions::{PyOverflowError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::error::{input_type_error, to_py};

type Flat<'py> = Bound<'py, PyArray1<i64>>;
type Rectangle<'py> = Bound<'py, PyArray2<i64>>;

/// The values of one feature: borrowed from a numpy array where it is one of contiguous int64, else read out.
enum Values<'py> {
    Borrowed(PyReadonlyArray1<'py, i64>),
    Owned(Vec<i64>),
}

impl<'py> Values<'py> {
    /// `place` names the argument in an error: `features[3]`.
    fn of(object: &Bound<'py, PyAny>, place: &dyn Fn() -> String) -> PyResult<Self> {
        if let Ok(array) = object.cast::<PyArray1<i64>>() {
            let array = array.readonly();
            if array.as_slice().is_ok() {
                return Ok(Self::Borrowed(array));
            }
            // Strided or misaligned: numpy's copy is neither.
            return Self::of(&array.call_method0("copy")?, place);
        }
        if let Ok(array) = object.cast::<PyUntypedArray>() {
            return Self::of_other_array(array, place);
        }
        let mut values = Vec::with_capacity(object.len().unwrap_or(0));
        if let Ok(list) = object.cast::<PyList>() {
            for value in list.iter() {
                values.push(integer(&value, values.len(), place)?);
            }
            return Ok(Self::Owned(values));
        }
        let iterator =
            object.try_iter().map_err(|_| wrong_type(object, "a sequence of integers", place()))?;
        for value in iterator {
            values.push(integer(&value?, values.len(), place)?);
        }
        Ok(Self::Owned(values))
    }

    fn of_other_array(array: &Bound<'py, PyUntypedArray>, place: &dyn Fn() -> String) -> PyResult<Self> {
        let dtype = array.dtype();
        if array.ndim() != 1 || !matches!(dtype.kind(), b'i' | b'u' | b'b') {
            let actual = format!("an array of {} dimensions of {dtype}", array.ndim());
            let expected = "a 1-dimensional array of integers";
            return Err(input_type_error(array.py(), &place(), expected, &actual));
        }
        // Only uint64 holds values that int64 does not: those are checked one by one.
        if dtype.kind() == b'u' && dtype.itemsize() == 8 {
            return Self::of(&array.call_method0("tolist")?, place);
        }
        let converted = array.call_method1("astype", ("int64",))?;
        Self::of(&converted, place)
    }

    fn as_slice(&self) -> PyResult<&[i64]> {
        match self {
            Self::Borrowed(array) => Ok(array.as_slice()?),
            Self::Owned(values) => Ok(values),
        }
    }
}

fn integer(value: &Bound<'_, PyAny>, position: usize, place: &dyn Fn() -> String) -> PyResult<i64> {
    value.extract().map_err(|error: PyErr| {
        let py = value.py();
        let key = format!("{}[{position}]", place());
        if error.is_instance_of::<PyOverflowError>(py) {
            to_py(py, Error::argument(key, "an integer of at most 64 bits", "a larger one"))
        } else {
            wrong_type(value, "an integer", key)
        }
    })
}

fn wrong_type(value: &Bound<'_, PyAny>, expected: &str, key: String) -> PyErr {
    let actual = match value.get_type().name() {
        Ok(name) => name.to_string(),
        Err(error) => return error,
    };
    input_type_error(value.py(), &key, expected, &actual)
}

/// Calls `work` with all features as slices.
///
/// The interpreter lock is kept: it is what keeps other threads from resizing the borrowed arrays meanwhile,
/// and the work is one pass over memory.
fn with_features<T>(
    features: &Bound<'_, PyAny>,
    work: impl FnOnce(&[&[i64]]) -> oxiformers_core::Result<T>,
) -> PyResult<T> {
    let mut owners = Vec::with_capacity(features.len().unwrap_or(0));
    let iterator = features
        .try_iter()
        .map_err(|_| wrong_type(features, "a sequence of features", "features".to_owned()))?;
    for (row, feature) in iterator.enumerate() {
        owners.push(Values::of(&feature?, &|| format!("features[{row}]"))?);
    }
    let slices = owners.iter().map(Values::as_slice).collect::<PyResult<Vec<_>>>()?;
    work(&slices).map_err(|error| to_py(features.py(), error))
}

/// Pads features to one rectangle: values and mask, both int64 `[B, S]`.
#[pyfunction]
#[pyo3(signature = (features, pad_value, *, multiple_of=None, max_length=None, side="right"))]
fn pad_sequences<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    pad_value: i64,
    multiple_of: Option<i64>,
    max_length: Option<i64>,
    side: &str,
) -> PyResult<(Rectangle<'py>, Rectangle<'py>)> {
    let size = |name: &str, value: Option<i64>| {
        value.map(usize::try_from).transpose().map_err(|_| {
            to_py(py, Error::argument(name, "a non-negative number", format!("{}", value.unwrap_or(0))))
        })
    };
    let side = match side {
        "right" => Side::Right,
        "left" => Side::Left,
        other => {
            return Err(to_py(py, Error::argument("side", "\"left\" or \"right\"", format!("{other:?}"))));
        }
    };
    let options = PadOptions {
        value: pad_value,
        multiple_of: size("multiple_of", multiple_of)?,
        max_length: size("max_length", max_length)?,
        side,
    };
    let padded = with_features(features, |features| collate::pad(features, options))?;
    let shape = (padded.rows, padded.width);
    Ok((rectangle(py, shape, padded.values)?, rectangle(py, shape, padded.mask)?))
}

/// Moves a vector into a 2-dimensional array without copying it.
fn rectangle(py: Python<'_>, shape: (usize, usize), values: Vec<i64>) -> PyResult<Rectangle<'_>> {
    let array = Array2::from_shape_vec(shape, values)
        .map_err(|error| PyRuntimeError::new_err(format!("a rectangle of {shape:?}: {error}")))?;
    Ok(array.into_pyarray(py))
}

/// Packs features one after another: values `[T]`, positions `[T]` and cu_seqlens `[B + 1]`, all int64.
#[pyfunction]
fn pack_sequences<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
) -> PyResult<(Flat<'py>, Flat<'py>, Flat<'py>)> {
    let packed = with_features(features, collate::pack)?;
    Ok((
        packed.values.into_pyarray(py),
        packed.positions.into_pyarray(py),
        packed.cu_seqlens.into_pyarray(py),
    ))
}

/// Sorts by length, longest first, and cuts at a token budget: order `[N]` and boundaries `[batches + 1]`.
#[pyfunction]
fn plan_batches<'py>(
    py: Python<'py>,
    lengths: &Bound<'py, PyAny>,
    token_budget: i64,
) -> PyResult<(Flat<'py>, Flat<'py>)> {
    let lengths = Values::of(lengths, &|| "lengths".to_owned())?;
    let plan = collate::plan_batches(lengths.as_slice()?, token_budget).map_err(|error| to_py(py, error))?;
    Ok((plan.order.into_pyarray(py), plan.boundaries.into_pyarray(py)))
}

/// Adds this file's part of `oxiformers._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(pad_sequences, module)?)?;
    module.add_function(wrap_pyfunction!(pack_sequences, module)?)?;
    module.add_function(wrap_pyfunction!(plan_batches, module)?)
}
