//! The frames of a stream of Amazon's (`application/vnd.amazon.eventstream`).
//!
//! A frame is its length, the length of its headers, a checksum of both, the headers, the payload, and a
//! checksum of all; numbers are big-endian.

use serde_json::Value;

/// The longest frame, in bytes.
const LONGEST_FRAME: usize = 1 << 24;
/// What a frame has besides headers and payload.
const AROUND: usize = 16;

/// A frame.
#[derive(Debug, PartialEq)]
pub(super) struct Frame {
    /// What event it is.
    pub kind: String,
    /// What failure it is, where it is one.
    pub exception: Option<String>,
    /// What it says.
    pub payload: Value,
}

/// Bytes of a stream as they come.
#[derive(Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
}

impl Frames {
    /// Takes bytes; gives the frames that are whole.
    ///
    /// # Errors
    /// What is wrong with the stream.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, String> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(length) = number(&self.buffer, 0) {
            if !(AROUND..=LONGEST_FRAME).contains(&length) {
                return Err("the stream has a frame of an impossible length".to_owned());
            }
            if self.buffer.len() < length {
                break;
            }
            let frame: Vec<u8> = self.buffer.drain(..length).collect();
            frames.push(read(&frame)?);
        }
        Ok(frames)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(four)).ok()
}

fn read(frame: &[u8]) -> Result<Frame, String> {
    let wrong = |what: &str| format!("a frame of the stream is wrong: {what}");
    let checked = frame.len() - 4;
    let sum = |bytes: &[u8]| usize::try_from(crc32(bytes)).ok();
    let body = frame.get(..checked).unwrap_or_default();
    if number(frame, checked) != sum(body) {
        return Err(wrong("its checksum"));
    }
    let headers = number(frame, 4).ok_or_else(|| wrong("its length"))?;
    let rest = frame.get(12..checked).unwrap_or_default();
    let (headers, payload) = rest
        .split_at_checked(headers)
        .ok_or_else(|| wrong("the length of its headers"))?;
    let headers = texts(headers).ok_or_else(|| wrong("its headers"))?;
    let header = |name: &str| {
        let found = headers.iter().find(|header| header.0 == name);
        found.map(|header| header.1.clone())
    };
    Ok(Frame {
        kind: header(":event-type").unwrap_or_default(),
        exception: header(":exception-type").or_else(|| header(":error-code")),
        payload: serde_json::from_slice(payload).map_err(|error| wrong(&error.to_string()))?,
    })
}

/// The headers that are text.
fn texts(mut bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (kind, rest) = rest.split_first()?;
        // Lengths of the kinds: true, false, byte, short, integer, long, bytes, text, time, UUID.
        let (length, rest) = match kind {
            0 | 1 => (0, rest),
            2 => (1, rest),
            3 => (2, rest),
            4 => (4, rest),
            5 | 8 => (8, rest),
            6 | 7 => {
                let (length, rest) = rest.split_at_checked(2)?;
                let length: [u8; 2] = length.try_into().ok()?;
                (usize::from(u16::from_be_bytes(length)), rest)
            }
            9 => (16, rest),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        if *kind == 7 {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            texts.push((text(name), text(value)));
        }
        bytes = rest;
    }
    Some(texts)
}

/// The checksum of Ethernet and zip.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = sum & 1;
            sum = (sum >> 1) ^ (0xEDB8_8320 * carry);
        }
    }
    !sum
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn frame(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
        let mut head = Vec::new();
        for (name, value) in headers {
            head.push(u8::try_from(name.len()).unwrap());
            head.extend(name.as_bytes());
            head.push(7);
            head.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            head.extend(value.as_bytes());
        }
        let length = u32::try_from(AROUND + head.len() + payload.len()).unwrap();
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend(u32::try_from(head.len()).unwrap().to_be_bytes());
        frame.extend(crc32(&frame).to_be_bytes());
        frame.extend(head);
        frame.extend(payload.as_bytes());
        frame.extend(crc32(&frame).to_be_bytes());
        frame
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_frame_that_was_changed_is_an_error() {
        let mut bytes = frame(&[(":event-type", "messageStop")], "{}");
        let last = bytes.len() - 6;
        bytes[last] = b'x';
        assert!(
            Frames::default()
                .take(&bytes)
                .unwrap_err()
                .contains("checksum")
        );
    }

    proptest! {
        #[test]
        fn frames_are_whole_however_they_are_cut(cut in 1_usize..40) {
            let mut bytes = frame(&[(":event-type", "metadata"), ("b", "c")], r#"{"a": 1}"#);
            bytes.extend(frame(&[(":exception-type", "throttlingException")], r#"{"message": "slow"}"#));
            let mut frames = Frames::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(cut) {
                read.extend(frames.take(piece).unwrap());
            }
            prop_assert_eq!(read.len(), 2);
            prop_assert_eq!(&read[0].payload, &json!({"a": 1}));
            prop_assert_eq!(read[1].exception.as_deref(), Some("throttlingException"));
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frames::default().take(&bytes);
        }
    }
}
