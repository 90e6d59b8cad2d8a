//! The key of a list, a sorted set or a stream, as proxies tell each other of it.

use alloc::format;
use alloc::string::String;
use core::fmt;

/// The beginning of the name of every companion channel.
pub const PREFIX: &str = "__redistributed:context:1:";

/// The number of hexadecimal digits behind it.
const DIGITS: usize = 16;

/// A key, as the channel beside it tells of it, on which proxies tell each other the contexts of what is added to it.
///
/// [`out_of_band`](crate::carrier::out_of_band) says how it follows from the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Companion(pub u64);

impl Companion {
    /// The name of its channel.
    pub fn channel(self) -> String {
        format!("{PREFIX}{self}")
    }

    /// The companion with this channel.
    pub fn of_channel(channel: &[u8]) -> Option<Self> {
        let digits = channel.strip_prefix(PREFIX.as_bytes())?;
        let is_written_so = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        if digits.len() != DIGITS || !digits.iter().all(is_written_so) {
            return None;
        }
        u64::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok().map(Self)
    }
}

impl fmt::Display for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_says_whose_companion_it_is() {
        let channel = Companion(0xff).channel();
        assert_eq!(channel, "__redistributed:context:1:00000000000000ff");
        assert_eq!(Companion::of_channel(channel.as_bytes()), Some(Companion(0xff)));
        for other in [&channel[..channel.len() - 1], &format!("{channel}0"), &channel.to_uppercase(), "orders", ""] {
            assert_eq!(Companion::of_channel(other.as_bytes()), None, "{other}");
        }
        assert_eq!(Companion::of_channel(b"__redistributed:context:1:00000000000000FF"), None);
    }
}
