//! The element types of the safetensors format.

use std::fmt;

/// An element type, in the order in which the format lays tensors out: by alignment, then as its authors
/// listed them.
///
/// Saving sorts by this order from the last to the first, so that every tensor starts at a multiple of its
/// element's size without padding between tensors, which the format forbids.
#[allow(missing_docs, non_camel_case_types)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    BOOL,
    F4,
    F6_E2M3,
    F6_E3M2,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    F8_E8M0,
    F8_E4M3FNUZ,
    F8_E5M2FNUZ,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    C64,
    F64,
    I64,
    U64,
}

use Dtype::*;

const ALL: [(Dtype, &str, u64); 22] = [
    (BOOL, "BOOL", 8),
    (F4, "F4", 4),
    (F6_E2M3, "F6_E2M3", 6),
    (F6_E3M2, "F6_E3M2", 6),
    (U8, "U8", 8),
    (I8, "I8", 8),
    (F8_E5M2, "F8_E5M2", 8),
    (F8_E4M3, "F8_E4M3", 8),
    (F8_E8M0, "F8_E8M0", 8),
    (F8_E4M3FNUZ, "F8_E4M3FNUZ", 8),
    (F8_E5M2FNUZ, "F8_E5M2FNUZ", 8),
    (I16, "I16", 16),
    (U16, "U16", 16),
    (F16, "F16", 16),
    (BF16, "BF16", 16),
    (I32, "I32", 32),
    (U32, "U32", 32),
    (F32, "F32", 32),
    (C64, "C64", 64),
    (F64, "F64", 64),
    (I64, "I64", 64),
    (U64, "U64", 64),
];

impl Dtype {
    /// The type of that name in a header, or None where the format has none.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, known, _)| *known == name).map(|(dtype, _, _)| *dtype)
    }

    /// Its name in a header.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The size of one element in bits: 4 and 6 occur besides whole bytes.
    pub fn bits(self) -> u64 {
        self.row().2
    }

    /// The size in bytes of a tensor of this type, or what is wrong with the shape.
    pub fn byte_size(self, shape: &[u64]) -> Result<u64, &'static str> {
        // A zero anywhere makes the product zero, however large the other dimensions are.
        let elements = match shape.contains(&0) {
            true => Some(0),
            false => shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size)),
        };
        let bits = elements.and_then(|count| count.checked_mul(self.bits()));
        match bits {
            None => Err("a shape whose size overflows 64 bits"),
            Some(bits) if !bits.is_multiple_of(8) => Err("a size that is not a whole number of bytes"),
            Some(bits) => Ok(bits / 8),
        }
    }

    fn row(self) -> &'static (Dtype, &'static str, u64) {
        // The table is written in declaration order; a test holds it to that.
        &ALL[self as usize]
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_declaration() {
        for (position, (dtype, name, _)) in ALL.iter().enumerate() {
            assert_eq!(*dtype as usize, position);
            assert_eq!(dtype.name(), *name);
            assert_eq!(Dtype::from_name(name), Some(*dtype));
            assert_eq!(format!("{dtype:?}"), *name);
        }
        assert_eq!(Dtype::from_name("f32"), None);
    }

    #[test]
    fn sizes() {
        assert_eq!(F32.byte_size(&[]), Ok(4));
        assert_eq!(F32.byte_size(&[2, 3]), Ok(24));
        assert_eq!(F4.byte_size(&[2, 3]), Ok(3));
        assert!(F4.byte_size(&[3]).is_err());
        assert!(F6_E2M3.byte_size(&[4]).is_ok());
        assert_eq!(F64.byte_size(&[u64::MAX, 0, u64::MAX]), Ok(0));
        assert!(F64.byte_size(&[1 << 32, 1 << 32]).is_err());
        assert!(F64.byte_size(&[1 << 62]).is_err());
    }

    #[test]
    fn laid_out_from_last_to_first_every_type_is_aligned() {
        assert!(ALL.windows(2).all(|pair| {
            let bytes = |dtype: Dtype| dtype.bits().div_ceil(8);
            bytes(pair[0].0) <= bytes(pair[1].0)
        }));
    }
}
