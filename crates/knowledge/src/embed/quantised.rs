//! Vectors as they are kept: one byte a dimension.
//!
//! A vector of length 1 is scaled so that its largest value is 127 and rounded; four bytes in front hold the
//! scale. That is a quarter of the size of the exact vector; a cosine changes by less than 0.01.

/// Packs a vector.
pub(crate) fn pack(vector: &[f32]) -> Vec<u8> {
    let largest = vector
        .iter()
        .fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let mut packed = Vec::with_capacity(vector.len() + 4);
    packed.extend_from_slice(&scale.to_le_bytes());
    packed.extend(
        vector
            .iter()
            .map(|value| ((value / scale).round() as i8).cast_unsigned()),
    );
    packed
}

/// Unpacks a vector; `None` when the bytes are not one.
pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<f32>> {
    let (scale, values) = packed.split_first_chunk::<4>()?;
    let scale = f32::from_le_bytes(*scale);
    scale.is_finite().then(|| {
        values
            .iter()
            .map(|value| f32::from(value.cast_signed()) * scale)
            .collect()
    })
}

/// The inner product of two vectors: their cosine, when both have length 1.
pub(crate) fn product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::embed::normalise;

    proptest! {
        #[test]
        fn a_vector_is_nearly_the_same_after_packing(mut vector in prop::collection::vec(-1.0_f32..1.0, 8..400)) {
            normalise(&mut vector);
            let packed = pack(&vector);
            prop_assert_eq!(packed.len(), vector.len() + 4);
            let mut again = unpack(&packed).unwrap();
            normalise(&mut again);
            prop_assert!(product(&vector, &again) > 0.999);
        }
    }

    #[test]
    fn bytes_that_are_no_vector_are_refused() {
        assert_eq!(unpack(&[1, 2, 3]), None);
        assert_eq!(unpack(&f32::NAN.to_le_bytes()), None);
        assert_eq!(unpack(&pack(&[0.0, 0.0])), Some(vec![0.0, 0.0]));
    }
}
