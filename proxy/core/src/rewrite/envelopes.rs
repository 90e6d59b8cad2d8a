//! The plan for jobs that a service adds to a list, which adds a context to the envelope of a job library (`--envelope`).
//!
//! A context is added to the only element of a command that is written exactly as clients write it, and only if what Redis then
//! gets has this context to whoever reads it. Nothing is ever removed.

use alloc::vec::Vec;
use core::ops::Range;

use super::publish::UNAUTHENTICATED_BULK_LEN;
use super::{Edits, entries};
use crate::carrier::envelope::{self, Gap};
use crate::handover::{self, Item};
use crate::output::Call;
use crate::policy::Policy;
use crate::resp::complete::{self, BulkStrings};
use crate::service::Bulks;
use crate::trace::{Context, Propagators};

/// Number of words of a request that adds one element: its name, the key, and the element.
pub(crate) const WORDS: u64 = 3;

/// All formats in which an element may have a context of its own.
const ANY_FORMAT: Propagators =
    Propagators { trace_context: true, baggage: false, b3: true, b3_multi: true, jaeger: true };

/// An element that a request adds to a list, and which may get a context.
#[derive(Debug)]
pub(crate) struct NewJob<'a> {
    pub(crate) key: &'a [u8],
    element: &'a [u8],
    /// The header of the element in RESP.
    header: Range<usize>,
    gap: Gap,
}

impl<'a> NewJob<'a> {
    /// Reads a complete request. `None` if it goes on as it came: its element is no envelope of a library that the policy
    /// names, or it has a context of its own, or there are several.
    pub(crate) fn read(request: &'a [u8], policy: &Policy) -> Option<Self> {
        let (words, line) = complete::count(request)?;
        let mut strings = BulkStrings::new(request, line);
        let (_, key) = (strings.next()?, strings.next()?);
        let start = strings.pos;
        let element = strings.next()?;
        let is_whole = u64::try_from(words) == Ok(WORDS) && strings.pos == request.len();
        let body = request.len().checked_sub(element.len() + 2).filter(|_| is_whole)?;
        let gap = envelope::gap(key, element, &policy.envelopes)?;
        read(element, ANY_FORMAT).is_none().then_some(Self { key, element, header: start..body, gap })
    }

    /// The element with this context, as Redis gets it. `None` if that would not be the context to whoever reads it, or if the
    /// element or the request would be longer than allowed.
    pub(crate) fn with_context(
        &self,
        request: &[u8],
        context: &Context,
        is_authenticated: bool,
        call: &Call<'_>,
    ) -> Option<Added> {
        let (before, behind) = self.element.split_at_checked(self.gap.at)?;
        let mut stored = before.to_vec();
        self.gap.write(context, &mut stored);
        let members = before.len()..stored.len();
        stored.extend_from_slice(behind);
        let len = u64::try_from(request.len() + members.len()).ok()?;
        let crosses_limit = !is_authenticated && (self.element.len()..stored.len()).contains(&UNAUTHENTICATED_BULK_LEN);
        if crosses_limit || entries::too_long(len, call).is_some() {
            return None;
        }
        let is_read = read(&stored, ANY_FORMAT).is_some_and(|found| {
            (found.span, found.trace_state.as_deref()) == (context.span, context.trace_state.as_deref())
        });
        is_read.then_some(Added { stored, members })
    }

    /// The edits by which the request gets the context.
    pub(crate) fn edit(&self, added: &Added, edits: &mut Edits) {
        let bytes = edits.begin();
        bytes.extend_from_slice(added.stored.get(added.members.clone()).unwrap_or_default());
        let len = bytes.len();
        edits.replace_number(self.header.clone(), b'$', added.stored.len());
        let at = self.header.end + self.gap.at;
        edits.replace(at..at, 0..len);
    }
}

/// An element with its context.
pub(crate) struct Added {
    /// The element, as Redis gets it.
    pub(crate) stored: Vec<u8>,
    /// What has been added to it.
    members: Range<usize>,
}

impl Added {
    /// The element as an item of the list.
    pub(crate) fn item(&self) -> Item<'_> {
        item(&self.stored)
    }
}

fn item(element: &[u8]) -> Item<'_> {
    let size = u64::try_from(element.len()).unwrap_or(u64::MAX);
    Item { values: Bulks::new([element]), size, ..Item::begin(None, None) }
}

/// The context that whoever takes this element finds in it.
fn read(element: &[u8], formats: Propagators) -> Option<Context> {
    handover::context(&item(element), formats)
}
