"""The Compose file's story with a real Collector: straight to Jaeger's place, through the Collector, and with either of
them away. Prints what is seen, and fails at the first thing that is not as documented. README.md says what is looked at.
"""

import argparse
import sys
from pathlib import Path

import judge
from fleet import SIDECARS
from patience import Failure, wait_until
from stage import BEHIND_THE_COLLECTOR, JAEGERS, WITH_METRICS, Stage

REPORTS = 3
SECOND = "1000"
"""In milliseconds, as OTEL_EXPORTER_OTLP_TIMEOUT has it: what takes longer is given up."""
MINUTE = "60000"


def main() -> int:
    parser = argparse.ArgumentParser()
    for option in ("compose", "results", "collector", "collector-config", "redis-server", "proxy", "programs"):
        parser.add_argument(f"--{option}", required=True)
    options = parser.parse_args()
    stage = Stage(options, Path(options.results))
    try:
        straight(stage, "http/protobuf", f"http://jaeger:{JAEGERS.http}")
        straight(stage, "grpc", f"http://jaeger:{JAEGERS.grpc}")
        hosts_that_differ(stage)
        without_jaeger(stage)
        for protocol, endpoint in (("http/protobuf", "http://collector:4318"), ("grpc", "http://collector:4317")):
            through_the_collector(stage, protocol, endpoint)
            metrics_through_the_collector(stage, protocol, endpoint)
            without_the_collector(stage, protocol, endpoint)
            refused_by_the_collector(stage, protocol, endpoint)
    except Failure as failure:
        print(f"FAILED: {failure}\nThe logs are in {options.results}", file=sys.stderr)
        return 1
    return 0


def straight(stage: Stage, protocol: str, endpoint: str) -> None:
    """The sidecars send to what receives at Jaeger's place."""
    stage.start_redis()
    stage.start_jaeger(JAEGERS)
    workers = stage.start_fleet(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    tell(stage, f"straight, {protocol}", workers)
    stage.stop_all()


def hosts_that_differ(stage: Stage) -> None:
    """With names of hosts only. The spans are the same, but Jaeger takes the containers for machines with a clock each."""
    stage.start_redis()
    stage.start_jaeger(JAEGERS)
    endpoint = f"http://jaeger:{JAEGERS.http}"
    workers = stage.start_fleet(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_RESOURCE_ATTRIBUTES="host.id=")
    spans = ordered(stage, workers)
    check("several hosts", judge.problems(spans, REPORTS, workers))
    warnings = judge.warnings(spans)
    deliveries = REPORTS * 2 * len(workers)
    say("several hosts", f"Jaeger would doubt the clocks of {len(warnings)} of {deliveries} deliveries")
    if not warnings:
        raise Failure("several hosts: Jaeger would doubt no clock, so what is documented of that is not needed")
    stage.stop_all()


def without_jaeger(stage: Stage) -> None:
    """It stays away for longer than the Collector tries: the Collector counts what it drops."""
    stage.start_redis()
    retry = "yaml:exporters::otlp_grpc::retry_on_failure"
    stage.start_collector(f"{retry}::max_interval: 1s", f"{retry}::max_elapsed_time: 1s")
    workers = stage.start_fleet()
    order(stage)
    spans = judge.spans_of(REPORTS, workers)
    metric = "otelcol_exporter_send_failed_spans"
    wait_until(f"the Collector says {spans} in {metric}", lambda: stage.collector_total(metric) == spans)
    if counts(stage) != {"sent": spans, "failed": 0, "dropped": 0}:
        raise Failure(f"no Jaeger: {counts(stage)} instead of {spans} sent")
    say("no Jaeger", f"{spans} spans are given up and counted by the Collector")
    stage.stop_all()


def through_the_collector(stage: Stage, protocol: str, endpoint: str) -> None:
    """As the Compose file's profile `collector` has it; then Jaeger is away for a while, then the Collector."""
    what = f"through the Collector, {protocol}"
    stage.start_redis()
    stage.start_jaeger(BEHIND_THE_COLLECTOR)
    stage.start_collector()
    # How long the Collector takes to come back is this machine's affair.
    workers = stage.start_fleet(
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_TIMEOUT=MINUTE,
        OTEL_BSP_EXPORT_TIMEOUT=MINUTE,
    )
    tell(stage, what, workers)
    spans = judge.spans_of(REPORTS, workers)
    for metric in ("otelcol_receiver_accepted_spans", "otelcol_exporter_sent_spans"):
        wait_until(f"the Collector says {spans} in {metric}", lambda: stage.collector_total(metric) == spans)

    stage.stop("jaeger")
    stage.backend.forget()
    order(stage)
    wait_until("the sidecars have sent all spans", lambda: stage.spans_total("sent") == 2 * spans)
    stage.start_jaeger(BEHIND_THE_COLLECTOR)
    all_come(stage, f"{what}, Jaeger away for a while", workers)

    stage.stop("collector")
    stage.backend.forget()
    order(stage)
    wait_until("the sidecars hold all spans", lambda: stage.spans_unsent() == spans)
    stage.start_collector()
    all_come(stage, f"{what}, Collector away for a while", workers)
    if stage.spans_total("sent") != 3 * spans or stage.spans_total("failed") or stage.spans_total("dropped"):
        raise Failure(f"{what}: {counts(stage)} instead of {3 * spans} sent")
    stage.stop_all()


def metrics_through_the_collector(stage: Stage, protocol: str, endpoint: str) -> None:
    """What the sidecars have measured comes too, and its exemplars are spans that come."""
    what = f"metrics through the Collector, {protocol}"
    stage.start_redis()
    stage.start_jaeger(BEHIND_THE_COLLECTOR)
    stage.start_collector(WITH_METRICS)
    workers = stage.start_fleet(
        OTEL_METRICS_EXPORTER="otlp",
        OTEL_METRIC_EXPORT_INTERVAL="200",
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
    )
    spans = ordered(stage, workers)
    expected = judge.measured(REPORTS, workers)
    wait_until(f"the metrics say {expected}", lambda: judge.counted(stage.backend.points()) == expected)
    exemplars = {exemplar for point in stage.backend.points() for exemplar in point.exemplars}
    strangers = exemplars - {(span.trace, span.id) for span in spans}
    if strangers or not exemplars:
        raise Failure(f"{what}: {len(strangers)} of {len(exemplars)} exemplars are no span that has come")
    say(what, f"{len(expected)} series, as documented, and {len(exemplars)} exemplars that are spans")
    stage.stop_all()


def without_the_collector(stage: Stage, protocol: str, endpoint: str) -> None:
    """It stays away for longer than a sidecar tries."""
    what = f"no Collector, {protocol}"
    workers = lose(stage, what, protocol, endpoint, "Connection refused")
    stage.start_collector()
    recover(stage, what, workers)


def refused_by_the_collector(stage: Stage, protocol: str, endpoint: str) -> None:
    """Its memory limiter, with a limit that it is always above, lets nothing in."""
    what = f"Collector refuses, {protocol}"
    stage.start_collector("yaml:processors::memory_limiter::limit_mib: 1")
    wait_until("the memory limiter refuses", lambda: "Refusing data" in stage.log("collector"))
    workers = lose(stage, what, protocol, endpoint, "data refused due to high memory usage")
    stage.stop("collector")
    stage.start_collector()
    recover(stage, what, workers)


def lose(stage: Stage, what: str, protocol: str, endpoint: str, reason: str) -> list[str]:
    """Reports whose spans are all lost: the services notice nothing, the sidecars count it and say why."""
    stage.start_redis()
    stage.start_jaeger(BEHIND_THE_COLLECTOR)
    workers = stage.start_fleet(
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_TIMEOUT=SECOND,
    )
    order(stage)
    spans = judge.spans_of(REPORTS, workers)
    wait_until(f"{spans} spans have been given up", lambda: stage.spans_total("failed") == spans)
    if counts(stage) != {"sent": 0, "failed": spans, "dropped": 0}:
        raise Failure(f"{what}: {counts(stage)} instead of {spans} failed")
    for name in SIDECARS:
        lines = [line for line in stage.log(name).splitlines() if "spans were lost" in line]
        if len(lines) != 1 or reason not in lines[0]:
            raise Failure(f"{what}: {name} does not say once that `{reason}`, but {lines}")
    say(what, f"{spans} spans are given up and counted, and each sidecar says once why")
    return workers


def recover(stage: Stage, what: str, workers: list[str]) -> None:
    tell(stage, f"{what}, and then well again", workers)
    for name in SIDECARS:
        if stage.log(name).count("spans are exported again") != 1:
            raise Failure(f"{what}: {name} does not say that it is over")
    stage.stop_all()


def counts(stage: Stage) -> dict[str, int]:
    return {result: stage.spans_total(result) for result in ("sent", "failed", "dropped")}


def tell(stage: Stage, what: str, workers: list[str]) -> None:
    """Some reports, and all their spans."""
    spans = ordered(stage, workers)
    check(what, judge.problems(spans, REPORTS, workers) + judge.warnings(spans))


def ordered(stage: Stage, workers: list[str]) -> list:
    """The spans of some reports."""
    stage.backend.forget()
    order(stage)
    wait_until("all spans have come", lambda: len(stage.backend.spans()) >= judge.spans_of(REPORTS, workers))
    return stage.backend.spans()


def order(stage: Stage) -> None:
    for number in range(REPORTS):
        stage.order(f"Report {number}")


def all_come(stage: Stage, what: str, workers: list[str]) -> None:
    """What was ordered before arrives."""
    wait_until("all spans have come", lambda: len(stage.backend.spans()) >= judge.spans_of(REPORTS, workers))
    spans = stage.backend.spans()
    check(what, judge.problems(spans, REPORTS, workers) + judge.warnings(spans))


def check(what: str, problems: list[str]) -> None:
    if problems:
        raise Failure(f"{what}:\n  " + "\n  ".join(problems[:20]))
    say(what, "all spans, as documented")


def say(what: str, seen: str) -> None:
    print(f"{what:<60} {seen}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
