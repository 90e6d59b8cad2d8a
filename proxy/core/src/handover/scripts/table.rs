//! The table of known scripts. Each row has the file of the library in which the script or its call stands.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::call::{Call, queue_of};
use super::{MAX_CHANNELS, Script};
use crate::carrier::envelope::options::CONTEXT;
use crate::carrier::msgpack;
use crate::handover::Shape;

/// A script of a library.
pub(super) struct Known {
    /// The numbers of keys that the versions of the script have.
    keys: core::ops::RangeInclusive<usize>,
    /// What the call means, if the rest of it fits.
    read: for<'a> fn(&Call<'a>) -> Option<Script<'a>>,
}

impl Known {
    pub(super) fn read<'a>(&self, call: &Call<'a>) -> Option<Script<'a>> {
        if self.keys.contains(&call.keys().len()) { (self.read)(call) } else { None }
    }
}

pub(super) static KNOWN: [Known; 14] = [
    // BullMQ 4, 5 and 6: src/commands/addStandardJob-9.lua, addDelayedJob-6.lua, addPrioritizedJob-9.lua and addParentJob-6.lua.
    // The numbers of keys differ from version to version.
    Known { keys: 4..=9, read: bullmq_adds },
    // src/commands/moveToActive-11.lua, which has 10 keys in version 4, and moveToFinished-14.lua, which has 13 there.
    Known { keys: 10..=11, read: bullmq_moves_to_active },
    Known { keys: 13..=14, read: bullmq_finishes },
    // Bull 3 and 4: lib/scripts.js and lib/commands/addJob-6.lua, moveToActive-8.lua, moveToFinished-9.lua (8 keys in version 3).
    Known { keys: 6..=6, read: bull_adds },
    Known { keys: 8..=8, read: bull_moves_to_active },
    Known { keys: 8..=9, read: bull_finishes },
    // Bee-Queue 1 and 2: lib/job.js and lib/lua/addJob.lua, addDelayedJob.lua.
    Known { keys: 3..=4, read: bee_queue_adds },
    // Dramatiq: dramatiq/brokers/redis.py and dramatiq/brokers/redis/dispatch.lua, one script for everything.
    Known { keys: 1..=1, read: dramatiq },
    // SAQ 0.9 to 0.26: `_enqueue` in saq/queue/redis.py, which is saq/queue.py in older ones; `id` and `abort_id` in saq/job.py.
    Known { keys: 4..=4, read: saq_adds },
    // Laravel: src/Illuminate/Queue/LuaScripts.php and RedisQueue.php. A port to another language that has taken over
    // the comments and the keys is the same.
    Known { keys: 2..=2, read: laravel_pushes },
    Known { keys: 1..=1, read: laravel_pushes_later },
    Known { keys: 2..=2, read: laravel_releases },
    // It has 2 keys before Laravel 5.8.
    Known { keys: 2..=3, read: laravel_pops },
    // src/Illuminate/Broadcasting/Broadcasters/RedisBroadcaster.php
    Known { keys: 0..=0, read: laravel_broadcasts },
];

/// What the keys of the scripts of BullMQ begin with that take jobs.
const BULLMQ: [&str; 5] = ["wait", "active", "prioritized", "events", "stalled"];

fn bullmq_adds<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    // The first argument is an array that begins with what all keys begin with.
    let (prefix, data, options) = (msgpack::first_text(call.argument(1))?, call.argument(2), call.argument(3));
    let is_of_queue =
        prefix.len() > 1 && prefix.ends_with(b":") && call.keys().iter().all(|key| key.starts_with(prefix));
    let has_keys = ["meta", "id", "completed", "events"].iter().all(|name| call.has_key(prefix, name));
    // The key of a member of the options stands for `telemetry.metadata`: src/classes/job.ts.
    let context = msgpack::member(options, CONTEXT.as_bytes());
    // Version 4 has no telemetry, and its workers may take nothing but the job's id. None of its scripts that add a job has one of
    // these keys. Version 5 has them in each, but for `addParentJob-4.lua` of older releases.
    let has_telemetry = ["marker", "waiting-children"].iter().any(|name| call.has_key(prefix, name));
    (is_of_queue && has_keys && call.argument_count == 3).then(|| Script::AddsJob {
        queue: queue_of(prefix),
        data,
        context,
        options: has_telemetry.then_some(options),
    })
}

fn bullmq_moves_to_active<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let prefix = call.prefix_before(&BULLMQ)?;
    // In version 4 the third argument names a job that a move has handed over already, or is empty.
    let takes = if call.keys().len() == 10 { call.argument_count == 4 && call.argument(3).is_empty() } else { true };
    (call.argument(1) == prefix && takes).then(|| takes_job(prefix, false))
}

fn bullmq_finishes<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let prefix = call.prefix_before(&BULLMQ)?;
    let job = call.keys().get(11)?.strip_prefix(prefix)?;
    (job == call.argument(1)).then(|| takes_job(prefix, true))
}

fn bull_adds<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let prefix = call.prefix_before(&["wait", "paused", "meta-paused", "id", "delayed", "priority"])?;
    let is_adding = call.argument(1) == prefix && call.argument_count >= 11;
    is_adding.then(|| Script::AddsJob { queue: queue_of(prefix), data: call.argument(4), context: None, options: None })
}

fn bull_moves_to_active<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let prefix = call.prefix_before(&["wait", "active", "priority"])?;
    let has_keys = ["stalled", "limiter", "delayed", "drained"].iter().all(|name| call.has_key(prefix, name));
    // The fifth argument names a job that a move has handed over already, or is empty.
    (call.argument(1) == prefix && has_keys && call.argument(5).is_empty()).then(|| takes_job(prefix, false))
}

fn bull_finishes<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let prefix = call.prefix_before(&["active"])?;
    let has_keys = ["wait", "priority", "delayed", "stalled"].iter().all(|name| call.has_key(prefix, name));
    let job = call.keys().get(2)?.strip_prefix(prefix)?;
    (has_keys && job == call.argument(1) && call.argument(9) == prefix).then(|| takes_job(prefix, true))
}

fn bee_queue_adds<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let (prefix, arguments) = match call.keys().len() {
        3 => (call.prefix_before(&["id", "jobs", "waiting"])?, 2),
        _ => (call.prefix_before(&["id", "jobs", "delayed", "earlierDelayed"])?, 3),
    };
    let data = call.argument(2);
    let is_adding = call.argument_count == arguments && data.starts_with(b"{\"data\":");
    is_adding.then(|| Script::AddsJob { queue: queue_of(prefix), data, context: None, options: None })
}

fn takes_job(prefix: &[u8], finishes: bool) -> Script<'_> {
    Script::Takes { queue: Cow::Borrowed(queue_of(prefix)), shape: Shape::Job, finishes }
}

fn dramatiq<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let (namespace, queue) = (*call.keys().first()?, call.argument(3));
    // The time, the timeout of heartbeats, the age of dead messages, whether to tidy up, and the most values for Lua's stack. The
    // fourth argument is the worker's id.
    let are_numbers = [2, 5, 6, 7, 8].iter().all(|number| is_number(call.argument(*number)));
    if namespace.is_empty() || queue.is_empty() || !are_numbers || !is_uuid(call.argument(4)) {
        return None;
    }
    let queue = || Cow::Owned([namespace, b":", queue].concat());
    match (call.argument(1), call.argument_count) {
        (b"enqueue", 10) => {
            let (id, message) = (call.argument(9), call.argument(10));
            // The id of the message in Redis is one of its options.
            let names_itself = is_uuid(id) && memchr::memmem::find(message, id).is_some();
            names_itself.then(|| Script::AddsElement { queue: queue(), element: message })
        }
        (b"fetch", 9) if is_number(call.argument(9)) => {
            Some(Script::Takes { queue: queue(), shape: Shape::Values, finishes: false })
        }
        _ => None,
    }
}

/// The list has the key under which the job is stored, which is the second key of the script, also of a job that is due only later.
fn saq_adds<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let [incomplete, job, queue, abort] = *call.keys() else { return None };
    let name = incomplete.strip_prefix(b"saq:")?.strip_suffix(b":incomplete")?;
    let key = job.strip_prefix(b"saq:job:")?.strip_prefix(name)?.strip_prefix(b":")?;
    let is_queue = queue.strip_prefix(b"saq:").and_then(|rest| rest.strip_prefix(name)) == Some(b":queued");
    let fits = is_queue && !key.is_empty() && abort.strip_prefix(b"saq:abort:") == Some(key);
    // The first argument is the job as the application's serialiser writes it, the second one when it is due.
    (fits && call.argument_count == 2 && is_number(call.argument(2))).then(|| adds(queue, job))
}

fn is_number(argument: &[u8]) -> bool {
    !argument.is_empty() && argument.iter().all(u8::is_ascii_digit)
}

fn is_uuid(argument: &[u8]) -> bool {
    argument.len() == 36 && argument.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
}

/// Whether the text of the script begins with this line.
fn begins(call: &Call<'_>, line: &str) -> bool {
    let text = call.text.unwrap_or_default().trim_ascii_start();
    text.strip_prefix(line.as_bytes()).is_some_and(|rest| matches!(rest, [b'\n' | b'\r', ..]))
}

fn laravel_pushes<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let [queue, notify] = *call.keys() else { return None };
    let fits = notify.strip_prefix(queue) == Some(b":notify") && call.argument_count == 1;
    (fits && begins(call, "-- Push the job onto the queue...")).then(|| adds(queue, call.argument(1)))
}

fn laravel_pushes_later<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let queue = call.keys().first()?.strip_suffix(b":delayed")?;
    let fits = call.argument_count == 2 && is_number(call.argument(1));
    (fits && begins(call, "-- Push the job onto the delayed queue...")).then(|| adds(queue, call.argument(2)))
}

/// A job is tried again: it gets another number of attempts, and so is another element than the one that was taken.
fn laravel_releases<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let [delayed, reserved] = *call.keys() else { return None };
    let queue = delayed.strip_suffix(b":delayed")?;
    let fits = reserved.strip_prefix(queue) == Some(b":reserved") && call.argument_count == 2;
    (fits && begins(call, "-- Remove the job from the current queue...")).then(|| adds(queue, call.argument(1)))
}

fn laravel_pops<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    let (queue, rest) = call.keys().split_first()?;
    let fit =
        rest.iter().zip([":reserved", ":notify"]).all(|(key, name)| key.strip_prefix(*queue) == Some(name.as_bytes()));
    let takes = fit && begins(call, "-- Pop the first job off of the queue...");
    takes.then_some(Script::Takes { queue: Cow::Borrowed(*queue), shape: Shape::FirstValue, finishes: false })
}

fn adds<'a>(queue: &'a [u8], element: &'a [u8]) -> Script<'a> {
    Script::AddsElement { queue: Cow::Borrowed(queue), element }
}

fn laravel_broadcasts<'a>(call: &Call<'a>) -> Option<Script<'a>> {
    const WORDS: [&str; 7] = ["for", "i", "=", "2,", "#ARGV", "do", "redis.call('publish',"];
    const REST: [&str; 3] = ["ARGV[i],", "ARGV[1])", "end"];
    let text = core::str::from_utf8(call.text?).ok().filter(|text| text.len() < 200)?;
    let is_broadcast = text.split_ascii_whitespace().eq(WORDS.into_iter().chain(REST));
    let channels: Vec<_> = call.all_arguments.clone().skip(1).take(MAX_CHANNELS).collect();
    let is_whole = channels.len() == call.argument_count.saturating_sub(1).min(MAX_CHANNELS);
    let fits = is_broadcast && is_whole && !channels.is_empty();
    fits.then(|| Script::Publishes { payload: call.argument(1), channels })
}
