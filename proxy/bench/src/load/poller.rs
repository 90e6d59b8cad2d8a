//! Readiness of many sockets, edge-triggered: a socket is reported once each time something new can be done with it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::failure::Failure;

/// Most sockets that one wait reports.
const EVENTS: usize = 1024;

pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub(crate) fn new() -> Result<Self, Failure> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| Failure::io("creating a poller")(e.into()))?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS) })
    }

    /// From now on `socket` is reported by its `index`.
    pub(crate) fn add(&self, socket: impl AsFd, index: usize) -> Result<(), Failure> {
        let interest =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(&self.epoll, socket, epoll::EventData::new_u64(index as u64), interest)
            .map_err(|e| Failure::io("watching a socket")(e.into()))
    }

    /// Puts the indices of sockets with news into `ready`; none of them after `timeout`.
    pub(crate) fn wait(&mut self, timeout: Duration, ready: &mut Vec<usize>) -> Result<(), Failure> {
        self.events.clear();
        ready.clear();
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::io("waiting for sockets")(error.into())),
        }
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}
