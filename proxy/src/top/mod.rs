//! `redistributed top`: what running proxies do, in a terminal.
//!
//! | module | what it knows |
//! |---|---|
//! | `args`, `port` | the options; asking an admin port |
//! | `reading`, `figures` | a page of metrics; rates and percentiles, from two of them |
//! | `channels`, `reasons` | what passes on channels, from `/tap`; what reasons mean |
//! | `model`, `view`, `table` | what is known of all ports; the views of it as tables; a table as text |
//! | `screen`, `keys`, `terminal` | what stands on the screen; what keys do; the terminal itself |
//!
//! Only `port`, `terminal` and this module do anything; the others turn values into values.

mod args;
mod channels;
mod figures;
mod keys;
mod model;
mod port;
mod reading;
mod reasons;
mod screen;
mod table;
mod terminal;
mod view;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use span_tree::Style;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{self, MissedTickBehavior};

pub use args::TopArgs;
use model::Port;
use port::Address;
use screen::{State, notes};
use terminal::{Terminal, pressed};
use view::View;

use crate::settings::units::format_duration;

/// How long a stream of messages is left alone after it has ended or was refused.
const RETRY: Duration = Duration::from_secs(2);

/// The reason why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// The file with the token cannot be used.
    #[error("--admin-token-file: {0}")]
    Token(#[source] io::Error),
    /// The terminal cannot be used, or standard output is closed.
    #[error("the terminal cannot be used: {0}; --once prints plain text")]
    Terminal(#[source] io::Error),
    /// Standard output is closed.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
}

/// News of a port, by its index.
enum News {
    Page(usize, Result<String, String>),
    Line(usize, String),
    Unwatched(usize, Option<String>),
}

/// Shows what the ports tell until it is ended, or once. Returns whether all was well: with `--once`, whether every port was read.
///
/// # Errors
/// See [`TopError`].
pub async fn run(args: TopArgs) -> Result<bool, TopError> {
    let token = args.admin_token_file.as_deref().map(token).transpose().map_err(TopError::Token)?;
    let ports = args.admin.iter().map(|address| Port::new(address.label())).collect();
    // Escape sequences would stand as text on a terminal that takes none.
    let is_able = io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb");
    if args.once || !is_able {
        return once(&args, ports, token).await;
    }
    live(&args, ports, token).await.map(|()| true)
}

fn token(path: &Path) -> io::Result<String> {
    Ok(std::fs::read_to_string(path)?.trim().to_owned())
}

/// Reads every port twice, and prints what the time between shows.
async fn once(args: &TopArgs, mut ports: Vec<Port>, token: Option<String>) -> Result<bool, TopError> {
    let (sender, mut news) = mpsc::channel(1_024);
    let mut tasks = JoinSet::new();
    let (_watching, watched) = watch::channel(true);
    for (index, address) in args.admin.iter().cloned().enumerate().filter(|_| args.channels) {
        tasks.spawn(follow_channels(index, address, token.clone(), watched.clone(), sender.clone()));
    }
    read_all(&args.admin, &mut ports).await;
    let end = time::Instant::now() + args.interval;
    while let Ok(Some(news)) = time::timeout_at(end, news.recv()).await {
        take(news, &mut ports);
    }
    read_all(&args.admin, &mut ports).await;
    let mut text = String::new();
    let views = [View::Proxies, View::Services, View::Skipped, View::Channels];
    for (at, view) in views.into_iter().filter(|view| *view != View::Channels || args.channels).enumerate() {
        let by = State::new().sort(view);
        let lines = view.table(&ports).sorted(by, false, "").lines(None, Style::Plain);
        // Why a port is not reached is said once.
        let notes = if matches!(view, View::Proxies | View::Channels) { notes(view, &ports) } else { Vec::new() };
        let lines = lines.into_iter().chain(notes);
        let gap = if at == 0 { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{gap}{}\n{}", view.name().to_uppercase(), lines.collect::<Vec<_>>().join("\n"));
    }
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(TopError::Output(error)),
        // As in `top --once | head -1`: who has read enough is content.
        _ => {}
    }
    Ok(ports.iter().all(|port| port.problem.is_none()))
}

/// Reads all ports at the same time.
async fn read_all(addresses: &[Address], ports: &mut [Port]) {
    let mut pages = JoinSet::new();
    for (index, address) in addresses.iter().cloned().enumerate() {
        pages.spawn(async move { (index, address.metrics().await) });
    }
    while let Some(page) = pages.join_next().await {
        if let Ok((index, page)) = page {
            take(News::Page(index, page), ports);
        }
    }
}

fn take(news: News, ports: &mut [Port]) {
    let (News::Page(index, _) | News::Line(index, _) | News::Unwatched(index, _)) = &news;
    let Some(port) = ports.get_mut(*index) else { return };
    match news {
        News::Page(_, page) => port.update(page, Instant::now()),
        News::Line(_, line) => {
            port.unwatched = None;
            port.channels.add(&line);
        }
        News::Unwatched(_, reason) => port.unwatched = reason,
    }
}

/// Shows a screen until a key or a signal ends it.
async fn live(args: &TopArgs, mut ports: Vec<Port>, token: Option<String>) -> Result<(), TopError> {
    let (sender, mut news) = mpsc::channel(1_024);
    let (watching, watched) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for (index, address) in args.admin.iter().cloned().enumerate() {
        tasks.spawn(follow_metrics(index, address.clone(), args.interval, sender.clone()));
        tasks.spawn(follow_channels(index, address, token.clone(), watched.clone(), sender.clone()));
    }
    let listen = |kind| signal(kind).map_err(TopError::Terminal);
    let (mut resized, mut ended) = (listen(SignalKind::window_change())?, listen(SignalKind::terminate())?);
    let (mut hung_up, mut interrupted) = (listen(SignalKind::hangup())?, listen(SignalKind::interrupt())?);
    let style = Style::of_output(true, |name| std::env::var(name).ok());
    let terminal = Terminal::take().map_err(TopError::Terminal)?;
    let mut keys = pressed().map_err(TopError::Terminal)?;
    let interval = format_duration(args.interval);
    let mut state = State::new();
    let mut is_stale = true;
    loop {
        if is_stale {
            let lines = state.lines(&ports, terminal.size(), &interval, style);
            terminal.show(&lines).map_err(TopError::Terminal)?;
        }
        is_stale = true;
        tokio::select! {
            key = keys.recv() => {
                if !key.is_some_and(|key| state.press(key, &ports, terminal.size().1)) {
                    return Ok(());
                }
                let watches = state.view == View::Channels;
                watching.send_if_modified(|before| std::mem::replace(before, watches) != watches);
            }
            Some(first) = news.recv() => {
                is_stale = false;
                let mut next = Some(first);
                while let Some(news_of_port) = next {
                    // Lines are shown with the next page, which ends their interval.
                    is_stale |= !matches!(news_of_port, News::Line(..));
                    if !state.is_paused {
                        take(news_of_port, &mut ports);
                    }
                    next = news.try_recv().ok();
                }
            }
            _ = resized.recv() => {}
            _ = interrupted.recv() => return Ok(()),
            _ = ended.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
        }
    }
}

/// Reads a port's metrics at each interval.
async fn follow_metrics(index: usize, address: Address, interval: Duration, news: mpsc::Sender<News>) {
    let mut ticks = time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let page = address.metrics().await;
        if news.send(News::Page(index, page)).await.is_err() {
            return;
        }
    }
}

/// Reads what passes on a port's channels, while it is to be watched.
async fn follow_channels(
    index: usize,
    address: Address,
    token: Option<String>,
    mut watched: watch::Receiver<bool>,
    news: mpsc::Sender<News>,
) {
    while watched.wait_for(|watches| *watches).await.is_ok() {
        let ended = tokio::select! {
            ended = address.tap(token.as_deref(), &news, |line| News::Line(index, line)) => ended,
            _ = watched.wait_for(|watches| !*watches) => continue,
        };
        let reason = ended.err().map(|reason| format!("its messages cannot be watched: {reason}"));
        if news.send(News::Unwatched(index, reason)).await.is_err() {
            return;
        }
        time::sleep(RETRY).await;
    }
}
