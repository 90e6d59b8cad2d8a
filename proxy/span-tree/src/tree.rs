//! From spans to traces, and from a trace to the rows of its tree.

use std::collections::{HashMap, HashSet};

/// The depth from which on a row tells the number of its ancestors in place of the lines that lead to it.
const DEEPEST: usize = 16;

/// What a tree shows of a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// The id of the span.
    pub id: String,
    /// The id of the span's parent; empty for a root.
    pub parent: String,
    /// The name of the service.
    pub service: String,
    /// The name of the span.
    pub name: String,
    /// The role of the span.
    pub kind: Kind,
    /// When it began, in nanoseconds since the Unix epoch.
    pub start: u64,
    /// When it ended, in nanoseconds since the Unix epoch.
    pub end: u64,
    /// The status of the response, if the span is that of a request.
    pub status: Option<i64>,
    /// How many subscribers Redis counted, if the span is that of a publish.
    pub receivers: Option<i64>,
    /// The payload's length in bytes, as the service knows it.
    pub body_size: Option<i64>,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// The rule by which its parent, or what it is linked to, was inferred.
    pub cause: Option<String>,
    /// Why the message of a publish got no context.
    pub skipped: Option<String>,
    /// The ids of the other traces that it is linked to.
    pub links: Vec<String>,
}

/// The role of a span, in the words of OpenTelemetry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The span has no remote side, or its kind is not known.
    #[default]
    Internal,
    /// The span covers the handling of a request by a service.
    Server,
    /// The span covers a command to Redis, up to its reply.
    Client,
    /// The span covers the publishing of a message.
    Producer,
    /// The span covers a delivered message and the work that it has caused.
    Consumer,
}

/// The spans of one trace that have come, or a later part of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The trace id, in 32 hexadecimal digits.
    pub id: String,
    /// The spans, of which there is at least one, in the order of their starts.
    pub spans: Vec<Span>,
    /// The time that all times are relative to, in nanoseconds since the Unix epoch.
    pub origin: u64,
    /// What was shown of the trace before.
    pub before: Before,
}

/// What was shown of a trace in earlier parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Before {
    /// The names of the spans that were shown, by their ids. They may be parents of those that come.
    pub names: HashMap<String, String>,
    /// The ids of parents that were missing.
    pub awaited: HashSet<String>,
}

/// One line of a tree.
#[derive(Debug, PartialEq)]
pub struct Row<'a> {
    /// Lines that lead from the parent, such as `│  └─ `; empty for a root. A dashed line leads to a span whose parent is inferred.
    pub branch: String,
    /// The span of the row, or the first of several.
    pub span: &'a Span,
    /// The commands that the service sent next for the same cause, if `span` is a command.
    pub more: Vec<&'a Span>,
    /// The id of the parent, if the span has one that is not in the trace.
    pub missing: Option<&'a str>,
}

impl Row<'_> {
    /// When the last span of the row ended, in nanoseconds since the Unix epoch.
    pub fn end(&self) -> u64 {
        self.more.iter().map(|span| span.end).fold(self.span.end, u64::max)
    }
}

/// Spans that will share a row, and where it stands.
struct Place {
    spans: Vec<usize>,
    depth: usize,
    /// What leads to the row itself, and to its children.
    branch: String,
    below: String,
}

impl Place {
    fn root(index: usize) -> Self {
        Self { spans: vec![index], depth: 0, branch: String::new(), below: String::new() }
    }
}

impl Trace {
    /// The trace with these spans, from the first of which on times are shown. Spans that began and ended together, as those of
    /// pipelined commands, stay in the order in which they came.
    pub fn new(id: String, mut spans: Vec<Span>) -> Self {
        spans.sort_by_key(|span| (span.start, span.end));
        let origin = spans.first().map_or(0, |span| span.start);
        Self { id, spans, origin, before: Before::default() }
    }

    /// When its first span began, in nanoseconds since the Unix epoch.
    pub fn start(&self) -> u64 {
        self.spans.first().map_or(0, |span| span.start)
    }

    /// From its first start to its last end, in nanoseconds.
    pub fn duration(&self) -> u64 {
        self.spans.iter().map(|span| span.end).max().unwrap_or(0).saturating_sub(self.start())
    }

    /// Its spans as a tree, parents before children, siblings by start; commands that follow each other share a row. A span
    /// whose parent is not there stands as a root, so that every span is shown once, whatever the parents say.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let ids: HashSet<&str> = self.spans.iter().map(|span| &*span.id).collect();
        let mut children: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, span) in self.spans.iter().enumerate() {
            children.entry(&span.parent).or_default().push(index);
        }
        let parents: HashSet<&str> = children.keys().copied().collect();
        let mut rows = Vec::with_capacity(self.spans.len());
        let mut shown = vec![false; self.spans.len()];
        let is_root = |index: &usize| !ids.contains(&*self.spans[*index].parent);
        // Behind the roots, spans that are each other's ancestors.
        for index in (0..self.spans.len()).filter(is_root).chain(0..self.spans.len()) {
            if shown[index] {
                continue;
            }
            // Not by recursion: a chain may be as long as there are spans.
            let mut places = vec![Place::root(index)];
            while let Some(place) = places.pop() {
                let Some((&first, more)) = place.spans.split_first() else { continue };
                place.spans.iter().for_each(|&span| shown[span] = true);
                let span = &self.spans[first];
                let mut below = children.remove(&*span.id).unwrap_or_default();
                below.retain(|&child| !shown[child]);
                places.extend(self.places(&below, &place, &parents).into_iter().rev());
                let missing = (!span.parent.is_empty() && !ids.contains(&*span.parent)).then_some(&*span.parent);
                let more = more.iter().map(|&other| &self.spans[other]).collect();
                rows.push(Row { branch: place.branch, span, more, missing });
            }
        }
        rows
    }

    /// Where the `children` of a row stand, in their order.
    fn places(&self, children: &[usize], parent: &Place, parents: &HashSet<&str>) -> Vec<Place> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for &child in children {
            match groups.last_mut() {
                Some(group) if self.share_a_row(group.last().copied(), child, parents) => group.push(child),
                _ => groups.push(vec![child]),
            }
        }
        let (count, depth) = (groups.len(), parent.depth + 1);
        let place = |(position, spans): (usize, Vec<usize>)| {
            let is_inferred = spans.first().is_some_and(|&first| self.spans[first].cause.is_some());
            let corner = match (position + 1 == count, is_inferred) {
                (true, false) => "└─ ",
                (true, true) => "└╌ ",
                (false, false) => "├─ ",
                (false, true) => "├╌ ",
            };
            if depth > DEEPEST {
                let branch = format!("…{depth} {corner}");
                return Place { spans, depth, branch, below: String::new() };
            }
            let line = if position + 1 == count { "   " } else { "│  " };
            Place {
                spans,
                depth,
                branch: format!("{}{corner}", parent.below),
                below: format!("{}{line}", parent.below),
            }
        };
        groups.into_iter().enumerate().map(place).collect()
    }

    /// Whether two siblings that follow each other are commands of which nothing more is to be told than their names.
    fn share_a_row(&self, first: Option<usize>, second: usize, parents: &HashSet<&str>) -> bool {
        let is_plain = |span: &Span| {
            span.kind == Kind::Client && span.error.is_none() && span.links.is_empty() && !parents.contains(&*span.id)
        };
        let Some(first) = first.map(|first| &self.spans[first]) else { return false };
        let second = &self.spans[second];
        is_plain(first)
            && is_plain(second)
            && first.service == second.service
            && first.cause.is_some() == second.cause.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(id: &str, parent: &str, start: u64) -> Span {
        Span { id: id.to_owned(), parent: parent.to_owned(), start, end: start, ..Span::default() }
    }

    fn command(id: &str, start: u64) -> Span {
        Span { kind: Kind::Client, end: start + 2, ..at(id, "a", start) }
    }

    fn drawn(spans: Vec<Span>) -> Vec<String> {
        let trace = Trace::new("t".to_owned(), spans);
        trace.rows().iter().map(|row| format!("{}{}", row.branch, row.span.id)).collect()
    }

    #[test]
    fn children_stand_beneath_their_parents_by_start() {
        let spans = vec![at("d", "b", 5), at("c", "a", 3), at("b", "a", 2), at("a", "", 1), at("e", "c", 9)];
        assert_eq!(drawn(spans), ["a", "├─ b", "│  └─ d", "└─ c", "   └─ e"]);
    }

    #[test]
    fn every_span_is_shown_once_even_if_parents_are_missing_or_run_in_a_circle() {
        let spans = vec![at("x", "gone", 1), at("y", "x", 2), at("m", "n", 3), at("n", "m", 4), at("s", "s", 5)];
        assert_eq!(drawn(spans), ["x", "└─ y", "m", "└─ n", "s"]);
        let twice = vec![at("a", "", 1), at("a", "", 2), at("b", "a", 3)];
        assert_eq!(drawn(twice), ["a", "└─ b", "a"]);
    }

    #[test]
    fn a_root_whose_parent_is_not_there_says_so() {
        let trace = Trace::new("t".to_owned(), vec![at("x", "gone", 1), at("y", "x", 2), at("z", "", 3)]);
        let missing: Vec<_> = trace.rows().iter().map(|row| row.missing).collect();
        assert_eq!(missing, [Some("gone"), None, None]);
    }

    #[test]
    fn commands_that_follow_each_other_share_a_row() {
        let failed = Span { error: Some("OOM".to_owned()), ..command("f", 7) };
        let spans = vec![
            at("a", "", 1),
            command("b", 2),
            command("c", 3),
            at("d", "a", 4),
            command("e", 5),
            failed,
            command("g", 8),
        ];
        let trace = Trace::new("t".to_owned(), spans);
        let rows = trace.rows();
        let drawn: Vec<String> =
            rows.iter().map(|row| format!("{}{}+{}", row.branch, row.span.id, row.more.len())).collect();
        assert_eq!(drawn, ["a+0", "├─ b+1", "├─ d+0", "├─ e+0", "├─ f+0", "└─ g+0"]);
        assert_eq!(rows[1].end(), 5);
    }

    #[test]
    fn a_dashed_line_leads_to_what_was_inferred() {
        let inferred = |span: Span| Span { cause: Some("token".to_owned()), ..span };
        let spans = vec![at("a", "", 1), inferred(at("b", "a", 2)), command("c", 3), inferred(command("d", 4))];
        assert_eq!(drawn(spans), ["a", "├╌ b", "├─ c", "└╌ d"]);
    }

    #[test]
    fn a_long_chain_takes_neither_the_stack_nor_the_width() {
        let id = |number: u64| if number == 0 { String::new() } else { number.to_string() };
        let chain = (1..=10_000).map(|number| at(&id(number), &id(number - 1), number)).collect();
        let drawn = drawn(chain);
        assert_eq!(drawn.len(), 10_000);
        assert_eq!(drawn[16], format!("{}└─ 17", " ".repeat(45)));
        assert_eq!([&*drawn[17], &*drawn[9_999]], ["…17 └─ 18", "…9999 └─ 10000"]);
    }
}
