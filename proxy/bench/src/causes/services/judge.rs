//! Holds the parents of exported spans against what was true.

use std::collections::{BTreeMap, HashMap};

use otlp_receiver::ReceivedSpan;
use otlp_receiver::proto::trace::v1::span::SpanKind;

use super::witness::{Sent, by_span};
use crate::causes::score::Score;
use crate::failure::Failure;

/// By how many nanoseconds a span's time may be wrong: spans are dated by two clocks, between which a process can be interrupted.
const CLOCKS_APART: u64 = 200_000;

/// By how many it mostly is not.
const MOSTLY_APART: u64 = 20_000;

/// One in so many spans may be of a command that cannot be told.
const PLACED: usize = 50;

/// Judges the spans of `service`. Recall is that of commands from the time `since` on.
///
/// # Errors
/// If spans are missing, or if there are many whose command cannot be told.
pub(super) fn judge(service: &str, spans: &[ReceivedSpan], sent: &[Sent], since: u64) -> Result<Judgement, Failure> {
    let spans: Vec<_> = spans.iter().filter(|span| span.service_name() == service).collect();
    let deliveries = deliveries(&spans);
    let mut named = HashMap::<u64, Option<Answer>>::new();
    let publishes = by_span(sent);
    let mut unplaced = 0;
    for span in &spans {
        let command = match span.span.kind() {
            SpanKind::Producer => publishes.get(span.span_id().as_str()).copied(),
            SpanKind::Client => command_of(span, sent),
            _ => continue,
        };
        let Some(command) = command else {
            unplaced += 1;
            continue;
        };
        let rule = span.text("redistributed.cause").unwrap_or_default().to_owned();
        let answer = (!span.span.parent_span_id.is_empty()).then(|| Answer { parent: span.parent_span_id(), rule });
        // Of two, one is of another command.
        if named.insert(command.from, answer).is_some_and(|other| other.is_some()) {
            unplaced += 2;
            named.insert(command.from, None);
        }
    }
    if unplaced * PLACED > spans.len() {
        return wrong(service, &format!("of {} spans, the commands of {unplaced} cannot be told", spans.len()));
    }
    if publishes.values().any(|publish| !named.contains_key(&publish.from)) {
        return wrong(service, "a publish has no span");
    }
    Ok(Judgement { unplaced, ..score(sent, &named, &deliveries, since) })
}

/// The parent of a span.
struct Answer {
    parent: String,
    rule: String,
}

/// What the answers to one service are worth.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    pub(super) score: Score,
    /// How often which command got a wrong cause by which rule.
    pub(super) wrong: BTreeMap<(String, String), u32>,
    /// Spans whose command could not be told. Their answers are not judged.
    pub(super) unplaced: usize,
}

/// The spans of deliveries by those of their publishes.
fn deliveries(spans: &[&ReceivedSpan]) -> HashMap<String, String> {
    let deliveries = spans.iter().filter(|span| span.span.kind() == SpanKind::Consumer);
    deliveries.map(|span| (span.parent_span_id(), span.span_id())).collect()
}

fn score(
    sent: &[Sent],
    named: &HashMap<u64, Option<Answer>>,
    deliveries: &HashMap<String, String>,
    since: u64,
) -> Judgement {
    let mut judgement = Judgement::default();
    let score = &mut judgement.score;
    for command in sent {
        let answer = named.get(&command.from).and_then(Option::as_ref);
        let right = answer.map(|Answer { parent, .. }| {
            command.marks.causes.iter().any(|mark| match mark.split_at(1) {
                ("r", request) => request == parent,
                (_, publish) => deliveries.get(publish) == Some(parent),
            })
        });
        if let Some(Answer { rule, .. }) = answer.filter(|_| right == Some(false)) {
            let what =
                if command.marks.nothing { format!("{} of a heartbeat", command.name) } else { command.name.clone() };
            *judgement.wrong.entry((what, rule.clone())).or_default() += 1;
        }
        score.named += u32::from(right.is_some());
        score.right += u32::from(right == Some(true));
        let has_cause = !command.marks.causes.is_empty();
        score.invented += u32::from(right.is_some() && !has_cause);
        if command.from >= since && has_cause {
            let is_publish = command.span.is_some();
            score.caused += 1;
            score.found += u32::from(right == Some(true));
            score.right_in_the_end = score.found;
            score.publishes += u32::from(is_publish);
            score.publishes_right += u32::from(is_publish && right == Some(true));
        }
    }
    judgement
}

/// The command during whose passing the span begins; `None` if it cannot be told from another one near it.
fn command_of<'a>(span: &ReceivedSpan, sent: &'a [Sent]) -> Option<&'a Sent> {
    let start = span.span.start_time_unix_nano;
    let name = span.span.name.split(' ').next().unwrap_or_default();
    let is_of = |command: &&Sent| command.span.is_none() && name.eq_ignore_ascii_case(&command.name);
    let apart = |command: &Sent| command.from.saturating_sub(start).max(start.saturating_sub(command.until));
    // Commands have passed in this order.
    let after = sent.partition_point(|command| command.until < start);
    let near = &sent[after.saturating_sub(4)..sent.len().min(after + 4)];
    let mut near: Vec<_> = near.iter().filter(is_of).map(|command| (apart(command), command)).collect();
    near.sort_by_key(|(apart, _)| *apart);
    match near[..] {
        [(0, _), (..=MOSTLY_APART, _), ..] | [(1.., _), (..=CLOCKS_APART, _), ..] => None,
        [(..=CLOCKS_APART, command), ..] => Some(command),
        _ => None,
    }
}

fn wrong<T>(service: &str, what: &str) -> Result<T, Failure> {
    Err(Failure::Worse(format!("{service}: {what}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use otlp_receiver::proto::common::v1::any_value::Value;
    use otlp_receiver::proto::common::v1::{AnyValue, KeyValue};
    use otlp_receiver::proto::resource::v1::Resource;
    use otlp_receiver::proto::trace::v1::Span;

    use super::*;
    use crate::causes::services::wire::Marks;

    const MILLISECOND: u64 = 1_000_000;

    /// A command that passed between the beginning of this millisecond and a tenth of it.
    fn sent(name: &str, millisecond: u64, cause: Option<&str>, span: Option<&str>) -> Sent {
        let marks = Marks { causes: cause.map(str::to_owned).into_iter().collect(), nothing: cause.is_none() };
        let from = millisecond * MILLISECOND;
        Sent { name: name.to_owned(), marks, from, until: from + MILLISECOND / 10, span: span.map(str::to_owned) }
    }

    fn span(kind: SpanKind, name: &str, start: u64, id: u8, parent: u8) -> ReceivedSpan {
        let name_of = AnyValue { value: Some(Value::StringValue("api".to_owned())) };
        let service = KeyValue { key: "service.name".to_owned(), value: Some(name_of), ..KeyValue::default() };
        let parent_span_id = if parent == 0 { Vec::new() } else { vec![parent] };
        ReceivedSpan {
            resource: Arc::new(Resource { attributes: vec![service], ..Resource::default() }),
            scope: Arc::default(),
            schema_url: String::new(),
            span: Span {
                kind: kind.into(),
                name: name.to_owned(),
                start_time_unix_nano: start,
                span_id: vec![id],
                parent_span_id,
                ..Span::default()
            },
        }
    }

    #[test]
    fn parents_are_held_against_what_the_services_said() {
        let commands = [
            sent("GET", 10, Some("r01"), None),
            sent("SET", 20, Some("m0a"), None),
            sent("PUBLISH", 30, Some("r01"), Some("0b")),
            sent("PUBLISH", 40, None, Some("0c")),
            sent("GET", 50, Some("r02"), None),
        ];
        let at = |millisecond| millisecond * MILLISECOND + 5;
        let spans = [
            span(SpanKind::Client, "get", at(10), 3, 1),
            // A message of the publish 0a was delivered, and its delivery is 09.
            span(SpanKind::Consumer, "process orders", at(15), 9, 10),
            span(SpanKind::Client, "SET", at(20), 4, 9),
            span(SpanKind::Producer, "publish orders", at(30), 11, 2),
            span(SpanKind::Producer, "publish health", at(40), 12, 1),
        ];
        let Judgement { score, wrong, unplaced } = judge("api", &spans, &commands, at(15)).unwrap();
        assert_eq!((score.named, score.right, score.invented, unplaced), (4, 2, 1, 0));
        assert_eq!((score.caused, score.found, score.publishes, score.publishes_right), (3, 1, 1, 0));
        assert_eq!(
            wrong.keys().map(|(what, _)| what.as_str()).collect::<Vec<_>>(),
            ["PUBLISH", "PUBLISH of a heartbeat"]
        );
        assert!(judge("api", &spans[..4], &commands, 0).is_err(), "a publish has no span");
    }

    #[test]
    fn a_span_is_of_the_command_that_passes_and_of_none_if_another_is_as_near() {
        let mut commands = vec![sent("GET", 10, Some("r01"), None), sent("GET", 11, Some("r02"), None)];
        let place = |commands: &[Sent], start| {
            command_of(&span(SpanKind::Client, "GET", start, 3, 1), commands).map(|command| command.from / MILLISECOND)
        };
        let at = |microsecond: u64| microsecond * 1000;
        assert_eq!((place(&commands, at(10_050)), place(&commands, at(11_000))), (Some(10), Some(11)));
        assert_eq!(place(&commands, at(10_250)), Some(10), "the clocks are apart");
        assert_eq!(place(&commands, at(10_500)), None, "by too much");
        commands[1].from = commands[0].until + 1000;
        assert_eq!((place(&commands, at(10_095)), place(&commands, at(10_050))), (None, Some(10)));
    }
}
