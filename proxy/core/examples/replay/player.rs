//! Plays the events of a recording to one [`Causes`] for each service, as a sidecar would report them.

use std::collections::{HashMap, HashSet};

use redistributed_core::causes::{
    Answer, Causes, Command, Connection, Delivery, HashKey, Links, QueueItem, QueueRead, RequestHead, Taking, Ticket,
};
use redistributed_core::trace::UnixNanos;
use serde_json::{Value, json};

/// Several services. The only thing that crosses between them is the trace of a message, as in the proxy.
#[derive(Default)]
pub(crate) struct World {
    services: HashMap<String, Service>,
    /// The traces of publishes, of requests and of messages.
    traces: HashMap<u64, u64>,
}

/// What a sidecar keeps of its service.
struct Service {
    causes: Causes,
    /// The connections so far, those of HTTP too.
    connections: HashMap<u64, Connection>,
    /// What unanswered requests and commands are reported with.
    tickets: HashMap<u64, Ticket>,
    /// The commands whose replies hand work over.
    reads: HashSet<u64>,
    /// Whether a connection was open before the recording began, so that the service was at work already.
    begun_midway: bool,
}

impl World {
    /// Plays events, whose times are moved on by so many microseconds and their ids by so much, and hands on each answer.
    pub(crate) fn play<E>(
        &mut self,
        events: &[Value],
        later: u64,
        other_ids: u64,
        mut hand_on: impl FnMut(Value) -> Result<(), E>,
    ) -> Result<(), E> {
        for event in events {
            let name = event["svc"].as_str().unwrap_or_default();
            let now = UnixNanos((number(event, "t") + later) * 1000);
            let service = self.services.entry(name.to_owned()).or_default();
            let id = |field: &str| event[field].as_u64().map(|id| id + other_ids);
            if let Some(answer) = service.feed(event, now, id, &mut self.traces) {
                hand_on(described(event, &answer, other_ids))?;
            }
            while let Some(late) = service.causes.next_late() {
                let (id, cause) = (late.command - other_ids, late.cause - other_ids);
                hand_on(json!({"id": id, "p": cause, "rule": late.rule.name(), "late": 1}))?;
            }
        }
        Ok(())
    }
}

impl Default for Service {
    fn default() -> Self {
        let causes = Causes::new(HashKey::new(*b"a key for a test"));
        Self {
            causes,
            connections: HashMap::new(),
            tickets: HashMap::new(),
            reads: HashSet::new(),
            begun_midway: false,
        }
    }
}

impl Service {
    /// Reports one event, and returns the answer if it is a command.
    fn feed(
        &mut self,
        event: &Value,
        now: UnixNanos,
        id: impl Fn(&str) -> Option<u64>,
        traces: &mut HashMap<u64, u64>,
    ) -> Option<Answer> {
        let own_id = id("id").unwrap_or_default();
        let connection_id = id("conn")?;
        if event["k"] != "open" && !self.connections.contains_key(&connection_id) {
            self.connections.insert(connection_id, Connection::default());
            if !self.begun_midway {
                self.begun_midway = true;
                self.causes.warm_up(now);
            }
        }
        match event["k"].as_str().unwrap_or_default() {
            "req" => {
                traces.insert(own_id, own_id);
                let (method, target) = (bytes(&event["method"]), bytes(&event["path"]));
                let head = RequestHead { id: own_id, trace: Some(own_id), method: &method, target: &target };
                let headers: Vec<_> = event["headers"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name.as_bytes().to_vec(), bytes(value)))
                    .collect();
                let headers = headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
                let ticket = self.causes.request(now, &head, headers);
                let mut text = self.causes.text();
                self.causes.request_body(ticket, &mut text, &bytes(&event["body"]), true);
                self.tickets.insert(own_id, ticket);
            }
            "resp" => {
                let ticket = self.tickets.remove(&id("of")?)?;
                let mut text = self.causes.text();
                self.causes.response_body(now, ticket, &mut text, &bytes(&event["body"]), true);
                self.causes.response_end(now, ticket);
            }
            "msg" => {
                let publish = id("pub");
                let trace = publish.and_then(|publish| traces.get(&publish).copied()).unwrap_or(own_id);
                traces.insert(own_id, trace);
                let (channel, payload) = (bytes(&event["chan"]), bytes(&event["data"]));
                let message =
                    Delivery { id: own_id, trace: Some(trace), publish, channel: &channel, payload: &payload };
                self.causes.message(now, &message);
            }
            "item" => {
                let connection = self.connections.entry(connection_id).or_default();
                if self.reads.contains(&id("of")?) {
                    traces.insert(own_id, own_id);
                    let (key, entry, values) =
                        (bytes(&event["key"]), bytes(&event["entry"]), all_bytes(&event["values"]));
                    let item = QueueItem { id: own_id, trace: Some(own_id), key: &key, entry: &entry };
                    self.causes.item(now, connection, &item, values.iter().map(Vec::as_slice));
                }
            }
            "cmd" if event["takes"].is_u64() && self.takes(event, now, own_id, connection_id) => {}
            "cmd" => {
                let connection = self.connections.entry(connection_id).or_default();
                let (name, arguments) = (bytes(&event["name"]), all_bytes(&event["args"]));
                let arguments: Vec<_> = arguments.iter().map(Vec::as_slice).collect();
                let command = Command { id: own_id, name: &name, arguments: &arguments };
                let sent = self.causes.command(now, connection, &command);
                if let Some(ticket) = sent.ticket {
                    self.tickets.insert(own_id, ticket);
                }
                if matches!(name.as_slice(), b"PUBLISH" | b"SPUBLISH") {
                    let cause = match sent.answer {
                        Some(Answer::Cause { id, .. }) => traces.get(&id).copied(),
                        _ => None,
                    };
                    traces.insert(own_id, cause.unwrap_or(own_id));
                }
                return sent.answer;
            }
            "rep" => {
                let command = id("of")?;
                self.reads.remove(&command);
                let ticket = self.tickets.remove(&command)?;
                let values = all_bytes(&event["val"]);
                self.causes.reply(now, ticket, values.iter().map(Vec::as_slice));
            }
            "open" => {
                self.connections.insert(connection_id, Connection::default());
            }
            // Nothing comes of a connection after its end.
            _ => {}
        }
        None
    }
}

impl Service {
    /// Reports a command that takes items out of a list, a sorted set or a stream. Returns whether that is all that it is.
    fn takes(&mut self, event: &Value, now: UnixNanos, id: u64, connection: u64) -> bool {
        let connection = self.connections.entry(connection).or_default();
        let key = bytes(&event["key"]);
        match self.causes.takes(now, connection, &QueueRead { key: &key, takes_work: number(event, "takes") == 1 }) {
            Taking::Work => drop(self.reads.insert(id)),
            Taking::Answer(ticket) => drop(self.tickets.insert(id, ticket)),
            // Nothing waits by itself because of anything.
            Taking::Unknown => return number(event, "takes") == 1,
        }
        true
    }
}

/// An answer in the evaluator's form.
fn described(command: &Value, answer: &Answer, other_ids: u64) -> Value {
    let ids = |links: &Links| links.as_slice().iter().map(|id| id - other_ids).collect::<Vec<_>>();
    let id = &command["id"];
    match answer {
        Answer::Cause { id: cause, rule } => {
            json!({"id": id, "p": cause - other_ids, "links": [], "rule": rule.name()})
        }
        Answer::Batch(links) => json!({"id": id, "p": null, "links": ids(links), "rule": "batch"}),
        Answer::OneOf(links) => json!({"id": id, "p": null, "links": [], "maybe": ids(links), "rule": "one_of"}),
        Answer::Unknown(reason) => json!({"id": id, "p": null, "links": [], "rule": reason.name()}),
    }
}

pub(crate) fn number(event: &Value, field: &str) -> u64 {
    event[field].as_u64().unwrap_or_default()
}

/// The bytes of a text, each of which is a character of Latin-1.
fn bytes(text: &Value) -> Vec<u8> {
    let characters = text.as_str().unwrap_or_default().chars();
    characters.filter_map(|character| u8::try_from(character).ok()).collect()
}

fn all_bytes(texts: &Value) -> Vec<Vec<u8>> {
    texts.as_array().into_iter().flatten().map(bytes).collect()
}
