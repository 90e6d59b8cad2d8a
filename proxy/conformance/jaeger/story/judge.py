"""Whether Jaeger's traces tell the story, and which field of which span is wrong if not."""

from collections import Counter
from dataclasses import replace

import expected
from expected import ANNOUNCEMENTS, JOBS, SAME_TIME, Wanted
from jaeger_api import WARNINGS
from otlp import Span
from stage import Report

OF_ORDER = ("SETEX",)
OF_JOB = ("SET", "HINCRBY", "EXPIRE")
"""What is sent to Redis besides the publish: by the API for an order, by a worker for a job."""


class Walk:
    """A walk through a trace along the story. `machine` is what the resource of every span has besides."""

    def __init__(self, trace: list[Span], machine: dict) -> None:
        self._trace = trace
        self._machine = machine
        self._met: set[str] = set()
        self.problems: list[str] = []

    def order(self, report: Report, workers: list[str], done: int) -> None:
        """All that follows from an order. By `done`, a time, the workers had their last answers."""
        request = self._one("", expected.request(report))
        if request is None:
            return
        # Its end is read when the answer has been written, by when the client may have read that.
        self._within(request, report.ordered, done)
        for name in OF_ORDER:
            self._inside(request, self._one(request.id, expected.command("api", name)))
        size = len(f'{{"id":"{report.id}","title":"{report.title}","order":"{report.number}"}}')
        job = self._one(request.id, expected.publish("api", JOBS, size, len(workers), is_caused=True))
        if job is None:
            return
        self._inside(request, job)
        for worker in workers:
            work = self._one(job.id, expected.delivery(worker, JOBS, size, ("handed over",)))
            if work is not None:
                self._work(work, report, worker, done)

    def _work(self, work: Span, report: Report, worker: str, done: int) -> None:
        """A job and what comes of it. Its span lasts as long as the work."""
        self._within(work, report.ordered, done)
        if work.end - work.start < (least := expected.effort(report, worker)):
            self._wrong(work, f"duration: found {work.end - work.start} ns, the work alone takes {least}")
        commands = [self._one(work.id, expected.command(worker, name)) for name in OF_JOB]
        kind = worker.removeprefix("worker-")
        size = len(f'{{"id":"{report.id}","kind":"{kind}"}}')
        announcement = self._one(work.id, expected.publish(worker, ANNOUNCEMENTS, size, 1, is_caused=True))
        if announcement is None:
            return
        for span in (*commands, announcement):
            self._inside(work, span)
        if abs(work.end - announcement.end) > SAME_TIME:
            self._wrong(work, f"end: found {work.end}, its last work ended at {announcement.end}")
        receipt = self._one(announcement.id, expected.delivery("api", ANNOUNCEMENTS, size))
        if receipt is not None and receipt.start + SAME_TIME < announcement.start:
            self._wrong(receipt, f"start: found {receipt.start}, it was published at {announcement.start}")

    def _one(self, parent: str, wanted: Wanted) -> Span | None:
        """The one span of this service and name below `parent`."""
        found = [s for s in self._trace if (s.parent, s.service, s.name) == (parent, wanted.service, wanted.name)]
        if len(found) != 1:
            self.problems.append(f"`{wanted.name}` of {wanted.service} below `{parent}`: {len(found)} spans instead of one")
            return None
        (span,) = found
        self._met.add(span.id)
        for difference in wanted.differences(without_warnings(span), self._machine):
            self._wrong(span, difference)
        if span.end < span.start:
            self._wrong(span, f"end: found {span.end}, it began at {span.start}")
        return span

    def _inside(self, parent: Span, span: Span | None) -> None:
        if span is not None and (span.start + SAME_TIME < parent.start or span.end > parent.end + SAME_TIME):
            self._wrong(span, f"times: found {span.start} to {span.end}, its cause lasted from {parent.start} to {parent.end}")

    def _within(self, span: Span, begin: int, end: int) -> None:
        if span.start < begin or span.end > end:
            self._wrong(span, f"times: found {span.start} to {span.end}, what it tells of was between {begin} and {end}")

    def _wrong(self, span: Span, what: str) -> None:
        self.problems.append(f"span {span.id}, `{span.name}` of {span.service}: {what}")

    def finish(self) -> list[str]:
        """All problems, those of spans that do not belong to the story among them."""
        for span in self._trace:
            if span.id not in self._met:
                self._wrong(span, f"parent: found `{span.parent}`, and it does not belong to the story there")
        return self.problems


def story(trace: list[Span], report: Report, workers: list[str], done: int, machine: dict) -> list[str]:
    """What keeps `trace` from being all that a report is, and nothing else."""
    walk = Walk(trace, machine)
    walk.order(report, workers, done)
    return [f"trace {report.trace}: {problem}" for problem in walk.finish()]


def twice(trace: list[Span]) -> list[str]:
    """The ids that several spans have."""
    return [f"{count} spans have the id {id}" for id, count in Counter(span.id for span in trace).items() if count > 1]


def same(trace: list[Span], of_pages: list[Span]) -> list[str]:
    """In which fields Jaeger's two interfaces differ. The older one has whole microseconds, and cuts off the rest of a start and
    of a duration."""
    found = []
    others = {span.id: span for span in of_pages}
    if others.keys() != {span.id for span in trace} or len(of_pages) != len(trace):
        found.append(f"the pages have {len(of_pages)} spans, version 3 has {len(trace)}")
    for span in trace:
        other = others.get(span.id)
        if other is None:
            continue
        start, duration = span.start // 1000 * 1000, (span.end - span.start) // 1000 * 1000
        as_pages = replace(without_warnings(span), start=start, end=start + duration)
        for name in as_pages.__dataclass_fields__:
            one, two = getattr(as_pages, name), getattr(without_warnings(other), name)
            if one != two:
                found.append(f"span {span.id}, `{span.name}`: {name}: version 3 has {one!r}, the pages have {two!r}")
    return found


def warnings(span: Span) -> tuple[str, ...]:
    """What Jaeger warns of."""
    return span.attributes.get(WARNINGS, ())


def without_warnings(span: Span) -> Span:
    return replace(span, attributes={key: value for key, value in span.attributes.items() if key != WARNINGS})
