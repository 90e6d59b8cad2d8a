"""Runs in which something dies, is tried again, or is delayed: how often the jobs are done, and how their ends are joined."""

import collections
from typing import Callable, NamedTuple

from ends import BY_A_LINK, IN_ONE_TRACE, WRONG, ways_of
from libraries import LIBRARIES, Library
from patience import Failure, wait_until
from stage import Stage

SIDES = ("api", "worker")
JOBS = 20
"""The jobs of a case."""


class Case(NamedTuple):
    name: str
    library: Library
    gates: tuple
    """Where the programs wait or fail, as `libraries/python/jobs.py` has it."""
    play: Callable
    """Gets the case, the stage and the addresses of both sides, and returns the results."""
    expected: Callable
    """Gets how many items were taken beyond one for each job, and returns what `told` has to be."""
    may_repeat: bool = False
    """Whether a job may be done more than once."""


def result_of(case: Case, stage: Stage) -> str:
    """Plays the case, and returns a row for the table."""
    urls = {side: stage.start_proxy(side, case.library.options) for side in SIDES}
    results = case.play(case, stage, urls)
    if results != list(range(1, JOBS + 1)):
        raise Failure(f"the results are {results}")
    done = stage.done()
    stage.stop_worker()
    for side in SIDES:
        stage.stop_proxy(side)
    found = told(stage.spans)
    expected = case.expected(found.get(TAKEN, 0) - JOBS)
    repeated = sum(number for times, number in done.items() if times > 1)
    counts = ", ".join(f"{number} {what}" for what, number in found.items())
    row = f"{JOBS} jobs, {repeated} done more than once; {counts or 'no spans'}"
    if sum(done.values()) != JOBS or (repeated and not case.may_repeat):
        raise Failure(f"{row}: done {dict(done)}")
    if not all(is_as_expected(found.get(what, 0), expected.get(what, 0)) for what in {*found, *expected}):
        raise Failure(f"{row}, where {expected} were expected")
    return row


def is_as_expected(found: int, expected) -> bool:
    """`expected` is a number or a range."""
    return found in expected if isinstance(expected, range) else found == expected


SENT, BY_WORKER, TAKEN = "added", "added by the worker", "taken"
TRACE, WORKERS_TRACE, LINK = "in the trace", "in the trace of the worker's", "by a link"
AGAIN, FIRST = "handed over again", "linked to the first delivery"


def told(spans: dict) -> dict:
    """What the spans say of items, without what they say never."""
    taken = [span for span in spans["worker"] if span["name"] == "process"]
    sent = {side: [span for span in spans[side] if span["name"] == "send"] for side in SIDES}
    ways = {side: ways_of(sent[side], taken) for side in SIDES}
    # What puts a job back may be in the trace of the job, with other bytes.
    both = list(zip(*ways.values(), strict=True))
    counts = {
        SENT: len(sent["api"]),
        BY_WORKER: len(sent["worker"]),
        TAKEN: len(taken),
        TRACE: ways["api"].count(IN_ONE_TRACE),
        WORKERS_TRACE: ways["worker"].count(IN_ONE_TRACE),
        LINK: sum(1 for found in both if BY_A_LINK in found and IN_ONE_TRACE not in found),
        WRONG: sum(1 for found in both if WRONG in found and not {IN_ONE_TRACE, BY_A_LINK} & set(found)),
        AGAIN: sum(1 for span in taken if span.get("redelivery")),
        FIRST: sum(1 for span in taken if span.get("first_delivery")),
    }
    return {what: number for what, number in counts.items() if number}


def whole(case: Case, stage: Stage, urls: dict) -> list:
    """Nothing happens to the processes."""
    stage.start_worker(urls["worker"])
    stage.start_api(urls["api"], JOBS)
    return stage.results()


def killed(case: Case, stage: Stage, urls: dict) -> list:
    """The worker is killed while it works on a job, and another one begins."""
    (place,) = case.gates
    stage.start_worker(urls["worker"])
    stage.start_api(urls["api"], JOBS)
    stage.wait_at(place)
    if case.library.program == "celery":
        # What Celery has popped and not yet put into `unacked` would be lost, also without a proxy.
        wait_until("each job is done, waits or is in `unacked`", lambda: accounted(stage) == JOBS)
    stage.kill_worker()
    stage.start_worker(urls["worker"])
    return stage.results()


def accounted(stage: Stage) -> int:
    """The jobs of Celery that Redis or the tally knows. One that is done counts twice until it has been acknowledged."""
    return stage.redis.llen("celery") + stage.redis.hlen("unacked") + stage.done().total()


def waiting(case: Case, stage: Stage, urls: dict) -> list:
    """All jobs have been added when both proxies are replaced, and a worker begins only then."""
    (place,) = case.gates
    stage.start_api(urls["api"], JOBS)
    stage.wait_at(place)
    for side in SIDES:
        stage.replace_proxy(side, urls[side])
    stage.start_worker(urls["worker"])
    stage.go_on(place)
    return stage.results()


def replaced(case: Case, stage: Stage, urls: dict) -> list:
    """The proxy of one side ends in the middle of the run, and another one listens in its place."""
    (place,) = case.gates
    stage.start_worker(urls["worker"])
    stage.start_api(urls["api"], JOBS)
    stage.wait_at(place)
    side = "api" if place.startswith("send") else "worker"
    stage.replace_proxy(side, urls[side])
    stage.go_on(place)
    return stage.results()


def cut(case: Case, stage: Stage, urls: dict) -> list:
    """The same without proxies: Redis ends the connections of the programs."""
    (place,) = case.gates
    stage.start_worker(stage.url("worker"))
    stage.start_api(stage.url("api"), JOBS)
    stage.wait_at(place)
    stage.cut_connections("api" if place.startswith("send") else "worker")
    stage.go_on(place)
    return stage.results()


def case(name: str, of: str, gates: tuple, play: Callable, expected: Callable, may_repeat: bool = False, **variables) -> Case:
    """A case of the library of this name, with these variables."""
    (library,) = (library for library in LIBRARIES if library.name == of)
    own = library.variables | variables | {"GATES": ",".join(gates)}
    return Case(name, library._replace(variables=own), gates, play, expected, may_repeat)


def joined(again: int) -> dict:
    """Each job is joined. What a library puts back is joined with that."""
    return {SENT: JOBS, BY_WORKER: again, TAKEN: JOBS + again, TRACE: JOBS, WORKERS_TRACE: again}


def claimed(again: int) -> dict:
    """What a consumer takes over is in the trace of the job too."""
    return {SENT: JOBS, TAKEN: JOBS + again, TRACE: JOBS + again, AGAIN: again, FIRST: again}


def nothing(_: int) -> dict:
    return {}


def with_results(again: int) -> dict:
    """RQ's workers add the results to streams."""
    return joined(again) | {BY_WORKER: JOBS + again}


def untold(again: int) -> dict:
    """RQ's lists hold nothing but ids, so that a job is not joined that was added before the worker's proxy listened."""
    return with_results(again) | {TRACE: 0}


def half_told(again: int) -> dict:
    """Jobs that the worker's proxy had heard of when it ended are not joined."""
    return with_results(again) | {TRACE: range(JOBS + 1)}


def added_later(_: int) -> dict:
    """RQ's scheduler, which is the worker's, adds the jobs when they are due."""
    return {BY_WORKER: 2 * JOBS, TAKEN: JOBS, WORKERS_TRACE: JOBS}


def put_back(_: int) -> dict:
    """Huey's worker takes a job, keeps it until it is due, and adds it with the same bytes."""
    return {SENT: JOBS, BY_WORKER: JOBS, TAKEN: 2 * JOBS, TRACE: 2 * JOBS, WORKERS_TRACE: 2 * JOBS}


def at_least_one(expected: Callable) -> Callable:
    """Something has to be taken again."""
    return lambda again: expected(max(again, 1))


FAILS, KILLED, ALL_SENT, HALF_SENT = ("fail-10",), ("work-10",), (f"send-{JOBS}",), ("send-10",)
GROUPS = ("redis-py, group, RESP2", "redis-py, group, RESP3")
# The others end or lose jobs without a proxy too when Redis ends their connections.
LASTING = {"Celery": joined, "Huey": joined, "RQ": with_results, "Dramatiq": joined} | dict.fromkeys(GROUPS, joined)
# A proxy that is replaced has forgotten the contexts that it was told.
LOSING_CONTEXTS = LASTING | {"RQ": half_told}
REPEATING = ("Celery",)
# Redis may have popped a job for a connection that is cut. A proxy that ends waits for the answer and hands it over.
LOSING = "Huey"
KEEPING = LASTING | {"RQ": untold, "taskiq, list": joined, "taskiq, stream": joined}
CASES = (
    case("a job that is tried again", "Celery", FAILS, whole, at_least_one(joined)),
    case("a job that is tried again", "Huey", FAILS, whole, at_least_one(joined)),
    case("a job that is tried again", "RQ", FAILS, whole, at_least_one(with_results)),
    case("delayed jobs", "Celery", (), whole, joined, CELERY_COUNTDOWN="1"),
    case("delayed jobs", "Huey", (), whole, put_back, HUEY_DELAY="1"),
    case("delayed jobs", "RQ", (), whole, added_later, RQ_DELAY="1"),
    case("a worker that is killed", "Celery", KILLED, killed, at_least_one(joined), may_repeat=True, CELERY_LATE="1"),
    *(case("a worker that is killed", name, KILLED, killed, at_least_one(claimed)) for name in GROUPS),
    *(case("a consumer that leaves entries", name, (), whole, at_least_one(claimed), GROUP_LEAVES="5,10") for name in GROUPS),
    *(case("proxies replaced while jobs wait", name, ALL_SENT, waiting, expected) for name, expected in KEEPING.items()),
    *(case("the worker's proxy replaced", name, KILLED, replaced, spans, name in REPEATING) for name, spans in LOSING_CONTEXTS.items()),
    *(case("the API's proxy replaced", name, HALF_SENT, replaced, spans, name in REPEATING) for name, spans in LASTING.items()),
    *(
        case("the worker's connections cut, no proxy", name, KILLED, cut, nothing, name in REPEATING)
        for name in LASTING
        if name != LOSING
    ),
    *(case("the API's connections cut, no proxy", name, HALF_SENT, cut, nothing, name in REPEATING) for name in LASTING),
)


def of_libraries(libraries: list) -> list:
    programs = {library.program for library in libraries}
    return [case for case in CASES if case.library.program in programs]
