//! Whether the traces tell the whole story, and in plain words what is missing if not.

use otlp_receiver::proto::trace::v1::span::SpanKind;

use crate::redis::{ANNOUNCEMENTS, JOBS};
use crate::tree::{Span, Trace};

/// What a trace is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The API hands a job to the workers.
    Order,
    /// A worker announces its part to the API.
    Announcement,
    /// Neither.
    Unknown,
}

/// Who takes part, by `service.name`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) api: &'a str,
    pub(crate) workers: &'a [String],
}

impl Subject {
    /// By the channel of the trace's first span.
    pub(crate) fn of(trace: &Trace) -> Self {
        match trace.spans.first().map(|span| span.channel.as_str()) {
            Some(JOBS) => Self::Order,
            Some(ANNOUNCEMENTS) => Self::Announcement,
            _ => Self::Unknown,
        }
    }
}

impl Expected<'_> {
    /// What keeps `traces` from being `orders` complete transactions with all their announcements, and nothing else.
    pub(crate) fn problems_in_all(&self, traces: &[Trace], orders: usize) -> Vec<String> {
        let mut problems: Vec<String> = traces.iter().flat_map(|trace| self.problems(trace)).collect();
        let seen = traces.iter().filter(|trace| Subject::of(trace) == Subject::Order).count();
        if seen != orders {
            problems.push(format!("{orders} reports were ordered, but {seen} traces begin on `{JOBS}`"));
        }
        for worker in self.workers {
            let by_worker = |trace: &&Trace| {
                Subject::of(trace) == Subject::Announcement
                    && trace.spans.iter().any(|span| span.kind == SpanKind::Producer && span.service == *worker)
            };
            let seen = traces.iter().filter(by_worker).count();
            if seen != orders {
                problems.push(format!("{worker} made {orders} parts, but published {seen} times on `{ANNOUNCEMENTS}`"));
            }
        }
        problems
    }

    /// What keeps `trace` from being complete.
    pub(crate) fn problems(&self, trace: &Trace) -> Vec<String> {
        let found = match Subject::of(trace) {
            Subject::Order => fan_out_problems(trace, JOBS, &[self.api.to_owned()], self.workers),
            Subject::Announcement => fan_out_problems(trace, ANNOUNCEMENTS, self.workers, &[self.api.to_owned()]),
            Subject::Unknown => vec!["it is about neither channel of the story".to_owned()],
        };
        found.into_iter().map(|problem| format!("trace {}: {problem}", trace.id)).collect()
    }
}

/// One publish by one of `publishers`, received exactly once by each of `consumers`, and nothing else.
fn fan_out_problems(trace: &Trace, channel: &str, publishers: &[String], consumers: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    let producers: Vec<&Span> = trace.spans.iter().filter(|span| span.kind == SpanKind::Producer).collect();
    if let [producer] = producers[..] {
        producer_problems(producer, channel, publishers, consumers.len(), &mut problems);
    } else {
        problems.push(format!("{} producer spans instead of one", producers.len()));
    }
    for consumer in consumers {
        let of_consumer = |span: &&Span| span.kind == SpanKind::Consumer && span.service == *consumer;
        match trace.spans.iter().filter(of_consumer).count() {
            1 => {}
            0 => problems.push(format!("no consumer span from {consumer}")),
            count => problems.push(format!("{count} consumer spans from {consumer} instead of one")),
        }
    }
    for span in trace.spans.iter().filter(|span| span.kind != SpanKind::Producer) {
        let Span { service, name, .. } = span;
        if span.kind != SpanKind::Consumer || !consumers.contains(service) {
            problems.push(format!("a span `{name}` of {service} that does not belong to the story"));
            continue;
        }
        if name != &format!("process {channel}") {
            problems.push(format!("the consumer span of {service} is called `{name}`"));
        }
        if producers.iter().all(|producer| producer.id != span.parent) {
            problems.push(format!("the parent of {service}'s span is not the publish"));
        }
        if let Some(error) = &span.error {
            problems.push(format!("the delivery to {service} failed: {error}"));
        }
    }
    problems
}

fn producer_problems(
    producer: &Span,
    channel: &str,
    publishers: &[String],
    receivers: usize,
    problems: &mut Vec<String>,
) {
    let Span { service, name, .. } = producer;
    if !publishers.contains(service) {
        problems.push(format!("{service} published on `{channel}`"));
    }
    if name != &format!("publish {channel}") {
        problems.push(format!("the producer span is called `{name}`"));
    }
    if !producer.parent.is_empty() {
        problems.push("the producer span has a parent, though nothing came before it".to_owned());
    }
    if let Some(error) = &producer.error {
        problems.push(format!("the publish failed: {error}"));
    }
    match producer.receivers {
        Some(count) if usize::try_from(count) == Ok(receivers) => {}
        Some(count) => problems.push(format!("Redis counted {count} receivers, {receivers} are subscribed")),
        None => problems.push("the producer span does not tell the number of receivers".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::fan_out;

    fn problems(change: impl FnOnce(&mut Trace)) -> Vec<String> {
        let workers = ["w1", "w2"].map(str::to_owned);
        let mut trace = fan_out("t", JOBS, "api", &[("w1", 1, 2), ("w2", 1, 3)]);
        change(&mut trace);
        let found = Expected { api: "api", workers: &workers }.problems(&trace);
        found.iter().map(|problem| problem.strip_prefix("trace t: ").unwrap().to_owned()).collect()
    }

    #[test]
    fn a_complete_transaction_has_no_problem() {
        assert_eq!(problems(|_| {}), [""; 0]);
    }

    #[test]
    fn each_gap_is_named() {
        // By start: the publish, then the deliveries.
        const PUBLISH: usize = 0;
        const TO_W2: usize = 2;
        type Change = fn(&mut Vec<Span>);
        let cases: [(Change, &[&str]); 9] = [
            (|spans| _ = spans.remove(TO_W2), &["no consumer span from w2"]),
            (
                |spans| _ = spans.remove(PUBLISH),
                &[
                    "0 producer spans instead of one",
                    "the parent of w1's span is not the publish",
                    "the parent of w2's span is not the publish",
                ],
            ),
            (|spans| spans.push(spans[TO_W2].clone()), &["2 consumer spans from w2 instead of one"]),
            (|spans| spans[TO_W2].parent = "other".to_owned(), &["the parent of w2's span is not the publish"]),
            (|spans| spans[PUBLISH].receivers = Some(1), &["Redis counted 1 receivers, 2 are subscribed"]),
            (|spans| spans[PUBLISH].receivers = None, &["the producer span does not tell the number of receivers"]),
            (|spans| spans[PUBLISH].error = Some("NOPERM".to_owned()), &["the publish failed: NOPERM"]),
            (
                |spans| spans[TO_W2].service = "stranger".to_owned(),
                &["no consumer span from w2", "a span `process reports` of stranger that does not belong to the story"],
            ),
            (
                |spans| {
                    spans[PUBLISH].service = "w1".to_owned();
                    spans[PUBLISH].parent = "x".to_owned();
                },
                &["w1 published on `reports`", "the producer span has a parent, though nothing came before it"],
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(problems(|trace| change(&mut trace.spans)), expected);
        }
    }

    #[test]
    fn the_number_of_traces_is_checked_too() {
        let workers = ["w1"].map(str::to_owned);
        let expected = Expected { api: "api", workers: &workers };
        let order = fan_out("o", JOBS, "api", &[("w1", 1, 2)]);
        let announcement = fan_out("a", ANNOUNCEMENTS, "w1", &[("api", 1, 2)]);
        assert_eq!(expected.problems_in_all(&[order.clone(), announcement.clone()], 1), [""; 0]);
        assert_eq!(
            expected.problems_in_all(std::slice::from_ref(&order), 1),
            ["w1 made 1 parts, but published 0 times on `reports.done`"]
        );
        assert_eq!(
            expected.problems_in_all(std::slice::from_ref(&announcement), 1),
            ["1 reports were ordered, but 0 traces begin on `reports`"]
        );
        let other = fan_out("x", "elsewhere", "api", &[]);
        assert_eq!(
            expected.problems_in_all(&[order, announcement, other], 1),
            ["trace x: it is about neither channel of the story"]
        );
    }
}
