//! Durations (`10s`), sizes (`64KiB`) and counts as operators write them.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The reason why a duration, a size or a count cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text is nothing but white space.
    #[error("it is empty")]
    Empty,
    /// The text begins with a minus.
    #[error("it is negative")]
    Negative,
    /// The text does not begin with a digit.
    #[error("it does not start with a number")]
    NoNumber,
    /// A size or a count is not a whole number, as in `1.5` or `1,5`.
    #[error("it is not a whole number")]
    Fraction,
    /// A duration holds something other than numbers and units.
    #[error("it is not a number with its unit")]
    Malformed,
    /// A duration is not a whole number of milliseconds, which is what timers count.
    #[error("it is finer than a millisecond")]
    TooFine,
    /// A duration has no unit.
    #[error("its unit is missing")]
    NoUnit,
    /// The unit is none of those that are read.
    #[error("its unit is not known")]
    UnknownUnit,
    /// A count is zero.
    #[error("it is zero")]
    Zero,
    /// The value is above its limit, or beyond what can be counted.
    #[error("it is too large")]
    TooLarge,
}

/// The longest duration that can be set. It keeps timers far from the end of what a clock can count.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest text that is read as a duration, in bytes. `humantime` adds up what it finds, and panics where a full second of
/// smaller units is added to the last second that 64 bits can count; no text of fewer than 27 bytes says that.
const MAX_DURATION_LEN: usize = 24;

/// Reads a time with its unit, such as `500ms`, `10s`, `1.5s` or `1h 30m`: whole milliseconds, at most a day. A bare number
/// is refused, because readers disagree about its unit.
///
/// # Errors
/// [`UnitError`] for anything else.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    use humantime::DurationError as Error;
    let text = text.trim();
    if text.len() > MAX_DURATION_LEN {
        return Err(UnitError::TooLarge);
    }
    match humantime::parse_duration(text) {
        Ok(duration) if duration > MAX_DURATION => Err(UnitError::TooLarge),
        Ok(duration) if duration.subsec_nanos() % 1_000_000 != 0 => Err(UnitError::TooFine),
        Ok(duration) => Ok(duration),
        Err(Error::NumberOverflow) => Err(UnitError::TooLarge),
        Err(Error::Empty) => Err(UnitError::Empty),
        Err(Error::UnknownUnit { unit, .. }) if unit.is_empty() => Err(UnitError::NoUnit),
        Err(Error::UnknownUnit { .. }) => Err(UnitError::UnknownUnit),
        Err(Error::NumberExpected(0)) if text.starts_with('-') => Err(UnitError::Negative),
        Err(Error::NumberExpected(0)) => Err(UnitError::NoNumber),
        Err(Error::NumberExpected(_) | Error::InvalidCharacter(_)) => Err(UnitError::Malformed),
    }
}

/// `duration` in the notation that [`duration`] reads.
pub fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Reads a number of bytes, such as `1024`, `64KiB` or `1MiB`. Units are powers of 1024, as Redis's `kb` and `mb` are; the
/// libraries that read sizes take `kb` for 1000.
///
/// # Errors
/// [`UnitError`] for anything else.
pub fn bytes(text: &str) -> Result<usize, UnitError> {
    let (number, unit) = split(text)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(UnitError::UnknownUnit),
    };
    let bytes = number.checked_mul(1 << shift).ok_or(UnitError::TooLarge)?;
    usize::try_from(bytes).map_err(|_| UnitError::TooLarge)
}

/// Reads a number from 1 to `most`.
///
/// # Errors
/// [`UnitError`] for anything else, including a number with a unit.
pub fn count(text: &str, most: usize) -> Result<NonZeroUsize, UnitError> {
    let (number, unit) = split(text)?;
    if !unit.is_empty() {
        return Err(UnitError::UnknownUnit);
    }
    let number = usize::try_from(number).ok().filter(|&number| number <= most).ok_or(UnitError::TooLarge)?;
    NonZeroUsize::new(number).ok_or(UnitError::Zero)
}

fn split(text: &str) -> Result<(u64, &str), UnitError> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    match (number, unit.chars().next()) {
        ("", None) => return Err(UnitError::Empty),
        ("", Some('-')) => return Err(UnitError::Negative),
        ("", Some(_)) => return Err(UnitError::NoNumber),
        (_, Some('.' | ',')) => return Err(UnitError::Fraction),
        _ => {}
    }
    // All of it is digits, so the only possible error is that it does not fit into 64 bits.
    Ok((number.parse().map_err(|_| UnitError::TooLarge)?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration(" 2 m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("10"), Err(UnitError::NoUnit));
        assert_eq!(duration("10 bottles"), Err(UnitError::UnknownUnit));
        assert_eq!(duration("10 years"), Err(UnitError::TooLarge));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("5 seconds"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("1day"), Ok(MAX_DURATION));
        assert_eq!(duration("1,5s"), Err(UnitError::Malformed));
        assert_eq!(duration("1h m"), Err(UnitError::Malformed));
        assert_eq!(duration("ten seconds"), Err(UnitError::NoNumber));
        assert_eq!(duration("1us"), Err(UnitError::TooFine));
        assert_eq!(duration("-1s"), Err(UnitError::Negative));
        assert_eq!(duration(" "), Err(UnitError::Empty));
        assert_eq!(duration("25h"), Err(UnitError::TooLarge));
        assert_eq!(duration("18446744073709551615h"), Err(UnitError::TooLarge));
        assert_eq!(duration("99999999999999999999s"), Err(UnitError::TooLarge));
        // The sum is what 64 bits of seconds cannot hold.
        assert_eq!(duration("18446744073709551615s1000ms"), Err(UnitError::TooLarge));
        assert_eq!(duration("584542046090y"), Err(UnitError::TooLarge));
    }

    #[test]
    fn what_is_shown_of_a_duration_is_read_as_the_same() {
        for millis in [0, 1, 999, 1_000, 90_500, 3_600_000, 86_399_999, 86_400_000] {
            let read = Duration::from_millis(millis);
            assert_eq!(duration(&format_duration(read)), Ok(read), "{}", format_duration(read));
        }
    }

    #[test]
    fn sizes_take_the_usual_suffixes() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("1024"), Ok(1024));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("64kb"), Ok(65_536));
        assert_eq!(bytes("1MiB"), Ok(1 << 20));
        assert_eq!(bytes("1 GiB"), Ok(1 << 30));
        assert_eq!(bytes("1TiB"), Err(UnitError::UnknownUnit));
        assert_eq!(bytes("KiB"), Err(UnitError::NoNumber));
        assert_eq!(bytes("-1"), Err(UnitError::Negative));
        assert_eq!(bytes("1,5MiB"), Err(UnitError::Fraction));
        assert_eq!(bytes("99999999999999999999"), Err(UnitError::TooLarge));
        assert_eq!(bytes("18446744073709551615k"), Err(UnitError::TooLarge));
    }

    #[test]
    fn counts_are_whole_numbers_above_zero() {
        assert_eq!(count(" 256 ", 256).map(NonZeroUsize::get), Ok(256));
        for (text, error) in [
            ("257", UnitError::TooLarge),
            ("99999999999999999999", UnitError::TooLarge),
            ("0", UnitError::Zero),
            ("-1", UnitError::Negative),
            ("1.5", UnitError::Fraction),
            ("1k", UnitError::UnknownUnit),
            ("many", UnitError::NoNumber),
            ("", UnitError::Empty),
        ] {
            assert_eq!(count(text, 256), Err(error), "{text}");
        }
    }
}
