//! What happens on the stage: reports are ordered, their parts arrive, and the traces are shown and judged.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use otlp_receiver::{ReceivedRequest, Receiver};
use tokio::task::JoinSet;

use crate::check::{Expected, ORDER};
use crate::client::{ApiClient, Ordered};
use crate::failure::Failure;
use crate::processes::Processes;
use crate::programs::Programs;
use crate::relay::Destination;
use crate::screen::Screen;
use crate::services::{self, API, Cast};
use crate::tree::{self, Trace};

/// What ordinary clients order, again and again.
const TITLES: [&str; 3] = ["Sales by month", "Visitors by month", "Support calls by month"];

/// How long ordinary reports are ordered before the ones that are shown. A sidecar tells no cause in the first five seconds, and
/// then only of commands such as it has seen eight times.
const WARM_UP: Duration = Duration::from_secs(6);

/// The pauses between ordinary orders in milliseconds, in turn. People do not order at regular times.
const PAUSES: [u64; 7] = [90, 260, 150, 410, 60, 320, 180];

/// Where the sales were that are reported of all at once. Each name has a length of its own, by which its job is known.
const PLACES: [&str; 20] = [
    "Ulm",
    "Rome",
    "Paris",
    "London",
    "Hamburg",
    "Helsinki",
    "Edinburgh",
    "Copenhagen",
    "Los Angeles",
    "Johannesburg",
    "San Francisco",
    "Salt Lake City",
    "Charlottesville",
    "Colorado Springs",
    "Frankfurt am Main",
    "Kingston upon Hull",
    "Newcastle upon Tyne",
    "Newcastle-under-Lyme",
    "San Miguel de Allende",
    "Santa Cruz de Tenerife",
];

/// How long the spans of a finished transaction may be on their way.
const SPANS_DEADLINE: Duration = Duration::from_secs(15);

/// How long after its last span an unfinished transaction is shown as it is (`--keep`).
const PATIENCE: Duration = Duration::from_secs(8);

/// How often unfinished transactions and the processes are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) struct Story<'a> {
    screen: &'a Screen,
    receiver: &'a Arc<Receiver>,
    destination: Option<&'a Destination>,
    keep: bool,
    cast: Option<Cast>,
    /// Orders so far, from which each gets its number.
    orders: u32,
    /// The reports whose traces are judged.
    judged: Vec<Ordered>,
}

impl<'a> Story<'a> {
    pub(crate) fn new(screen: &'a Screen, receiver: &'a Arc<Receiver>, destination: Option<&'a Destination>) -> Self {
        Self { screen, receiver, destination, keep: false, cast: None, orders: 0, judged: Vec::new() }
    }

    /// The whole story: start, learn, order, wait, show, judge.
    pub(crate) async fn tell(
        &mut self,
        keep: bool,
        programs: &Programs,
        processes: &mut Processes,
    ) -> Result<(), Failure> {
        self.keep = keep;
        self.screen.heading("On the stage: each service has a Redis URL, and no line of tracing in its code");
        let cast = services::start(programs, self.screen, self.receiver, processes).await?;
        let api = cast.api.clone();
        self.cast = Some(cast);

        self.warm_up(&api, processes).await?;
        let one = self.one_report(&api, processes).await?;
        self.many_reports(&api, processes).await?;
        if self.keep {
            self.suggest(&one);
        }
        Ok(())
    }

    /// Lets the services work, so that their sidecars see what they do.
    async fn warm_up(&mut self, api: &ApiClient, processes: &mut Processes) -> Result<(), Failure> {
        self.screen
            .heading(&format!("Warming up for {} s: clients order reports, and the sidecars learn", WARM_UP.as_secs()));
        let ends = Instant::now() + WARM_UP;
        let mut clients = JoinSet::new();
        for pause in PAUSES.into_iter().cycle() {
            if Instant::now() >= ends {
                break;
            }
            let title = TITLES.into_iter().cycle().nth(self.orders as usize % TITLES.len()).unwrap_or_default();
            clients.spawn(order(api.clone(), title.to_owned(), self.number()));
            tokio::time::sleep(Duration::from_millis(pause)).await;
            processes.all_run()?;
        }
        let reports = finish(clients).await?;
        self.screen.line(format_args!("  {} reports, and all their parts", reports.len()));
        Ok(())
    }

    /// One report, and its trace.
    async fn one_report(&mut self, api: &ApiClient, processes: &mut Processes) -> Result<Ordered, Failure> {
        self.screen.heading("One report");
        let number = self.number();
        let started = Instant::now();
        let report = api.order(TITLES[0], &number).await?;
        self.screen.line(format_args!("  POST /reports  202  {}, {number}", report.title));
        let parts = api.parts(&report.id).await?;
        let took = started.elapsed().as_millis();
        let parts = parts.len();
        self.screen.line(format_args!("  GET /reports/{}  200  after {took} ms, {parts} parts", report.id));
        self.judged.push(report.clone());
        let (traces, problems) = self.await_traces(processes, std::slice::from_ref(&report)).await?;
        if let Some(trace) = traces.iter().find(|trace| trace.id == report.trace) {
            self.show(trace, "Its trace");
        }
        self.stop_at(problems)?;
        Ok(report)
    }

    /// Many reports at once, and their traces.
    async fn many_reports(&mut self, api: &ApiClient, processes: &mut Processes) -> Result<(), Failure> {
        let many = PLACES.len();
        self.screen.heading(&format!("{many} reports at once"));
        let started = Instant::now();
        let mut clients = JoinSet::new();
        for place in PLACES {
            clients.spawn(order(api.clone(), format!("Sales in {place}"), self.number()));
        }
        let reports = finish(clients).await?;
        let took = started.elapsed().as_millis();
        self.screen
            .line(format_args!("  {many} x POST /reports  202, and {many} x GET /reports/...  200, within {took} ms"));
        self.judged.extend(reports.iter().cloned());
        let (traces, problems) = self.await_traces(processes, &reports).await?;
        let mut told: Vec<(&Trace, &str)> = traces
            .iter()
            .filter_map(|trace| Some((trace, &*reports.iter().find(|report| report.trace == trace.id)?.title)))
            .collect();
        told.sort_by_key(|(trace, _)| trace.duration());
        if let Some((last, _)) = told.last() {
            self.show(last, "The last of them");
        }
        self.screen.transactions(told);
        self.stop_at(problems)
    }

    /// With `--keep` an incomplete trace ends the story here. Otherwise the last word is [`Story::conclude`]'s, when nothing more
    /// can arrive.
    fn stop_at(&self, problems: Vec<String>) -> Result<(), Failure> {
        if self.keep && !problems.is_empty() { Err(Failure::Incomplete(problems)) } else { Ok(()) }
    }

    /// Waits until the traces of these reports are complete, and returns all traces and what is still missing.
    async fn await_traces(
        &self,
        processes: &mut Processes,
        reports: &[Ordered],
    ) -> Result<(Vec<Trace>, Vec<String>), Failure> {
        let deadline = Instant::now() + SPANS_DEADLINE;
        loop {
            let arrived = self.receiver.requests().len();
            let traces = tree::traces(&self.receiver.spans());
            let problems = self.expected().problems_in_all(&traces, reports);
            if problems.is_empty() || Instant::now() >= deadline {
                return Ok((traces, problems));
            }
            processes.all_run()?;
            // Whether something has come or not: the next look tells.
            let _ = self.receiver.wait_for(LOOK_INTERVAL, |requests| requests.len() > arrived).await;
        }
    }

    /// Shows new transactions as they come; ends only by a failure.
    pub(crate) async fn go_on(&mut self, processes: &mut Processes) -> Result<(), Failure> {
        let mut shown: HashSet<String> =
            tree::traces(&self.receiver.spans()).into_iter().map(|trace| trace.id).collect();
        let mut arrived = self.receiver.requests().len();
        let mut last_arrival = Instant::now();
        loop {
            let more = |requests: &[ReceivedRequest]| requests.len() > arrived;
            if self.receiver.wait_for(LOOK_INTERVAL, more).await.is_ok() {
                arrived = self.receiver.requests().len();
                last_arrival = Instant::now();
            }
            processes.all_run()?;
            for trace in tree::traces(&self.receiver.spans()) {
                if shown.contains(&trace.id) || trace.spans.iter().all(|span| span.name != ORDER) {
                    continue;
                }
                let problems = self.expected().problems(&trace);
                if problems.is_empty() || last_arrival.elapsed() > PATIENCE {
                    self.show(&trace, "Transaction");
                    problems.iter().for_each(|problem| self.screen.bad(&format!("  {problem}")));
                    shown.insert(trace.id);
                }
            }
        }
    }

    /// The last word, when all sidecars have ended and so all spans have arrived.
    pub(crate) fn conclude(&self) -> Result<(), Failure> {
        if self.keep {
            // Who interrupts may do so in the middle of a transaction.
            return Ok(());
        }
        let traces = tree::traces(&self.receiver.spans());
        let problems = self.expected().problems_in_all(&traces, &self.judged);
        if !problems.is_empty() {
            return Err(Failure::Incomplete(problems));
        }
        let is_judged = |trace: &&Trace| self.judged.iter().any(|report| report.trace == trace.id);
        let spans: usize = traces.iter().filter(is_judged).map(|trace| trace.spans.len()).sum();
        self.screen.good(&format!(
            "Complete: 1 report and then {} at once, each in one trace, from its request through {} workers\n\
             to the receipt of every part. {spans} spans, each below what caused it, none missing.",
            PLACES.len(),
            self.expected().workers.len(),
        ));
        Ok(())
    }

    /// What to try while everything runs.
    fn suggest(&self, report: &Ordered) {
        let Some(cast) = &self.cast else { return };
        let url = cast.api.url();
        self.screen.heading("Everything keeps running until Ctrl-C. Try, in another terminal:");
        self.screen.line(format_args!(
            "  curl -i {url}/reports -d '{{\"title\": \"My own report\", \"order\": \"my-12345\"}}'"
        ));
        self.screen.line(format_args!("  curl '{url}/reports/{}?wait=10'", report.id));
        self.screen.line(format_args!("  curl {url}/reports -d 'no JSON'"));
        match self.destination {
            Some(destination) => {
                self.screen.line(format_args!("New transactions appear here, and at {}", destination.page()));
            }
            None => self.screen.line("New transactions appear here."),
        }
    }

    fn show(&self, trace: &Trace, title: &str) {
        let link = self.destination.map(|destination| destination.link(&trace.id));
        self.screen.tree(trace, title, link.as_deref());
    }

    fn expected(&self) -> Expected<'_> {
        Expected { api: API, workers: self.cast.as_ref().map_or(&[], |cast| &cast.workers) }
    }

    /// The client's number of its next order: each is another one.
    fn number(&mut self) -> String {
        self.orders += 1;
        format!("ord-{}", 10_000 + self.orders * 7_919 % 90_000)
    }
}

/// Orders a report, and waits until it is complete.
async fn order(api: ApiClient, title: String, number: String) -> Result<Ordered, Failure> {
    let report = api.order(&title, &number).await?;
    api.parts(&report.id).await?;
    Ok(report)
}

/// Waits for all clients.
async fn finish(mut clients: JoinSet<Result<Ordered, Failure>>) -> Result<Vec<Ordered>, Failure> {
    let mut reports = Vec::with_capacity(clients.len());
    while let Some(report) = clients.join_next().await {
        reports.push(report.map_err(|error| Failure::Api(error.to_string()))??);
    }
    Ok(reports)
}
