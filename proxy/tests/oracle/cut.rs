//! How the bytes of a client are cut into writes.

use crate::support::Rng;
use crate::support::wire::Wire;

/// A way to cut the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Everything in one write.
    Whole,
    /// Each byte in a write of its own; of longer scripts only the first [`Cut::MOST_SINGLE`] bytes.
    Bytes,
    /// Pieces of random sizes, from a generator with this seed.
    Random(u64),
}

impl Cut {
    /// The number of bytes that are written one by one. The rest of a script is one write.
    const MOST_SINGLE: usize = 512;

    /// Sends `bytes` in this way, as far as the peer accepts them.
    pub(crate) async fn send(self, wire: &mut Wire, bytes: &[u8]) {
        match self {
            Self::Whole => wire.try_send(bytes).await,
            Self::Bytes => {
                let (single, rest) = bytes.split_at(bytes.len().min(Self::MOST_SINGLE));
                for byte in single.chunks(1) {
                    wire.try_send(byte).await;
                    tokio::task::yield_now().await;
                }
                wire.try_send(rest).await;
            }
            Self::Random(seed) => {
                let mut rng = Rng(seed ^ bytes.len() as u64);
                let mut rest = bytes;
                while !rest.is_empty() {
                    let most = 1 + rng.below(rest.len());
                    let (piece, after) = rest.split_at(1 + rng.below(most));
                    wire.try_send(piece).await;
                    rest = after;
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
