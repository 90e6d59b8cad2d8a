//! Whether the traces tell the whole story, and in plain words what is missing if not.

use std::collections::HashSet;

use crate::client::Ordered;
use crate::redis::{ANNOUNCEMENTS, JOBS};
use crate::tree::{Kind, Span, Trace};

/// The request that orders a report.
pub(crate) const ORDER: &str = "POST /reports";

/// What the API sends Redis for an order, besides the publish.
const OF_ORDER: [&str; 1] = ["SETEX"];

/// What a worker sends Redis for a job, besides the publish.
const OF_JOB: [&str; 3] = ["SET", "HINCRBY", "EXPIRE"];

/// The status of an order that was taken.
const ACCEPTED: i64 = 202;

/// How much two spans may differ in when the same moment was, in nanoseconds: each span is dated by itself.
const SAME_TIME: u64 = 1_000;

/// Who takes part, by `service.name`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) api: &'a str,
    pub(crate) workers: &'a [String],
}

impl Expected<'_> {
    /// What keeps `traces` from telling all of these reports, each in the trace of its own request.
    pub(crate) fn problems_in_all(&self, traces: &[Trace], reports: &[Ordered]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut told = Vec::new();
        for report in reports {
            match traces.iter().find(|trace| trace.id == report.trace) {
                Some(trace) => told.push((report, trace)),
                None => problems.push(format!("trace {}: no span of `{}` has come", report.trace, report.title)),
            }
        }
        problems.extend(told.iter().flat_map(|(_, trace)| self.problems(trace)));
        if problems.is_empty() {
            problems.extend(self.mixed_up(&told));
        }
        problems
    }

    /// What keeps `trace` from being one order with all that follows from it, and nothing else.
    pub(crate) fn problems(&self, trace: &Trace) -> Vec<String> {
        let mut walk = Walk { trace, met: HashSet::new(), problems: Vec::new() };
        walk.order(self);
        walk.finish().into_iter().map(|problem| format!("trace {}: {problem}", trace.id)).collect()
    }

    /// Complete traces that have exchanged spans with each other.
    ///
    /// The job's length tells whose publish it is, because it has the title in it. A worker makes one part at a time, in the order
    /// in which the jobs came, and so it announces them.
    fn mixed_up(&self, told: &[(&Ordered, &Trace)]) -> Vec<String> {
        let mut problems = Vec::new();
        let besides_title = |(report, trace): &(&Ordered, &Trace)| {
            let publish = trace.spans.iter().find(|span| span.name == publish(JOBS))?;
            Some(publish.body_size? - i64::try_from(report.title.len()).ok()?)
        };
        for pair in told.windows(2) {
            let [first, second] = pair else { continue };
            if besides_title(first) != besides_title(second) {
                problems.push(format!("trace {}: the job of another report is in it", second.1.id));
            }
        }
        for worker in self.workers {
            for name in OF_JOB.into_iter().map(str::to_owned).chain([publish(ANNOUNCEMENTS)]) {
                let mut jobs: Vec<_> = told
                    .iter()
                    .filter_map(|(_, trace)| {
                        let start = |name: &str| {
                            trace
                                .spans
                                .iter()
                                .find(|span| span.service == *worker && span.name == name)
                                .map(|s| s.start)
                        };
                        Some((start(&process(JOBS))?, start(&name)?, trace))
                    })
                    .collect();
                // Nothing tells the order of jobs that were delivered in one piece.
                jobs.sort_by_key(|(delivery, act, _)| (*delivery, *act));
                for (at, (delivery, act, trace)) in jobs.iter().enumerate() {
                    let before = jobs.iter().take(at).filter(|(earlier, ..)| earlier + SAME_TIME < *delivery);
                    if before.into_iter().any(|(_, earlier, _)| earlier > act) {
                        problems.push(format!("trace {}: a `{name}` of {worker} for another report", trace.id));
                    }
                }
            }
        }
        problems
    }
}

/// The name of the span of a publish on this channel.
pub(crate) fn publish(channel: &str) -> String {
    format!("publish {channel}")
}

/// The name of the span of a delivery from this channel.
pub(crate) fn process(channel: &str) -> String {
    format!("process {channel}")
}

/// A walk through a trace along the story.
struct Walk<'a> {
    trace: &'a Trace,
    /// The ids of the spans that have their place in it.
    met: HashSet<&'a str>,
    problems: Vec<String>,
}

impl<'a> Walk<'a> {
    fn order(&mut self, expected: &Expected<'_>) {
        let Some(request) = self.one(None, Kind::Server, expected.api, ORDER) else { return };
        if request.status != Some(ACCEPTED) {
            self.problems.push(format!("the request was answered {:?} instead of {ACCEPTED}", request.status));
        }
        for name in OF_ORDER {
            self.one(Some(request), Kind::Client, expected.api, name);
        }
        let job = self.publish(request, expected.api, JOBS, expected.workers.len());
        let Some(job) = job else { return };
        for worker in expected.workers {
            let Some(delivery) = self.one(Some(job), Kind::Consumer, worker, &process(JOBS)) else { continue };
            for name in OF_JOB {
                self.one(Some(delivery), Kind::Client, worker, name);
            }
            let Some(announcement) = self.publish(delivery, worker, ANNOUNCEMENTS, 1) else { continue };
            if delivery.end + SAME_TIME < announcement.end {
                self.problems.push(format!("the span of the job of {worker} ends before its announcement"));
            }
            self.one(Some(announcement), Kind::Consumer, expected.api, &process(ANNOUNCEMENTS));
        }
    }

    fn publish(&mut self, parent: &Span, publisher: &str, channel: &str, receivers: usize) -> Option<&'a Span> {
        let span = self.one(Some(parent), Kind::Producer, publisher, &publish(channel))?;
        match span.receivers {
            Some(count) if usize::try_from(count) == Ok(receivers) => {}
            Some(count) => {
                let problem = format!("Redis counted {count} receivers of `{}`, {receivers} are subscribed", span.name);
                self.problems.push(problem);
            }
            None => self.problems.push(format!("`{}` does not tell the number of receivers", span.name)),
        }
        Some(span)
    }

    /// The one span of a service with this kind and name below `parent`, which without a parent is the root.
    fn one(&mut self, parent: Option<&Span>, kind: Kind, service: &str, name: &str) -> Option<&'a Span> {
        let id = parent.map_or("", |parent| &parent.id);
        let is_it =
            |span: &&Span| span.parent == id && span.kind == kind && span.service == service && span.name == name;
        let found: Vec<&Span> = self.trace.spans.iter().filter(is_it).collect();
        let place = parent.map_or_else(|| "as the root".to_owned(), |p| format!("below `{}` of {}", p.name, p.service));
        let [span] = found[..] else {
            self.problems.push(format!("{} spans `{name}` of {service} {place} instead of one", found.len()));
            return None;
        };
        self.met.insert(&span.id);
        if let Some(error) = &span.error {
            self.problems.push(format!("`{name}` of {service} failed: {error}"));
        }
        if parent.is_some_and(|parent| span.start < parent.start) {
            self.problems.push(format!("`{name}` of {service} begins before what caused it"));
        }
        Some(span)
    }

    /// All problems, those of spans without a place in the story among them.
    fn finish(mut self) -> Vec<String> {
        for span in self.trace.spans.iter().filter(|span| !self.met.contains(&*span.id)) {
            let Span { name, service, .. } = span;
            self.problems.push(format!("`{name}` of {service} has a wrong parent, or does not belong to the story"));
        }
        self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::transaction;

    const WORKERS: [&str; 2] = ["w1", "w2"];

    fn problems_in(traces: &[Trace], titles: &[&str]) -> Vec<String> {
        let workers = WORKERS.map(str::to_owned);
        let reports: Vec<Ordered> = traces
            .iter()
            .zip(titles)
            .map(|(trace, title)| Ordered { id: String::new(), title: (*title).to_owned(), trace: trace.id.clone() })
            .collect();
        Expected { api: "api", workers: &workers }.problems_in_all(traces, &reports)
    }

    fn problems(change: impl FnOnce(&mut Trace)) -> Vec<String> {
        let mut trace = transaction("t", "api", &WORKERS);
        change(&mut trace);
        let found = problems_in(&[trace], &["Sales"]);
        found.iter().map(|problem| problem.strip_prefix("trace t: ").unwrap().to_owned()).collect()
    }

    /// The span of a service with this name.
    fn at<'a>(trace: &'a mut Trace, service: &str, name: &str) -> &'a mut Span {
        trace.spans.iter_mut().find(|span| span.service == service && span.name == name).unwrap()
    }

    #[test]
    fn a_complete_transaction_has_no_problem() {
        assert_eq!(problems(|_| {}), [""; 0]);
    }

    /// Whatever span is missing, or stands below any other span than its own cause, is noticed.
    #[test]
    fn no_span_can_be_missing_or_have_a_wrong_parent() {
        let whole = transaction("t", "api", &WORKERS);
        assert_eq!(whole.spans.len(), 3 + WORKERS.len() * 6);
        for at in 0..whole.spans.len() {
            assert_ne!(problems(|trace| _ = trace.spans.remove(at)), [""; 0], "without {:?}", whole.spans[at]);
            assert_ne!(problems(|trace| trace.spans.push(trace.spans[at].clone())), [""; 0], "twice");
            assert_ne!(problems(|trace| trace.spans[at].error = Some("NOPERM".to_owned())), [""; 0], "failed");
            for parent in whole.spans.iter().map(|span| &*span.id).chain(["", "other"]) {
                let found = problems(|trace| trace.spans[at].parent = parent.to_owned());
                assert_eq!(found.is_empty(), whole.spans[at].parent == parent, "{:?} below {parent}", whole.spans[at]);
            }
        }
    }

    #[test]
    fn each_gap_is_named() {
        type Change = fn(&mut Trace);
        let cases: [(Change, &[&str]); 6] = [
            (
                |trace| at(trace, "w2", "SET").parent = "other".to_owned(),
                &[
                    "0 spans `SET` of w2 below `process reports` of w2 instead of one",
                    "`SET` of w2 has a wrong parent, or does not belong to the story",
                ],
            ),
            (
                |trace| trace.spans.retain(|span| span.name != "process reports.done" || span.parent != "w1-done"),
                &["0 spans `process reports.done` of api below `publish reports.done` of w1 instead of one"],
            ),
            (
                |trace| at(trace, "api", "publish reports").receivers = Some(1),
                &["Redis counted 1 receivers of `publish reports`, 2 are subscribed"],
            ),
            (
                |trace| at(trace, "w1", "publish reports.done").receivers = None,
                &["`publish reports.done` does not tell the number of receivers"],
            ),
            (
                |trace| at(trace, "w1", "process reports").end = at(trace, "w1", "process reports").start,
                &["the span of the job of w1 ends before its announcement"],
            ),
            (
                |trace| at(trace, "api", "POST /reports").status = Some(503),
                &["the request was answered Some(503) instead of 202"],
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(problems(change), *expected);
        }
    }

    /// Two traces that are complete, each with spans of the other.
    #[test]
    fn exchanged_spans_are_noticed() {
        let both = |change: fn(&mut Trace, &mut Trace)| {
            let (mut one, mut two) = (transaction("1", "api", &WORKERS), transaction("2", "api", &WORKERS));
            two.spans.iter_mut().for_each(|span| {
                span.start += 10_000;
                span.end += 10_000;
            });
            at(&mut two, "api", "publish reports").body_size = Some(61 + 3);
            change(&mut one, &mut two);
            problems_in(&[one, two], &["Sales", "Sales 12"])
        };
        assert_eq!(both(|_, _| {}), [""; 0]);
        assert_eq!(
            both(|one, two| {
                std::mem::swap(
                    &mut at(one, "api", "publish reports").body_size,
                    &mut at(two, "api", "publish reports").body_size,
                );
            }),
            ["trace 2: the job of another report is in it"]
        );
        for name in OF_JOB.into_iter().map(str::to_owned).chain([publish(ANNOUNCEMENTS)]) {
            let change = |one: &mut Trace, two: &mut Trace| {
                let (first, second) = (at(one, "w2", &name).start, at(two, "w2", &name).start);
                at(one, "w2", &name).start = second;
                at(two, "w2", &name).start = first;
            };
            let (mut one, mut two) = (transaction("1", "api", &WORKERS), transaction("2", "api", &WORKERS));
            two.spans.iter_mut().for_each(|span| (span.start, span.end) = (span.start + 10_000, span.end + 10_000));
            change(&mut one, &mut two);
            assert_eq!(
                problems_in(&[one, two], &["Sales", "Sales"]),
                [format!("trace 2: a `{name}` of w2 for another report")]
            );
        }
    }

    #[test]
    fn a_report_without_a_trace_is_missed() {
        let trace = transaction("1", "api", &WORKERS);
        let workers = WORKERS.map(str::to_owned);
        let report = Ordered { id: String::new(), title: "Sales".to_owned(), trace: "2".to_owned() };
        let found = Expected { api: "api", workers: &workers }.problems_in_all(&[trace], &[report]);
        assert_eq!(found, ["trace 2: no span of `Sales` has come"]);
    }
}
