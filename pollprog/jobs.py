"""All jobs: start, list, follow, cancel. The one place where work meets a channel.

A job is one run of an operation. It has an id, an owner, a channel, and exactly one outcome. Each runs in the nursery of `Jobs`,
and belongs to nobody's connection: who called it may cancel it by going away, and that is for the door to say. Those that have
ended are remembered, up to a limit.

`Jobs` knows no process that would hold the commands beyond our own end; whoever adds one gives `Work` another way to spawn.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

import trio

from pollprog.channel import Channel
from pollprog.errors import (
    Cancelled,
    CommandFailed,
    InternalError,
    InvalidParameter,
    JobExists,
    JobOver,
    NoSuchJob,
    OperationError,
    PollprogError,
    TooBusy,
)
from pollprog.fan import Fan
from pollprog.messages import JobMessage, message_of
from pollprog.sampler import Sampler
from pollprog.status import Outcome, State
from pollprog.varlink import encode_reply, error_reply
from pollprog.work import Work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pollprog.config import Service
    from pollprog.operations import Operation
    from pollprog.status import Status

__all__ = ["Job", "Jobs"]

log = logging.getLogger("pollprog")

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOOK = 1 / 3
"""Seconds between two looks at a job, if nobody asks for more."""


class Job:
    """One run of an operation."""

    def __init__(self, id: str, operation: Operation, title: str, uid: int, *, detached: bool, first: float) -> None:  # noqa: A002 # the word for it
        self.id = id
        self.operation = operation
        self.title = title
        self.uid = uid
        self.detached = detached
        """It does not end with the connection that asked for it."""
        self.started = time.time()
        self.ended: float | None = None
        self.channel = Channel(id, first=first)
        self.fan = Fan(self.channel, encode_status)
        """Tells whoever follows it."""
        self.over = trio.Event()
        """Set when it has ended, and those who follow it have been told its last status."""
        self.result: Any = None
        self.error: PollprogError | None = None
        self.work: Work | None = None
        """What the operation sees of it, until it is over."""
        self._scope = trio.CancelScope()

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.channel.latest().state

    def cancel(self) -> None:
        """It is to stop; says so at once, and is over when the work has really ended. Does nothing to one that is over."""
        if self.over.is_set():
            return
        self.channel.change(State.CANCELLING)
        if self.work is not None:
            self.work.stop()
        self._scope.cancel()

    def pause(self) -> None:
        """Let it stand still. JobOver, OperationError."""
        self._running().pause()

    def resume(self) -> None:
        """Let it go on. JobOver, OperationError."""
        self._running().resume()

    def _running(self) -> Work:
        if self.over.is_set() or self.work is None:
            raise JobOver(f"job {self.id} is over", job=self.id)
        if self.operation.observes:
            raise OperationError(f"job {self.id} only watches a process: to stop that, kill -STOP it")
        return self.work

    def message(self) -> JobMessage:
        """The job as it is told."""
        status = self.channel.latest()
        name, parameters = error_reply(self.error) if self.error is not None else (None, None)
        return JobMessage(
            id=self.id,
            method=self.operation.name,
            title=printable(self.title),
            uid=self.uid,
            state=status.state.value,
            started=self.started,
            detached=self.detached,
            status=message_of(status),
            ended=self.ended,
            error=name,
            message=None if self.error is None else printable(str(self.error)),
            parameters=parameters,
            result=self.result,
        )

    async def run(self, work: Work, arguments: Mapping[str, Any], within: trio.CapacityLimiter) -> None:
        """Do the work, and tell how it ended. Raises nothing."""
        outcome = Outcome(State.CANCELLED)
        try:
            with self._scope:
                self.result = await self.operation.run(work, arguments, within)
                outcome = result_outcome(self.result)
            if self._scope.cancelled_caught:
                raise Cancelled(f"{self.title} was cancelled")  # told below, like any other
        except BaseException as error:
            self.error = told = as_ours(error, self.title)
            outcome = error_outcome(told)
            if isinstance(told, InternalError):
                log.exception("job %s failed", self.id, exc_info=error)
            if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
                log.warning("job %s: an operation raised %s", self.id, type(error).__name__)
        finally:
            self.ended = time.time()
            self.channel.finish(outcome)


class Jobs:
    """Every job of this process. Start `run` in a nursery, then the rest, all in the trio thread."""

    def __init__(self, settings: Service) -> None:
        self.settings = settings
        self.changed = trio.Event()
        """Set, and replaced, when a job begins, changes its state, or ends."""
        self._jobs: dict[str, Job] = {}
        self._sampler = Sampler()
        self._nursery: trio.Nursery | None = None
        self._threads = trio.CapacityLimiter(settings.jobs)
        self.closing = False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the jobs that are started, until cancelled; then cancel them, and wait for their end."""
        async with trio.open_nursery() as parts:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as sampling:
                    sampling.start_soon(self._sampler.run)
                    async with trio.open_nursery() as self._nursery:
                        self._nursery.start_soon(self._until_cancelled, parts)
                        task_status.started()
                    sampling.cancel_scope.cancel()

    async def _until_cancelled(self, parts: trio.Nursery) -> None:
        cancelled = trio.Event()

        async def notice() -> None:
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

        parts.start_soon(notice)
        await cancelled.wait()
        self.closing = True
        for job in self.all():
            job.cancel()

    async def end(self) -> None:
        """Take no more, cancel all, and wait until each is over."""
        self.closing = True
        for job in self.all():
            job.cancel()
        for job in self.all():
            await job.over.wait()

    # -- the jobs

    def all(self) -> list[Job]:
        """Every job, newest first."""
        return list(reversed(self._jobs.values()))

    def get(self, id: str, uid: int) -> Job:  # noqa: A002 # the word for it
        """The job of that id, if this user may see it. NoSuchJob."""
        job = self._jobs.get(id)
        if job is None or uid not in (0, job.uid):
            raise NoSuchJob(f"there is no job {printable(id)!r}; `pollprog list` shows those that there are", job=id)
        return job

    def start(
        self,
        operation: Operation,
        given: Any,
        uid: int,
        *,
        detached: bool = False,
        directory: str = "/",
        environment: Mapping[str, str] | None = None,
    ) -> Job:
        """Start an operation with the parameters that a caller has given, decoded. The job runs when this returns.

        Raises what is wrong with the parameters, JobExists, TooBusy.
        """
        arguments = operation.arguments(given)
        interval = given.interval if given.interval is not None else self.settings.interval
        if not 0.1 <= interval <= 86400:
            raise InvalidParameter("interval: from 0.1 to 86400 seconds", parameter="interval")
        job = Job(
            self._new_id(operation.name, given.job),
            operation,
            operation.title(arguments),
            uid,
            detached=detached,
            first=self.settings.initial_delay,
        )
        at_work = sum(not other.over.is_set() for other in self._jobs.values())
        if self.closing or at_work >= self.settings.jobs:
            what = "the daemon is ending" if self.closing else f"{at_work} jobs are at work already, which is the limit"
            raise TooBusy(f"{what}; try again later", limit=self.settings.jobs)
        job.work = Work(
            self._sampler,
            job.channel.report,
            self._change(job),
            name=operation.name.lower(),
            directory=directory,
            environment=environment,
            interval=min(interval, LOOK),
            grace=self.settings.grace,
        )
        self._jobs[job.id] = job
        assert self._nursery is not None, "run() comes first"
        self._nursery.start_soon(self._run, job, job.work, arguments)
        self.tell()
        return job

    def _change(self, job: Job) -> Any:
        def change(state: State, *, since: float = 0.0) -> None:
            job.channel.change(state, since=since)
            self.tell()

        return change

    async def _run(self, job: Job, work: Work, arguments: Mapping[str, Any]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(job.fan.run)
            await job.run(work, arguments, self._threads)
        # Whoever followed it has been offered its last status.
        job.work = None
        job.over.set()
        self._forget()
        self.tell()

    def _new_id(self, name: str, wanted: str | None) -> str:
        if wanted is not None:
            if not ID.fullmatch(wanted):
                raise InvalidParameter("job: an id has up to 64 letters, digits, . _ and -", parameter="job")
            if wanted in self._jobs:
                raise JobExists(f"there is a job {wanted!r} already", job=wanted)
            return wanted
        while True:
            made = f"{name.lower()}-{secrets.token_hex(4)}"
            if made not in self._jobs:
                return made

    def _forget(self) -> None:
        """Let go of the oldest of those that have ended, if they are too many."""
        ended = [job for job in self._jobs.values() if job.over.is_set()]
        for job in ended[: max(0, len(ended) - self.settings.finished)]:
            del self._jobs[job.id]

    def tell(self) -> None:
        """Wake those who watch all jobs."""
        self.changed.set()
        self.changed = trio.Event()


def encode_status(status: Status) -> bytes:
    """A status as a reply that continues."""
    return encode_reply({"status": message_of(status)}, continues=True)


def result_outcome(result: Any) -> Outcome:
    """How a job ended that returned this: what was only observed may have ended in any way."""
    return result.outcome() if hasattr(result, "outcome") else Outcome(State.SUCCEEDED, 0)


def error_outcome(error: PollprogError) -> Outcome:
    """How a job ended that raised this."""
    if isinstance(error, Cancelled):
        return Outcome(State.CANCELLED)
    if isinstance(error, CommandFailed):
        if error.exit is None and error.signal is None:
            return Outcome(State.LOST)
        return Outcome(State.FAILED, error.exit, error.signal)
    return Outcome(State.FAILED, error.exit_status)


def as_ours(error: BaseException, title: str) -> PollprogError:
    """Whatever an operation raised, as something that can be told."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, PollprogError):
        return error
    return InternalError(f"{title.partition(' ')[0]} failed: {type(error).__name__}: {printable(str(error))}"[:1000])


def printable(text: str) -> str:
    """`text` as JSON can carry it."""
    return text.encode("utf-8", "replace").decode("utf-8")
