//! Messages as gRPC frames them, see <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;

use super::message::LONGEST_CHUNK;

/// Longest message that we take, in bytes: what gRPC takes unless told otherwise.
const LONGEST: usize = 4 << 20;
/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Why a frame is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a message is compressed, which was not asked for")]
    Compressed,
    #[error("a message has {0} bytes, more than {LONGEST}")]
    TooLong(usize),
    #[error("cannot read a message")]
    Decode { source: prost::DecodeError },
}

/// A message with its prefix.
///
/// # Panics
///
/// When the message is longer than 4 GiB.
#[must_use]
pub fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).expect("our chunks are short"));
    message.encode_raw(&mut frame);
    frame.freeze()
}

/// Finds messages in the bytes of a stream.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What is left of the bytes that came last, as long as messages end with them.
    whole: Bytes,
    /// Bytes of several arrivals, where one message needs them.
    joined: BytesMut,
    /// How many of them are to be expected.
    expected: usize,
}

impl Decoder {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        if self.joined.is_empty() && self.whole.is_empty() {
            self.whole = bytes;
        } else {
            let missing = self.expected.saturating_sub(self.joined.len());
            self.joined.reserve(missing);
            self.joined.extend_from_slice(&self.whole);
            self.joined.extend_from_slice(&bytes);
            self.whole = Bytes::new();
        }
    }

    /// The next message; none until more bytes have come.
    pub fn take_message<M: Message + Default>(&mut self) -> Result<Option<M>, Error> {
        let is_joined = !self.joined.is_empty();
        let buffer: &[u8] = if is_joined { &self.joined } else { &self.whole };
        let Some(([flag, length @ ..], rest)) = buffer.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        if *flag != 0 {
            return Err(Error::Compressed);
        }
        let length = u32::from_be_bytes(*length) as usize;
        if length > LONGEST {
            return Err(Error::TooLong(length));
        }
        if rest.len() < length {
            // Longer ones than pickers send may never come.
            self.expected = PREFIX + length.min(LONGEST_CHUNK);
            return Ok(None);
        }
        self.expected = 0;
        let mut frame = if is_joined {
            let frame = self.joined.split_to(PREFIX + length).freeze();
            if self.joined.is_empty() {
                // A call outlives its messages, and would keep the memory of the longest.
                self.joined = BytesMut::new();
            }
            frame
        } else {
            self.whole.split_to(PREFIX + length)
        };
        frame.advance(PREFIX);
        M::decode(frame)
            .map(Some)
            .map_err(|source| Error::Decode { source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::picker::message::{self, HttpBody};

    fn bodies() -> Vec<HttpBody> {
        let lengths = [0, 1, 300, 70_000];
        lengths
            .iter()
            .map(|length| message::body(vec![7; *length].into(), true))
            .collect()
    }

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let stream: Vec<u8> = bodies().iter().flat_map(encode).collect();
        for size in [1, 4, 5, 6, 16_384, stream.len()] {
            let mut decoder = Decoder::default();
            let mut found: Vec<HttpBody> = Vec::new();
            for piece in stream.chunks(size) {
                decoder.push(Bytes::copy_from_slice(piece));
                while let Some(message) = decoder.take_message().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, bodies(), "in pieces of {size} bytes");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_before_it_has_come() {
        let mut decoder = Decoder::default();
        decoder.push(Bytes::from_static(&[0, 0x7f, 0, 0, 0]));
        assert!(matches!(
            decoder.take_message::<HttpBody>(),
            Err(Error::TooLong(_))
        ));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for stream in [&[1, 0, 0, 0, 0][..], &[0, 0, 0, 0, 1, 0xff]] {
            let mut decoder = Decoder::default();
            decoder.push(Bytes::from_static(stream));
            assert!(decoder.take_message::<HttpBody>().is_err());
        }
    }
}
