//! A channel as spans name it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;

/// A channel, with the template of its name. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(Arc<Names>);

#[derive(Debug, PartialEq, Eq)]
struct Names {
    channel: Box<str>,
    template: Option<Arc<str>>,
    is_hidden: bool,
}

impl Destination {
    /// The channel with this name, in which bytes that are not UTF-8 are replaced by U+FFFD. `template` stands for it and for
    /// others like it. If `is_hidden`, no span shows the name itself.
    pub fn new(channel: &str, template: Option<Arc<str>>, is_hidden: bool) -> Self {
        Self(Arc::new(Names { channel: channel.into(), template, is_hidden }))
    }

    /// The name of the channel, also if spans do not show it.
    pub fn channel(&self) -> &str {
        &self.0.channel
    }

    /// The channel's name for `messaging.destination.name`; `None` if it is hidden.
    pub fn shown_channel(&self) -> Option<&str> {
        (!self.0.is_hidden).then_some(&*self.0.channel)
    }

    /// `messaging.destination.template`, if there is one.
    pub fn template(&self) -> Option<&str> {
        self.0.template.as_deref()
    }

    /// Whether both are the same object, which they are of one channel of one connection while its name is looked up once.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What stands for the channel in the names of spans: the template, otherwise the channel's name. It is empty if neither may be
    /// shown, and for the channel without a name.
    pub fn group(&self) -> &str {
        self.template().or(self.shown_channel()).unwrap_or_default()
    }
}

impl From<&str> for Destination {
    /// The channel with this name and no template.
    fn from(channel: &str) -> Self {
        Self::new(channel, None, false)
    }
}

impl Deref for Destination {
    type Target = str;

    /// The name of the channel, also if spans do not show it.
    fn deref(&self) -> &str {
        self.channel()
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.channel())
    }
}
