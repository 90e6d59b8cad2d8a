//! What a sidecar holds in memory: as a process that serves nobody, and for each connection that is open and idle.

use std::fmt::Write as _;

use crate::failure::Failure;
use crate::load::connection::Connection;
use crate::load::resp::{bulk, command};
use crate::processes::Process;
use crate::targets::{Rig, Seat, Target};
use crate::usage::Memory;

/// Connections at which memory is read, as far as the limit on open files goes.
const STEPS: [usize; 7] = [10, 30, 100, 300, 1000, 3000, 10_000];

/// Bytes of the value that each connection fetches, to see what stays when it is idle again.
const VALUE: usize = 16 * 1024;

/// One new process of a target.
pub(crate) struct Idle {
    pub(crate) target: Target,
    /// Before the first connection.
    pub(crate) alone: Memory,
    /// With so many connections that have sent one PING.
    pub(crate) steps: Vec<(usize, Memory)>,
    /// With all of them, after each has fetched a value of 16 KiB.
    pub(crate) used: Memory,
}

impl Idle {
    /// Starts a process of `target` and opens up to `room` connections through it; `None` for a target without a process.
    pub(crate) fn measure(rig: &Rig<'_>, target: Target, room: usize) -> Result<Option<Self>, Failure> {
        let Some(process) = rig.start_proxy(target, Seat::First, "-memory")? else { return Ok(None) };
        let alone = Memory::read(process.pid())?;
        let mut connections = Vec::new();
        let mut steps = Vec::new();
        let last = room.min(STEPS[STEPS.len() - 1]);
        for count in STEPS.into_iter().filter(|&count| count < last).chain([last]) {
            while connections.len() < count {
                connections.push(open(&process)?);
            }
            steps.push((count, Memory::read(process.pid())?));
        }
        let value = vec![b'x'; VALUE];
        Connection::open(rig.redis())?.exchange("SET", &command(&[b"SET", b"bench:value", &value]), b"+OK\r\n")?;
        let (get, mut reply) = (command(&[b"GET", b"bench:value"]), Vec::new());
        bulk(&value, &mut reply);
        for connection in &mut connections {
            connection.exchange("GET", &get, &reply)?;
        }
        Ok(Some(Self { target, alone, steps, used: Memory::read(process.pid())? }))
    }

    /// Bytes of each connection after the first step, on average.
    pub(crate) fn per_connection(&self) -> Option<f64> {
        let (first, last) = (self.steps.first()?, self.steps.last()?);
        between(*first, *last)
    }

    /// The largest and the smallest cost of a connection between any two steps from 100 connections on, divided. Below
    /// that a few pages decide.
    pub(crate) fn unevenness(&self) -> Option<f64> {
        let steps: Vec<_> = self.steps.iter().copied().filter(|&(count, _)| count >= 100).collect();
        let costs: Vec<f64> = steps.windows(2).filter_map(|pair| between(pair[0], pair[1])).collect();
        let (least, most) = (costs.iter().copied().reduce(f64::min)?, costs.iter().copied().reduce(f64::max)?);
        (least > 0.0).then(|| most / least)
    }

    pub(crate) fn lines(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (resident, proportional) = (mib(self.alone.resident), mib(self.alone.proportional));
        let mut out =
            format!("  {:<12} alone {resident:.1} MiB resident ({proportional:.1} proportional); ", self.target);
        out += "KiB a connection, up to ";
        let start = (0, self.alone);
        let all = std::iter::once(start).chain(self.steps.iter().copied()).collect::<Vec<_>>();
        for pair in all.windows(2) {
            let kib = between(pair[0], pair[1]).unwrap_or_default() / 1024.0;
            // Writing to a string cannot fail.
            let _ = write!(out, "{}: {kib:.1}, ", pair[1].0);
        }
        let used = self.steps.last().and_then(|&(count, _)| between(start, (count, self.used)));
        let _ = write!(out, "all after a GET of 16 KiB: {:.1}", used.unwrap_or_default() / 1024.0);
        out
    }
}

fn open(process: &Process) -> Result<Connection, Failure> {
    let mut connection = Connection::open(process.address)?;
    connection.exchange("PING", b"PING\r\n", b"+PONG\r\n")?;
    Ok(connection)
}

/// Bytes that each connection of `to` which `from` has not got costs.
fn between(from: (usize, Memory), to: (usize, Memory)) -> Option<f64> {
    let more = to.0.checked_sub(from.0).filter(|&more| more > 0)?;
    Some((to.1.resident as f64 - from.1.resident as f64) / more as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(kib: u64) -> Memory {
        Memory { resident: kib * 1024, proportional: kib * 1024 }
    }

    #[test]
    fn the_cost_of_a_connection_is_told_apart_from_that_of_the_process() {
        let steps = vec![(10, memory(5000)), (100, memory(5090)), (1000, memory(5990)), (2000, memory(7990))];
        let idle = Idle { target: Target::Off, alone: memory(4000), steps, used: memory(8000) };
        assert_eq!(idle.unevenness(), Some(2.0));
        assert!((idle.per_connection().unwrap() / 1024.0 - 2990.0 / 1990.0).abs() < 1e-9);
    }
}
