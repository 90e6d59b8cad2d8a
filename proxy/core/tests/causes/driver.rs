//! A service that reports what happens to it, for tests.

use redistributed_core::causes::{
    Answer, Causes, Command, Connection, Delivery, HashKey, LateAnswer, QueueItem, QueueRead, Reason, RequestHead,
    Rule, Sent, Taking, Ticket,
};
use redistributed_core::trace::UnixNanos;

/// A service with a clock. Ids count up from 1, over all requests, messages and commands.
pub(crate) struct Driver {
    pub(crate) causes: Causes,
    connections: Vec<Connection>,
    micros: u64,
    ids: u64,
    pub(crate) late: Vec<LateAnswer>,
}

impl Driver {
    pub(crate) fn new() -> Self {
        Self {
            causes: Causes::new(HashKey::new([1; 16])),
            connections: vec![Connection::default(); 8],
            micros: 1_000_000,
            ids: 0,
            late: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> UnixNanos {
        UnixNanos(self.micros * 1000)
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, micros: u64) -> &mut Self {
        self.micros += micros;
        self
    }

    /// Shows eight times that `words`, in which `{}` stands for an id, names its cause. The pauses differ, because what comes at
    /// regular times may come by itself. Then nobody is in work.
    pub(crate) fn train(&mut self, words: &str) -> &mut Self {
        for number in 0..8 {
            self.ids += 1;
            let id = uuid(1_000_000 + self.ids);
            self.wait(100_000 * (1 + number % 3)).message("training", &id);
            self.wait(200).command(&words.replace("{}", &id));
        }
        self.wait(6_000_000)
    }

    pub(crate) fn message(&mut self, channel: &str, payload: &str) -> u64 {
        self.traced_message(channel, payload, None, None)
    }

    pub(crate) fn traced_message(
        &mut self,
        channel: &str,
        payload: &str,
        trace: Option<u64>,
        publish: Option<u64>,
    ) -> u64 {
        self.ids += 1;
        let (channel, payload) = (channel.as_bytes(), payload.as_bytes());
        self.causes.message(self.now(), &Delivery { id: self.ids, trace, publish, channel, payload });
        self.fetch();
        self.ids
    }

    /// A request, as its id and its ticket.
    pub(crate) fn request(&mut self, method: &str, target: &str, body: &str) -> (u64, Ticket) {
        self.ids += 1;
        let (method, target) = (method.as_bytes(), target.as_bytes());
        let head = RequestHead { id: self.ids, trace: Some(self.ids), method, target };
        let headers: [(&[u8], &[u8]); 2] = [(b"Host", b"api-12345678"), (b"X-Request-Name", b"none")];
        let ticket = self.causes.request(self.now(), &head, headers);
        let mut text = self.causes.text();
        for piece in body.as_bytes().chunks(7) {
            self.causes.request_body(ticket, &mut text, piece, false);
        }
        self.causes.request_body(ticket, &mut text, b"", true);
        self.fetch();
        (self.ids, ticket)
    }

    pub(crate) fn response(&mut self, request: Ticket, body: &str) {
        let mut text = self.causes.text();
        self.causes.response_body(self.now(), request, &mut text, body.as_bytes(), true);
        self.causes.response_end(self.now(), request);
        self.fetch();
    }

    /// A command, written as words, on the first connection.
    pub(crate) fn command(&mut self, words: &str) -> Answer {
        self.command_on(0, words).1
    }

    /// A command on a connection, as its id and its answer. A reply follows at once.
    pub(crate) fn command_on(&mut self, connection: usize, words: &str) -> (u64, Answer) {
        let sent = self.send(connection, words);
        if let Some(ticket) = sent.ticket {
            self.reply(ticket, "OK");
        }
        (self.ids, sent.answer.unwrap_or(Answer::Unknown(Reason::Nobody)))
    }

    pub(crate) fn send(&mut self, connection: usize, words: &str) -> Sent {
        self.ids += 1;
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let command = Command { id: self.ids, name: words[0], arguments: &words[1..] };
        let sent = self.causes.command(self.now(), &mut self.connections[connection], &command);
        self.fetch();
        sent
    }

    pub(crate) fn reply(&mut self, command: Ticket, value: &str) {
        self.causes.reply(self.now(), command, [value.as_bytes()]);
        self.fetch();
    }

    /// A command on a connection that takes items out of `key`, for certain or perhaps.
    pub(crate) fn takes(&mut self, connection: usize, key: &str, takes_work: bool) -> Taking {
        let read = QueueRead { key: key.as_bytes(), takes_work };
        self.causes.takes(self.now(), &mut self.connections[connection], &read)
    }

    /// An item that was handed over to a connection, as its id.
    pub(crate) fn item(&mut self, connection: usize, key: &str, entry: &str, values: &[&str]) -> u64 {
        self.ids += 1;
        let (key, entry) = (key.as_bytes(), entry.as_bytes());
        let item = QueueItem { id: self.ids, trace: Some(self.ids), key, entry };
        let values = values.iter().map(|value| value.as_bytes());
        self.causes.item(self.now(), &mut self.connections[connection], &item, values);
        self.fetch();
        self.ids
    }

    fn fetch(&mut self) {
        while let Some(late) = self.causes.next_late() {
            self.late.push(late);
        }
    }

    /// The late answer to a command.
    pub(crate) fn late(&self, command: u64) -> Option<(u64, Rule)> {
        self.late.iter().find(|late| late.command == command).map(|late| (late.cause, late.rule))
    }
}

/// An id as services make them.
pub(crate) fn uuid(number: u64) -> String {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:08x}-{:04x}-4{:03x}-8000-{:012x}", mixed >> 32, mixed & 0xffff, number & 0xfff, mixed >> 16)
}

pub(crate) fn cause(id: u64, rule: Rule) -> Answer {
    Answer::Cause { id, rule }
}
