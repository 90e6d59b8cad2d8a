//! The parts of an `EVAL` or an `EVALSHA`.

use crate::resp::complete::decimal;
use crate::resp::{Values, take_line};

/// The most keys of a script that is known.
pub(super) const MAX_KEYS: usize = 14;

/// The most arguments that the meaning of one depends on.
pub(super) const MAX_ARGUMENTS: usize = 12;

/// A call of a script that has one key or more, or none and at least one argument.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// The script's text, if it is sent.
    pub(super) text: Option<&'a [u8]>,
    keys: [&'a [u8]; MAX_KEYS],
    key_count: usize,
    arguments: [&'a [u8]; MAX_ARGUMENTS],
    /// The number of all arguments.
    pub(super) argument_count: usize,
    /// An iterator over every argument, without the limit of [`MAX_ARGUMENTS`].
    pub(super) all_arguments: Values<'a>,
}

impl<'a> Call<'a> {
    /// Reads a request in RESP, which is whole. `None` if it has more keys than any script of the table.
    pub(super) fn of_request(request: &'a [u8]) -> Option<Self> {
        let mut header = request;
        let (_, count) = take_line(&mut header)?;
        let count = usize::try_from(decimal(count)?).ok()?;
        let mut words = Values::new(request);
        // EVAL and EVAL_RO come with the text, and the names of the others are longer.
        let is_text = words.next()?.eq_ignore_ascii_case(b"EVAL");
        let text = words.next()?;
        let key_count = usize::try_from(decimal(words.next()?)?).ok()?;
        let argument_count = count.checked_sub(3)?.checked_sub(key_count)?;
        let (mut keys, mut arguments) = ([&[][..]; MAX_KEYS], [&[][..]; MAX_ARGUMENTS]);
        for key in keys.get_mut(..key_count)? {
            *key = words.next()?;
        }
        let all_arguments = words.clone();
        let looked_at = argument_count.min(MAX_ARGUMENTS);
        for argument in arguments.get_mut(..looked_at)? {
            *argument = words.next()?;
        }
        let text = is_text.then_some(text);
        Some(Self { text, keys, key_count, arguments, argument_count, all_arguments })
    }

    /// Returns the keys that the call names, [`MAX_KEYS`] at most.
    pub(super) fn keys(&self) -> &[&'a [u8]] {
        self.keys.get(..self.key_count).unwrap_or_default()
    }

    /// An argument, counted from 1 as in Lua. It is empty if there are fewer.
    pub(super) fn argument(&self, number: usize) -> &'a [u8] {
        number.checked_sub(1).and_then(|at| self.arguments.get(at)).copied().unwrap_or_default()
    }

    /// What all of the first keys begin with, if these names follow there, with the colon at its end. There may be further keys.
    pub(super) fn prefix_before(&self, names: &[&str]) -> Option<&'a [u8]> {
        let prefix = self.keys().first()?.strip_suffix(names.first()?.as_bytes())?;
        let fits = |(key, name): (&&[u8], &&str)| key.strip_prefix(prefix) == Some(name.as_bytes());
        let fit = self.keys().len() >= names.len() && self.keys().iter().zip(names).all(fits);
        (fit && prefix.len() > 1 && prefix.ends_with(b":")).then_some(prefix)
    }

    /// Whether a key consists of the prefix and this name.
    pub(super) fn has_key(&self, prefix: &[u8], name: &str) -> bool {
        self.keys().iter().any(|key| key.strip_prefix(prefix) == Some(name.as_bytes()))
    }
}

/// The name of the queue whose keys begin with this prefix.
pub(super) fn queue_of(prefix: &[u8]) -> &[u8] {
    prefix.strip_suffix(b":").unwrap_or(prefix)
}
