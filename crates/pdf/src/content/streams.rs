//! Unpacks content streams without letting a small file fill the memory.

use hayro_syntax::Filter;
use hayro_syntax::object::Stream;
use std::io::Read;

/// Shorter packed streams (bytes) cannot unpack to much: deflate packs at most 1032 to 1.
const HARMLESS: usize = 64 << 10;
/// No writer packs a content stream into more bytes than this.
const MAX_PACKED: usize = 12 << 20;

/// The stream's bytes; none if it cannot be decoded or is longer than `room`.
pub(super) fn unpack(stream: &Stream<'_>, room: usize) -> Option<Vec<u8>> {
    let filters = stream.filters();
    let packing = |filter: &&Filter| {
        matches!(
            filter,
            Filter::FlateDecode | Filter::LzwDecode | Filter::RunLengthDecode
        )
    };
    // Packed twice is the way to pack a terabyte into a kilobyte.
    if filters.iter().filter(packing).count() > 1 {
        return None;
    }
    let packed = stream.raw_data();
    if packed.len() > MAX_PACKED {
        return None;
    }
    let deflated = filters.first() == Some(&Filter::FlateDecode);
    if deflated && packed.len() > HARMLESS && unpacked_length(&packed, room) > room {
        return None;
    }
    let content = stream.decoded_data().ok()?;
    (content.len() <= room).then(|| content.into_owned())
}

/// The length after inflating, counted no further than `room` + 1.
fn unpacked_length(packed: &[u8], room: usize) -> usize {
    let mut inflated = flate2::read::ZlibDecoder::new(packed).take(room as u64 + 1);
    let mut buffer = vec![0; 64 << 10];
    let mut length = 0;
    // A stream with an error in it is left to the real decoder, which is more lenient.
    while let Ok(read @ 1..) = inflated.read(&mut buffer) {
        length += read;
    }
    length
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn counting_stops_at_the_limit() {
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(unpacked_length(&packed, 2 << 20), 1 << 20);
        assert_eq!(unpacked_length(&packed, 1000), 1001);
        assert_eq!(unpacked_length(b"no zlib stream", 1000), 0);
    }
}
