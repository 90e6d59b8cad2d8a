//! Conversations, and what the session makes of them: `transcripts/*.txt`.
//!
//! ```text
//! == a promise, in words
//! policy mode=strip carrier=orders.*=json commands=all     settings that differ from the default
//! switch mode=strip                                        the same, from here on
//! C> PUBLISH ch "two words"                                the client sends a multibulk of these words
//! S= PUBLISH ch "two words<trailer 1 2 01>"                what the server gets; without this line the same bytes
//! S> :4␍                                                   the server sends these bytes
//! C= :4␍                                                   what the client gets; without this line the same bytes
//! C> raw GET key␍                                          the client sends these bytes
//! C end                                                    the client has sent its last byte (`S end`: the server)
//! close                                                    the connection is over
//! span publish ch trace=1 span=2 receivers=4               records, in order
//! count injected=1                                         counters
//! ```
//!
//! In bytes and words, `␍` is CRLF, `\xHH` and `\\` are escapes, `$(text)` is a bulk string with its length, and
//!
//! | macro | bytes |
//! |---|---|
//! | `<trailer 1 2 01>` | a trailer for trace 1, span 2, flags 01; then `state=…` and `baggage=…` if there are any |
//! | `<future>` | a trailer of version 2 |
//! | `<traceparent 1 2 01>` | a W3C `traceparent` |
//! | `<json 1 2 01>` | the members that the JSON carrier adds, without a leading comma |
//! | `<opencensus 1 2 81>` | an OpenCensus prefix with these trace options |
//! | `<x*100>` | `x`, 100 times |
//!
//! Words are separated by spaces unless they stand in `"…"` or `'…'`. `publish` and `command` records are compared in
//! their order, `deliver` records in theirs; a key that is not named has its usual value (`-` or `no`), except that
//! `size` and `flags` are compared only if named. Counters of things that go well are compared if they are named, all
//! others must be 0 if they are not.
//!
//! After every line all bytes must have left, and each case is run line by line, with the lines of one side joined, byte by
//! byte, and cut at random: bytes, records and counters must always be the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use redistributed_core::carrier::Carrier;
use redistributed_core::carrier::trailer;
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Mode, Relation, Trust};
use redistributed_core::trace::Propagators;
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::trace::sampler::{Ratio, Root};
use redistributed_core::trace::{Context, Operation, Sampler, SpanContext, SpanId, SpanRecord, TraceFlags, TraceId};
use redistributed_core::{Counter, Policy, Side};
use support::{Driver, Rng, bulk, multibulk};

#[test]
fn every_transcript_is_kept_however_the_stream_is_cut() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut failures = Vec::new();
    let mut cases = 0;
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for case in Case::read_all(&name, &std::fs::read_to_string(&file).unwrap()) {
            cases += 1;
            let cuts = [Cut::Lines, Cut::Bytes, Cut::Random(1), Cut::Random(2), Cut::Random(3), Cut::Joined];
            let sent = |step: &Step| if let Step::Send { bytes, .. } = step { bytes.len() } else { 0 };
            let is_long = case.steps.iter().map(sent).sum::<usize>() > 200_000;
            for cut in cuts.into_iter().take(if is_long { 3 } else { 6 }) {
                if let Err(difference) = case.run(cut) {
                    failures.push(format!("{}, cut {cut:?}:\n{difference}", case.name));
                    break;
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {cases} transcripts fail:\n\n{}", failures.len(), failures.join("\n"));
}

struct Case {
    name: String,
    policy: Arc<Policy>,
    steps: Vec<Step>,
    spans: Vec<String>,
    counts: BTreeMap<String, u64>,
}

enum Step {
    Send { from: Side, bytes: Vec<u8>, expected: Vec<u8> },
    End(Side),
    Close,
    Policy(Arc<Policy>),
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    Lines,
    Joined,
    Bytes,
    Random(u64),
}

impl Case {
    fn read_all(file: &str, text: &str) -> Vec<Self> {
        let mut cases: Vec<Self> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix("== ") {
                cases.push(Self {
                    name: format!("{file}:{}: {name}", number + 1),
                    policy: Arc::new(Policy::default()),
                    steps: Vec::new(),
                    spans: Vec::new(),
                    counts: BTreeMap::new(),
                });
                continue;
            }
            let case = cases.last_mut().expect("a case begins with ==");
            assert!(case.line(line), "{file}:{}: {line}", number + 1);
        }
        cases
    }

    fn line(&mut self, line: &str) -> bool {
        let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (head, rest) {
            ("policy", settings) => self.policy = Arc::new(policy(settings)),
            ("switch", settings) => self.steps.push(Step::Policy(Arc::new(policy(settings)))),
            ("C>", _) => self.send(Side::Client, request(rest)),
            ("S>", _) => self.send(Side::Server, bytes(rest)),
            ("S=" | "C=", _) => {
                let Some(Step::Send { from, expected, .. }) = self.steps.last_mut() else { return false };
                match from {
                    Side::Client if head == "S=" => *expected = request(rest),
                    Side::Server if head == "C=" => *expected = bytes(rest),
                    _ => return false,
                }
            }
            ("C", "end") => self.steps.push(Step::End(Side::Client)),
            ("S", "end") => self.steps.push(Step::End(Side::Server)),
            ("close", "") => self.steps.push(Step::Close),
            ("span", span) => self.spans.push(span.to_owned()),
            ("count", counts) => {
                for count in counts.split_whitespace() {
                    let (name, value) = count.split_once('=').expect("name=value");
                    assert!(Counter::NAMES.contains(&name), "{name} is no counter");
                    self.counts.insert(name.to_owned(), value.parse().unwrap());
                }
            }
            _ => return false,
        }
        true
    }

    fn send(&mut self, from: Side, bytes: Vec<u8>) {
        self.steps.push(Step::Send { from, expected: bytes.clone(), bytes });
    }

    fn run(&self, cut: Cut) -> Result<(), String> {
        let mut driver = Driver::new(&self.policy);
        let mut ids = CountingIds::default();
        let mut expected: [Vec<u8>; 2] = Default::default();
        let mut waiting: Vec<u8> = Vec::new();
        let mut rng = Rng(match cut {
            Cut::Random(seed) => seed,
            _ => 0,
        });
        for (number, step) in self.steps.iter().enumerate() {
            match step {
                Step::Send { from, bytes, expected: sent } => {
                    expected[*from as usize].extend_from_slice(sent);
                    waiting.extend_from_slice(bytes);
                    let next = self.steps.get(number + 1);
                    if matches!(cut, Cut::Joined) && matches!(next, Some(Step::Send { from: f, .. }) if f == from) {
                        continue;
                    }
                    feed(&mut driver, *from, &waiting, cut, &mut rng, &mut ids);
                    waiting.clear();
                }
                // What was held goes on unchanged, so that in all both sides have got what is expected.
                Step::End(from) => driver.end_of_stream(*from),
                Step::Close => driver.close(),
                Step::Policy(policy) => driver.set_policy(policy),
            }
            let ended = |side| self.steps.iter().any(|step| matches!(step, Step::End(from) if *from == side));
            for (side, left) in [(Side::Client, &driver.to_server), (Side::Server, &driver.to_client)] {
                let expected = &expected[side as usize];
                let complete = !ended(side) || number + 1 == self.steps.len();
                if left != expected && (complete || !expected.starts_with(left)) {
                    return Err(difference(&format!("from {side:?} after step {}", number + 1), expected, left));
                }
            }
        }
        self.compare_records(&driver)?;
        self.compare_counts(&driver)
    }

    fn compare_records(&self, driver: &Driver) -> Result<(), String> {
        let (deliveries, others): (Vec<_>, Vec<_>) = self.spans.iter().partition(|span| span.starts_with("deliver "));
        for (expected, records) in [(others, &driver.spans), (deliveries, &driver.deliveries)] {
            let got: Vec<_> = records.iter().map(fields).collect();
            let same = expected.len() == got.len() && expected.iter().zip(&got).all(|(line, got)| is_told(line, got));
            if !same {
                let mut text = String::from("  records:\n");
                expected.iter().for_each(|line| writeln!(text, "    expected {line}").unwrap());
                got.iter().for_each(|got| writeln!(text, "    got      {}", shown(got)).unwrap());
                return Err(text);
            }
        }
        Ok(())
    }

    fn compare_counts(&self, driver: &Driver) -> Result<(), String> {
        const GOOD: [&str; 7] =
            ["commands", "published", "injected", "receivers", "delivered", "delivered_reserved", "stripped"];
        let mut text = String::new();
        for (name, got) in Counter::NAMES.iter().zip(driver.counts) {
            let expected = self.counts.get(*name).copied().or((!GOOD.contains(name)).then_some(0));
            if expected.is_some_and(|expected| expected != got) {
                writeln!(text, "  {name} is {got}, expected {}", expected.unwrap_or_default()).unwrap();
            }
        }
        if text.is_empty() { Ok(()) } else { Err(text) }
    }
}

/// Most bytes at each end of a step that are fed one by one.
const MANY: usize = 10_000;

fn feed(driver: &mut Driver, from: Side, mut bytes: &[u8], cut: Cut, rng: &mut Rng, ids: &mut CountingIds) {
    let total = bytes.len();
    while !bytes.is_empty() {
        let len = match cut {
            Cut::Lines | Cut::Joined => bytes.len(),
            // The middle of very long steps holds nothing that is not also at their ends.
            Cut::Bytes if bytes.len() + MANY > total || bytes.len() <= MANY => 1,
            Cut::Bytes => bytes.len() - MANY,
            Cut::Random(_) => (1 + rng.below(if total > MANY { 4000 } else { 40 })).min(bytes.len()),
        };
        let (piece, rest) = bytes.split_at(len);
        driver.feed(from, piece, ids);
        bytes = rest;
    }
}

fn difference(what: &str, expected: &[u8], got: &[u8]) -> String {
    let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(60);
    let shown = |bytes: &[u8]| bytes[from..bytes.len().min(same + 200)].escape_ascii().to_string();
    format!("  bytes {what}, different at {same}:\n    expected {}\n    got      {}\n", shown(expected), shown(got))
}

/// A record as `key=value` pairs behind what it tells of.
fn fields(record: &SpanRecord) -> Vec<(&'static str, String)> {
    let number = |id: &[u8]| id.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte)).to_string();
    let or_dash = |value: Option<String>| value.unwrap_or("-".to_owned());
    let trace = |context: &SpanContext| number(&context.trace_id.to_bytes());
    let span = |context: &SpanContext| number(&context.span_id.to_bytes());
    let yes = |value| if value { "yes" } else { "no" }.to_owned();
    let (what, own) = match &record.operation {
        Operation::Publish { channel, sharded, receivers, body_size } => (
            format!("publish {channel}"),
            vec![
                ("receivers", or_dash(receivers.map(|n| n.to_string()))),
                ("sharded", yes(*sharded)),
                ("size", body_size.to_string()),
            ],
        ),
        Operation::Deliver { channel, pattern, sharded, body_size } => (
            format!("deliver {channel}"),
            vec![
                ("pattern", or_dash(pattern.as_deref().map(str::to_owned))),
                ("sharded", yes(*sharded)),
                ("size", body_size.to_string()),
            ],
        ),
        Operation::Command { name, database, batch_size } => (
            format!("command {}", name.replace(' ', "_")),
            vec![("db", database.to_string()), ("batch", or_dash(batch_size.map(|n| n.to_string())))],
        ),
    };
    let mut fields = vec![
        ("", what),
        ("trace", trace(&record.context)),
        ("span", span(&record.context)),
        ("parent", or_dash(record.parent.map(|id| number(&id.to_bytes())))),
        ("link", or_dash(record.link.as_ref().map(|link| format!("{}:{}", trace(link), span(link))))),
        ("state", or_dash(record.trace_state.as_deref().map(str::to_owned))),
        ("error", or_dash(record.error.as_ref().map(ToString::to_string))),
        ("flags", format!("{:02x}", record.context.flags.to_byte())),
    ];
    fields.extend(own);
    fields
}

fn is_told(line: &str, got: &[(&'static str, String)]) -> bool {
    let mut words = line.splitn(3, ' ');
    let what = format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let named: BTreeMap<&str, &str> =
        words.next().unwrap_or_default().split_whitespace().map(|word| word.split_once('=').unwrap()).collect();
    let known = named.keys().all(|key| got.iter().any(|(k, _)| k == key));
    known
        && got.iter().all(|(key, value)| match (*key, named.get(key)) {
            ("", _) => *value == what,
            (_, Some(expected)) => value == expected,
            ("size" | "flags", None) => true,
            ("sharded", None) => value == "no",
            ("db", None) => value == "0",
            (_, None) => value == "-",
        })
}

fn shown(fields: &[(&'static str, String)]) -> String {
    let pairs: Vec<_> = fields[1..].iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{} {}", fields[0].1, pairs.join(" "))
}

fn mode(name: &str) -> Mode {
    match name {
        "inject" => Mode::Inject,
        "strip" => Mode::Strip,
        "observe" => Mode::Observe,
        "auto" => Mode::Auto,
        _ => panic!("{name} is no mode"),
    }
}

fn policy(settings: &str) -> Policy {
    let mut policy = Policy::default();
    let glob = |text: &str| Glob::new(text).unwrap();
    for setting in settings.split_whitespace() {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        match (key, value) {
            ("mode", value) => match value.rsplit_once('=') {
                Some((pattern, name)) => policy.modes.push((glob(pattern), mode(name))),
                None => policy.mode = mode(value),
            },
            ("relation", "link") => policy.relation = Relation::Link,
            ("trust", "redis") => policy.trust = Trust::Redis,
            ("trust", "none") => policy.trust = Trust::None,
            ("commands", "all") => policy.commands = Commands::All,
            ("disabled", "") => policy.enabled = false,
            ("include", value) => policy.include.push(glob(value)),
            ("exclude", value) => policy.exclude.push(glob(value)),
            ("read_json", value) => policy.read_json.push(glob(value)),
            ("keep_context", value) => policy.keep_context.push(glob(value)),
            ("inject_limit", value) => policy.inject_limit = value.parse().unwrap(),
            ("carrier", value) => {
                let (pattern, carrier) = value.rsplit_once('=').unwrap();
                let carrier = match carrier {
                    "trailer" => Carrier::Trailer,
                    "json" => Carrier::Json,
                    "opencensus" => Carrier::OpenCensus,
                    _ => panic!("{carrier} is no carrier"),
                };
                policy.carriers.push((glob(pattern), carrier));
            }
            ("sampler", value) => {
                let (parent_based, root) = match value.strip_prefix("parentbased_") {
                    Some(root) => (true, root),
                    None => (false, value),
                };
                let root = match root {
                    "always_on" => Root::AlwaysOn,
                    "always_off" => Root::AlwaysOff,
                    share => Root::Ratio(Ratio::new(share.parse().unwrap()).unwrap()),
                };
                policy.sampler = Sampler { parent_based, root };
            }
            ("propagators", value) => {
                let has = |name| value.split(',').any(|word| word == name);
                policy.propagators = Propagators {
                    trace_context: has("tracecontext"),
                    baggage: has("baggage"),
                    b3: has("b3"),
                    jaeger: has("jaeger"),
                };
            }
            _ => panic!("{setting} is no setting"),
        }
    }
    policy
}

/// Words to a multibulk, or `raw` and bytes.
fn request(text: &str) -> Vec<u8> {
    match text.strip_prefix("raw ") {
        Some(raw) => bytes(raw),
        None => multibulk(&words(text)),
    }
}

fn words(text: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (mut word, mut quote, mut in_macro) = (String::new(), None, false);
        let mut end = rest.len();
        for (at, letter) in rest.char_indices() {
            match (letter, quote) {
                ('"' | '\'', None) if !in_macro => quote = Some(letter),
                (_, Some(open)) if letter == open => quote = None,
                (' ', None) if !in_macro => {
                    end = at;
                    break;
                }
                _ => {
                    in_macro = (in_macro || letter == '<') && letter != '>';
                    word.push(letter);
                }
            }
        }
        words.push(bytes(&word));
        rest = rest[end..].trim_start();
    }
    words
}

fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let after = &rest[letter.len_utf8()..];
        rest = match letter {
            '␍' => {
                out.extend_from_slice(b"\r\n");
                after
            }
            '\\' if after.starts_with('x') => {
                out.push(u8::from_str_radix(&after[1..3], 16).unwrap());
                &after[3..]
            }
            '\\' => {
                out.push(after.as_bytes()[0]);
                &after[1..]
            }
            '$' if after.starts_with('(') => {
                let end = after.find(')').expect("a closing parenthesis");
                bulk(&bytes(&after[1..end]), &mut out);
                &after[end + 1..]
            }
            '<' => {
                let end = after.find('>').expect("the end of a macro");
                expand(&after[..end], &mut out);
                &after[end + 1..]
            }
            _ => {
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                after
            }
        };
    }
    out
}

fn expand(text: &str, out: &mut Vec<u8>) {
    if let Some((piece, times)) = text.rsplit_once('*') {
        return out.extend(bytes(piece).repeat(times.parse().unwrap()));
    }
    if text == "future" {
        return out.extend(future_trailer());
    }
    let mut words = text.split(' ');
    let mut next = || words.next().expect("a macro's argument");
    let form = next();
    let trace: u128 = next().parse().unwrap();
    let span: u64 = next().parse().unwrap();
    let flags = u8::from_str_radix(next(), 16).unwrap();
    let mut context = Context::from(SpanContext {
        trace_id: TraceId::from_u128(trace).unwrap(),
        span_id: SpanId::from_u64(span).unwrap(),
        flags: TraceFlags::from_byte(flags),
    });
    for word in words {
        match word.split_once('=').unwrap() {
            ("state", value) => context.trace_state = Some(value.into()),
            ("baggage", value) => context.baggage = Some(value.into()),
            _ => panic!("{word} in a macro"),
        }
    }
    let state = context.trace_state.as_deref().map(|state| format!(",{state}")).unwrap_or_default();
    match form {
        "trailer" => trailer::write(&context, out),
        "traceparent" => out.extend(format!("00-{trace:032x}-{span:016x}-{flags:02x}").bytes()),
        "json" => out.extend(
            format!(
                r#""traceparent":"00-{trace:032x}-{span:016x}-{flags:02x}","tracestate":"redistributed={span:016x}{state}""#
            )
            .bytes(),
        ),
        "opencensus" => {
            out.extend([0, 0]);
            out.extend(trace.to_be_bytes());
            out.push(1);
            out.extend(span.to_be_bytes());
            out.extend([2, flags]);
        }
        _ => panic!("{form} is no macro"),
    }
}

/// `00`, content that nobody knows, and a valid footer with version 2.
fn future_trailer() -> Vec<u8> {
    let mut out = b"\0what the future holds".to_vec();
    out.extend_from_slice(&37u16.to_be_bytes());
    out.push(2);
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_be_bytes());
    out.extend_from_slice(&trailer::MAGIC);
    out
}
