//! What happens on the stage: reports are ordered, their parts arrive, and the traces are shown and judged.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use otlp_receiver::{ReceivedRequest, Receiver};

use crate::check::{Expected, Subject};
use crate::failure::Failure;
use crate::options::Options;
use crate::processes::Processes;
use crate::relay::Destination;
use crate::screen::Screen;
use crate::services::{self, API, Cast};
use crate::tree::{self, Trace};

const TITLES: [&str; 3] = ["Sales by month", "Visitors by month", "Support calls by month"];

/// How long the spans of a finished transaction may be on their way.
const SPANS_DEADLINE: Duration = Duration::from_secs(10);

/// How long after its last span an unfinished transaction is shown as it is (`--keep`).
const PATIENCE: Duration = Duration::from_secs(3);

/// How often unfinished transactions and the processes are looked at (`--keep`).
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) struct Story<'a> {
    screen: &'a Screen,
    receiver: &'a Arc<Receiver>,
    destination: Option<&'a Destination>,
    keep: bool,
    cast: Option<Cast>,
    /// Trace ids that have been shown.
    shown: HashSet<String>,
}

impl<'a> Story<'a> {
    pub(crate) fn new(screen: &'a Screen, receiver: &'a Arc<Receiver>, destination: Option<&'a Destination>) -> Self {
        Self { screen, receiver, destination, keep: false, cast: None, shown: HashSet::new() }
    }

    /// The whole story: start, order, wait, show, judge.
    pub(crate) async fn tell(&mut self, options: &Options, processes: &mut Processes) -> Result<(), Failure> {
        self.keep = options.keep;
        self.screen.heading("On the stage: each service has a Redis URL, and no line of tracing in its code");
        let cast = self.cast.insert(services::start(options, self.screen, self.receiver, processes).await?);

        self.screen.heading("What a client sees");
        let started = Instant::now();
        let mut ids = Vec::new();
        for title in TITLES {
            let id = cast.api.order(title).await?;
            self.screen.line(format_args!("  POST /reports  202  {title} -> /reports/{id}"));
            ids.push(id);
        }
        for id in &ids {
            let parts = cast.api.parts(id).await?;
            let took = started.elapsed().as_millis();
            self.screen.line(format_args!("  GET /reports/{id}  200  after {took} ms: {}", parts.join(", ")));
        }
        processes.all_run()?;
        self.show_all().await?;
        if self.keep {
            self.suggest(&ids);
        }
        Ok(())
    }

    /// Shows new transactions as they come; ends only by a failure.
    pub(crate) async fn go_on(&mut self, processes: &mut Processes) -> Result<(), Failure> {
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
                let problems = self.expected().problems(&trace);
                let ready = problems.is_empty() || last_arrival.elapsed() > PATIENCE;
                if ready && self.shown.insert(trace.id.clone()) {
                    self.show(&trace, "Transaction");
                    problems.iter().for_each(|problem| self.screen.bad(&format!("  {problem}")));
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
        let problems = self.expected().problems_in_all(&traces, TITLES.len());
        if !problems.is_empty() {
            return Err(Failure::Incomplete(problems));
        }
        let spans: usize = traces.iter().map(|trace| trace.spans.len()).sum();
        let workers = self.expected().workers.len();
        self.screen.good(&format!(
            "Complete: {} reports, each followed from the API into {workers} workers, and every announcement back. \
             {spans} spans, none missing.",
            TITLES.len()
        ));
        Ok(())
    }

    /// Waits for the traces to be complete and shows them, complete or not. What is missing is for [`Story::conclude`]
    /// to say, when nothing more can arrive, or for this function if the story goes on.
    async fn show_all(&mut self) -> Result<(), Failure> {
        let problems = |requests: &[ReceivedRequest]| {
            let accepted = requests.iter().filter(|request| request.accepted);
            let spans: Vec<_> = accepted.flat_map(ReceivedRequest::spans).collect();
            self.expected().problems_in_all(&tree::traces(&spans), TITLES.len())
        };
        let complete = self.receiver.wait_for(SPANS_DEADLINE, |requests| problems(requests).is_empty()).await;

        let traces = tree::traces(&self.receiver.spans());
        let (announcements, orders): (Vec<_>, Vec<_>) =
            traces.iter().partition(|trace| Subject::of(trace) == Subject::Announcement);
        self.screen.heading("What the sidecars tell: one trace for each report, from the API into every worker");
        for (index, trace) in orders.iter().enumerate() {
            self.show(trace, &format!("Transaction {} of {}", index + 1, orders.len()));
        }
        self.screen
            .heading("The workers' announcements: traces of their own, since a sidecar does not see inside a service");
        announcements.iter().for_each(|trace| self.show(trace, "Announcement"));

        let found = if complete.is_ok() { Vec::new() } else { problems(&self.receiver.requests()) };
        self.shown.extend(traces.into_iter().map(|trace| trace.id));
        if self.keep && !found.is_empty() { Err(Failure::Incomplete(found)) } else { Ok(()) }
    }

    /// What to try while everything runs.
    fn suggest(&self, ids: &[String]) {
        let Some(cast) = &self.cast else { return };
        let url = cast.api.url();
        self.screen.heading("Everything keeps running until Ctrl-C. Try, in another terminal:");
        self.screen.line(format_args!("  curl -i {url}/reports -d '{{\"title\": \"My own report\"}}'"));
        if let Some(id) = ids.first() {
            self.screen.line(format_args!("  curl '{url}/reports/{id}?wait=10'"));
        }
        self.screen.line(format_args!("  curl {url}/reports -d 'no JSON'"));
        self.screen.line("New transactions appear here.");
    }

    fn show(&self, trace: &Trace, title: &str) {
        match Subject::of(trace) {
            Subject::Announcement => self.screen.announcement(trace),
            Subject::Order | Subject::Unknown => {
                let link = self.destination.map(|destination| destination.link(&trace.id));
                self.screen.tree(trace, title, link.as_deref());
            }
        }
    }

    fn expected(&self) -> Expected<'_> {
        Expected { api: API, workers: self.cast.as_ref().map_or(&[], |cast| &cast.workers) }
    }
}
