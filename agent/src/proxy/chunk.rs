//! Chunks of bodies that wait in memory, and what they take there.

use hyper::body::Bytes;

/// Bytes that a chunk takes beside its own, about: of a body that comes byte by byte, that is most.
const COST: usize = 64;

/// Shorter chunks get memory of their own. What is read of a connection is a piece of a buffer of at least twice this
/// size, which lives as long as any piece of it.
const SHORT: usize = 4 << 10;

/// Bytes that a chunk takes while it waits, about.
#[must_use]
pub const fn weight(chunk: &Bytes) -> usize {
    chunk.len() + COST
}

/// A chunk that was just read, with no more memory than it needs.
#[must_use]
pub fn compact(chunk: Bytes) -> Bytes {
    if chunk.len() < SHORT {
        Bytes::copy_from_slice(&chunk)
    } else {
        chunk
    }
}

/// How much of a body may be kept: so many bytes, in chunks that take no more than these besides.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    bytes: usize,
    chunks: usize,
}

impl Room {
    /// Room for some bytes.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        Self {
            bytes,
            // However little room there is, what fits may come at once.
            chunks: bytes / COST + 1,
        }
    }

    /// What is left of it beside a chunk of some bytes; none where that does not fit.
    #[must_use]
    pub fn beside(self, length: usize) -> Option<Self> {
        Some(Self {
            bytes: self.bytes.checked_sub(length)?,
            chunks: self.chunks.checked_sub(1)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many chunks of a length fit.
    fn fitting(room: Room, length: usize) -> usize {
        std::iter::successors(room.beside(length), |room| room.beside(length)).count()
    }

    #[test]
    fn so_many_bytes_fit() {
        assert_eq!(fitting(Room::new(1000), 250), 4);
        assert_eq!(fitting(Room::new(999), 250), 3);
        assert_eq!(fitting(Room::new(3), 3), 1);
    }

    #[test]
    fn bytes_that_come_one_by_one_take_no_more_room_than_those_that_come_together() {
        assert_eq!(fitting(Room::new(64_000), 1), 1001);
        assert_eq!(fitting(Room::new(64_000), 0), 1001);
    }

    #[test]
    fn a_short_chunk_does_not_keep_the_buffer_that_it_was_read_into() {
        let buffer = Bytes::from(vec![7; 8 << 10]);
        let chunk = compact(buffer.slice(..10));
        assert_eq!(chunk, buffer.slice(..10));
        assert!(buffer.is_unique());
        let chunk = compact(buffer.slice(..SHORT));
        assert!(!buffer.is_unique());
        drop(chunk);
    }
}
