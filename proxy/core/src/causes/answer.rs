//! The answers, and how often each was given.

use super::bounded::Bounded;

/// The most causes that one answer names. A batch of more is cut off.
pub const MAX_LINKS: usize = 24;

/// Defines an enumeration whose values have stable names, and are counted.
macro_rules! named {
    ($(#[$attribute:meta])* $enum:ident { $($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $enum {
            /// Every value, in the order in which they are defined here.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The value's name in metrics and attributes: in lower case, and the same in all versions.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

named! {
    /// How a cause was told. The name is the value of the span attribute `redistributed.cause`.
    Rule {
        /// The command names something that only this cause has named or was told.
        Token = "token",
        /// It belongs to work that is seen to be of one cause, and this is the only one that it can be of.
        Work = "work",
        /// It belongs to the transaction (`MULTI`) whose cause is known.
        Transaction = "transaction",
        /// It follows what the cause has just done, as such commands do, and only one such command is due.
        Succession = "succession",
        /// Of several that it may follow, this one has used the connection last, as it always was.
        Connection = "connection",
        /// Every one of a kind does this exactly once, and only this one has not done it yet.
        Flow = "flow",
        /// Nothing else is in work, and such commands do not come by themselves.
        Alone = "alone",
        /// The command names an id that only this cause has named, which is a request that has been answered, or a message that
        /// counts as finished.
        Answered = "answered",
        /// Work was joined to this cause, because a later command that belongs to it has this cause.
        Joined = "joined",
        /// Work was joined to this cause, because a command that is known to follow it has this cause.
        Before = "before",
        /// Work was joined to this request, because its response names what the service had made in that work.
        Response = "response",
    }
}

named! {
    /// Why no cause is named.
    Reason {
        /// Inference has begun, or events were missed, less than five seconds ago. Somebody unknown may be in work.
        WarmUp = "warm_up",
        /// Fewer than eight commands like this one have been seen, with this one.
        New = "new",
        /// Such commands come at regular times, so that nothing may have caused them.
        Periodic = "periodic",
        /// No request or message is in work.
        Nobody = "nobody",
        /// Several requests or messages may be the cause.
        Several = "several",
        /// What the command names belongs to different causes.
        Contradiction = "contradiction",
        /// It belongs to known work, whose cause is not known yet.
        Work = "work",
        /// There are more kinds of commands, or more tokens, than there is room for.
        Overload = "overload",
        /// The service publishes to itself, message after message. The circle is cut here.
        Circle = "circle",
    }
}

/// The ids of several causes, at most [`MAX_LINKS`].
#[derive(Clone, Copy)]
pub struct Links(Bounded<u64, MAX_LINKS>);

impl Links {
    pub(super) fn new(ids: impl Iterator<Item = u64>) -> Self {
        let mut links = Bounded::new();
        ids.take(MAX_LINKS).for_each(|id| {
            links.push(id);
        });
        Self(links)
    }

    /// The ids that the caller gave to the causes, in any order.
    pub fn as_slice(&self) -> &[u64] {
        self.0.as_slice()
    }
}

impl PartialEq for Links {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl core::fmt::Debug for Links {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// What caused a command. The ids are those that the caller gave to requests and messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// This request or message caused it.
    Cause {
        /// The id of the request or message.
        id: u64,
        /// The rule by which it was told.
        rule: Rule,
    },
    /// All of these caused it: the service has collected them and sends one command for all.
    Batch(Links),
    /// One of these two to four caused it, as far as is known.
    OneOf(Links),
    /// What caused it is not known, for this reason, or nothing did.
    Unknown(Reason),
}

/// An answer that became known after the command had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateAnswer {
    /// The id that the caller gave to the command.
    pub command: u64,
    /// The id that the caller gave to the request or message that caused it.
    pub cause: u64,
    /// The rule by which the command was joined to its cause.
    pub rule: Rule,
}

/// How often each answer was given, from the beginning on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    found: [u64; Rule::ALL.len()],
    late: [u64; Rule::ALL.len()],
    unknown: [u64; Reason::ALL.len()],
    /// Commands that were answered with a batch.
    pub batches: u64,
    /// Commands that were answered with two to four candidates.
    pub one_of: u64,
    /// Answers that became known late and were lost, because nobody had fetched those before.
    pub late_lost: u64,
}

#[expect(clippy::as_conversions, clippy::indexing_slicing, reason = "a value's number is below the number of values")]
impl Tally {
    /// Commands whose cause was told at once by this rule.
    pub fn found(&self, rule: Rule) -> u64 {
        self.found[rule as usize]
    }

    /// Commands whose cause was told later by this rule.
    pub fn late(&self, rule: Rule) -> u64 {
        self.late[rule as usize]
    }

    /// Commands for which no cause was told at once, for this reason.
    pub fn unknown(&self, reason: Reason) -> u64 {
        self.unknown[reason as usize]
    }

    pub(super) fn count(&mut self, answer: &Answer) {
        match answer {
            Answer::Cause { rule, .. } => self.found[*rule as usize] += 1,
            Answer::Batch(_) => self.batches += 1,
            Answer::OneOf(_) => self.one_of += 1,
            Answer::Unknown(reason) => self.unknown[*reason as usize] += 1,
        }
    }

    pub(super) fn count_late(&mut self, rule: Rule) {
        self.late[rule as usize] += 1;
    }
}
