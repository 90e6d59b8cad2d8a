//! The plan for jobs that a service adds to a queue, which adds a context to the envelope of a job library (`--envelope`).
//!
//! A context is added to the last word of a command that adds one job and is written exactly as clients write it, and only if what
//! Redis then gets has this context to whoever reads it. Nothing is ever removed.

use alloc::vec::Vec;
use core::ops::{Range, RangeInclusive};

use super::publish::UNAUTHENTICATED_BULK_LEN;
use super::{Edits, entries};
use crate::carrier::envelope::{self, Envelope, Gap, options};
use crate::carrier::msgpack::{self, Map};
use crate::handover::{self, Item, Script};
use crate::output::Call;
use crate::policy::Policy;
use crate::resp::complete::{self, BulkStrings};
use crate::service::Bulks;
use crate::trace::{Context, Propagators};

/// Number of words of a request that adds one element: its name, the key, and the element.
pub(crate) const WORDS_OF_ELEMENT: u64 = 3;

/// Numbers of words of a script that adds one job: its name, the script, the number of its 4 to 9 keys, the keys, and three arguments.
pub(crate) const WORDS_OF_SCRIPT: RangeInclusive<u64> = 10..=15;

/// All formats in which a job may have a context of its own.
const ANY_FORMAT: Propagators =
    Propagators { trace_context: true, baggage: false, b3: true, b3_multi: true, jaeger: true };

/// A job that a request adds to a queue, and which may get a context.
#[derive(Debug)]
pub(crate) struct NewJob<'a> {
    /// The key of the list, or the name of the queue of a script.
    pub(crate) queue: &'a [u8],
    /// Whether a script adds it, which is known to add jobs whatever its keys are.
    pub(crate) is_of_script: bool,
    /// The last word of the request.
    last: &'a [u8],
    /// Its header in RESP.
    header: Range<usize>,
    place: Place<'a>,
}

/// Where a context goes in the last word.
#[derive(Debug)]
enum Place<'a> {
    /// An object of the element, which is the whole job.
    Element(Gap),
    /// The options of a job with this data.
    Options { options: Map<'a>, data: &'a [u8] },
}

impl<'a> NewJob<'a> {
    /// Reads a complete request. `None` if it goes on as it came: it adds no job in the envelope of a library that the policy
    /// names, or the job has a context of its own, or there are several.
    pub(crate) fn read(request: &'a [u8], policy: &Policy) -> Option<Self> {
        let (words, line) = complete::count(request)?;
        let mut strings = BulkStrings::new(request, line);
        let key = strings.by_ref().nth(1)?;
        for _ in 3..words {
            strings.next()?;
        }
        let start = strings.pos;
        let last = strings.next()?;
        let body = request.len().checked_sub(last.len() + 2).filter(|_| strings.pos == request.len())?;
        let header = start..body;
        if u64::try_from(words) == Ok(WORDS_OF_ELEMENT) {
            let gap = envelope::gap(key, last, &policy.envelopes)?;
            let has_context = handover::context(&element(last), ANY_FORMAT).is_some();
            let place = Place::Element(gap);
            return (!has_context).then_some(Self { queue: key, is_of_script: false, last, header, place });
        }
        let Script::AddsJob { queue, data, options: Some(words), .. } = Script::of_request(request)? else {
            return None;
        };
        let is_asked = policy.envelopes.contains(&Envelope::BullMq) && words == last;
        let place = Place::Options { options: options::read(last).filter(|_| is_asked)?, data };
        Some(Self { queue, is_of_script: true, last, header, place })
    }

    /// The job with this context, as Redis gets it. `None` if that would not be the context to whoever reads it, or if the last word
    /// or the request would be longer than allowed.
    pub(crate) fn with_context(
        &self,
        request: &[u8],
        context: &Context,
        is_authenticated: bool,
        call: &Call<'_>,
    ) -> Option<Added<'a>> {
        let added = match &self.place {
            Place::Element(gap) => {
                let (before, behind) = self.last.split_at_checked(gap.at)?;
                let mut stored = before.to_vec();
                gap.write(context, &mut stored);
                let members = before.len()..stored.len();
                stored.extend_from_slice(behind);
                Added { stored, data: None, replaced: gap.at..gap.at, replacement: members }
            }
            Place::Options { options, data } => {
                let stored = options::with_context(options, context);
                let (replaced, replacement) = (0..self.last.len(), 0..stored.len());
                Added { stored, data: Some(data), replaced, replacement }
            }
        };
        let longer = added.stored.len().saturating_sub(self.last.len());
        let len = u64::try_from(request.len() + longer).ok()?;
        let crosses_limit =
            !is_authenticated && (self.last.len()..added.stored.len()).contains(&UNAUTHENTICATED_BULK_LEN);
        if crosses_limit || entries::too_long(len, call).is_some() {
            return None;
        }
        let is_read = handover::context(&added.item(), ANY_FORMAT).is_some_and(|found| {
            (found.span, found.trace_state.as_deref()) == (context.span, context.trace_state.as_deref())
        });
        is_read.then_some(added)
    }

    /// The edits by which the request gets the context.
    pub(crate) fn edit(&self, added: &Added<'_>, edits: &mut Edits) {
        let bytes = edits.begin();
        bytes.extend_from_slice(added.stored.get(added.replacement.clone()).unwrap_or_default());
        let len = bytes.len();
        edits.replace_number(self.header.clone(), b'$', added.stored.len());
        let Range { start, end } = added.replaced;
        edits.replace(self.header.end + start..self.header.end + end, 0..len);
    }
}

/// A job with its context.
pub(crate) struct Added<'a> {
    /// The last word, as Redis gets it.
    stored: Vec<u8>,
    /// The data of the job, if the last word is not the job as a whole.
    data: Option<&'a [u8]>,
    /// What the context replaces in the word that came.
    replaced: Range<usize>,
    /// What has been put there.
    replacement: Range<usize>,
}

impl Added<'_> {
    /// The job as an item of the queue. One that a script adds has no id yet.
    pub(crate) fn item(&self) -> Item<'_> {
        let Some(data) = self.data else { return element(&self.stored) };
        let texts = msgpack::member(&self.stored, options::CONTEXT.as_bytes()).unwrap_or_default();
        let names = Bulks::new([options::CONTEXT.as_bytes()]);
        let begun = Item::begin(None, None);
        Item { job: Some(&[]), names, values: Bulks::new([texts]), size: len_of(data), ..begun }
    }

    /// The element, if it is the job as a whole.
    pub(crate) fn element(&self) -> Option<&[u8]> {
        self.data.is_none().then_some(&*self.stored)
    }
}

fn element(element: &[u8]) -> Item<'_> {
    Item { values: Bulks::new([element]), size: len_of(element), ..Item::begin(None, None) }
}

fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
