"""All jobs: start, list, follow, cancel. The one place where work meets a channel.

A job is one run of an operation. It has an id, an owner, a channel, and exactly one outcome. Each runs in the nursery of `Jobs`,
and belongs to nobody's connection: who called it may cancel it by going away, and that is for the door to say. Those that have
ended are remembered, up to a limit; whoever still holds one keeps it.

A job that is asked to stop is `cancelling` from that moment, and over when its work has really ended, however long that takes.
Whatever an operation raises, or returns, becomes the job's outcome, and harms no other.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections import deque
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
    leaves,
    visible,
)
from pollprog.fan import Fan
from pollprog.messages import JobMessage, message_of, printable
from pollprog.sampler import Sampler
from pollprog.status import Outcome, State
from pollprog.varlink import encode_reply, error_reply
from pollprog.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pollprog.config import Service
    from pollprog.operations import Operation
    from pollprog.status import Status

__all__ = ["Job", "Jobs"]

log = logging.getLogger("pollprog")

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOOK = 1 / 3
"""Seconds between two looks at a job, if nobody asks for more."""
HURRIED = 1.0
"""Seconds within which the loops have to stop when nobody has patience any more."""


class Job:
    """One run of an operation. `changed` is called when it changes its state."""

    def __init__(
        self,
        id: str,  # noqa: A002 # the word for it
        operation: Operation,
        title: str,
        uid: int,
        *,
        detached: bool,
        first: float,
        changed: Callable[[], None],
    ) -> None:
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
        self._changed = changed
        self._scope = trio.CancelScope()

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.channel.latest().state

    @property
    def begun(self) -> bool:
        """Whether those who follow it may be told of it."""
        return self.over.is_set() or self.channel.clock() >= self.channel.first

    def change(self, state: State, *, since: float = 0.0) -> None:
        """Its state, for its work to say."""
        self.channel.change(state, since=since)
        self._changed()

    def cancel(self) -> None:
        """It is to stop; says so at once, and is over when the work has really ended. Does nothing to one that is over."""
        if self.work is not None and not self._scope.cancel_called:
            self.change(State.CANCELLING)
            self.work.stop()
            self._scope.cancel()

    def pause(self) -> None:
        """Let it stand still. JobOver; OperationError for one that only watches."""
        self._running().pause()

    def resume(self) -> None:
        """Let it go on. JobOver; OperationError for one that only watches."""
        self._running().resume()

    def _running(self) -> Work:
        if self.work is None:
            raise JobOver(f"job {self.id} is over: {self.state}", job=self.id)
        if self.work.observes:
            raise OperationError(f"job {self.id} only watches, and cannot be paused; a process can, by kill -STOP")
        return self.work

    def message(self, *, brief: bool = False) -> JobMessage:
        """The job as it is told; `brief`: without what may be long, a result and the parameters of an error."""
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
            parameters=None if brief else parameters,
            result=None if brief else self.result,
        )

    async def run(self, work: Work, arguments: Mapping[str, Any], within: trio.CapacityLimiter) -> None:
        """Do the work, and tell how it ended. Raises nothing."""
        try:
            with self._scope:
                self.result = await self.operation.run(work, arguments, within)
                outcome = result_outcome(self.result)
            if self._scope.cancelled_caught:
                raise Cancelled(f"{self.operation.name} was cancelled")
        except BaseException as error:  # an operation may raise anything, SystemExit too; the others go on
            self.error = as_ours(error, self.operation.name)
            outcome = error_outcome(self.error)
            if isinstance(self.error, InternalError):
                log.error("job %s failed", self.id, exc_info=error)  # noqa: TRY400 # which is not the exception at hand
        self.ended = time.time()
        self.channel.finish(outcome)
        self._changed()


class Jobs:
    """Every job of this process. Start `run` in a nursery, then the rest, all in the trio thread."""

    def __init__(self, settings: Service) -> None:
        self.settings = settings
        self.changed = trio.Event()
        """Set, and replaced, when a job begins, changes its state, or ends."""
        self._jobs: dict[str, Job] = {}
        self._ended: deque[str] = deque()
        """Those that are over, the oldest first."""
        self._sampler = Sampler()
        self._nursery: trio.Nursery | None = None
        self._threads = trio.CapacityLimiter(settings.jobs)
        self._closing = trio.Event()

    def configure(self, settings: Service) -> None:
        """Go on with other settings; jobs that run keep theirs."""
        self.settings = settings
        self._threads.total_tokens = settings.jobs

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the jobs that are started, until cancelled; then cancel them, and wait for their end."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run_all)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self.stop()

    async def _run_all(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as sampling:
                sampling.start_soon(self._sampler.run)
                async with trio.open_nursery() as self._nursery:
                    task_status.started()
                    await self._closing.wait()
                sampling.cancel_scope.cancel()

    # -- the end

    def stop(self) -> None:
        """Take no more, and cancel all."""
        self._closing.set()
        for job in self.all():
            job.cancel()

    async def wait(self) -> None:
        """Wait until each of those that there are now is over."""
        for job in self.all():
            await job.over.wait()

    async def hurry(self) -> None:
        """Kill what was told to stop and has not; leave behind what does not stop then."""
        for work in self.at_work():
            work.hurry()
        with trio.move_on_after(HURRIED):
            await self.wait()
        for work in self.at_work():
            work.abandon()

    # -- the jobs

    def all(self) -> list[Job]:
        """Every job, newest first."""
        return list(reversed(self._jobs.values()))

    def at_work(self) -> list[Work]:
        """The work of those that are not over."""
        return [job.work for job in self.all() if job.work is not None]

    def get(self, id: str, uid: int) -> Job:  # noqa: A002 # the word for it
        """The job of that id, if this user may see it. NoSuchJob."""
        job = self._jobs.get(id)
        if job is None or not sees(uid, job):
            raise NoSuchJob(
                f"there is no job {printable(id)[:64]!r}; `pollprog list` shows those that there are", job=id
            )
        return job

    def seen_by(self, uid: int) -> list[Job]:
        """The jobs that this user may see, newest first: their own, and all of them for root."""
        return [job for job in self.all() if sees(uid, job)]

    def interval(self, wanted: float | None) -> float:
        """Seconds between two statuses, for who wants so many. InvalidParameter."""
        if wanted is not None and not 0.1 <= wanted <= 86400:
            raise InvalidParameter("interval: from 0.1 to 86400 seconds", parameter="interval")
        return self.settings.interval if wanted is None else wanted

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
        interval = self.interval(given.interval)
        name = self._new_id(operation.name, given.job)
        limit, at_work = self.settings.jobs, len(self._jobs) - len(self._ended)
        if self._closing.is_set() or at_work >= limit:
            ending = self._closing.is_set()
            what = "the daemon is ending" if ending else f"{at_work} jobs are at work already, which is the limit"
            raise TooBusy(f"{what}; try again later", limit=limit)
        job = Job(
            name,
            operation,
            operation.title(arguments),
            uid,
            detached=detached,
            first=self.settings.initial_delay,
            changed=self._tell,
        )
        job.work = Work(
            self._sampler,
            job.channel.report,
            job.change,
            name=operation.name.lower(),
            called=operation.name,
            directory=directory,
            environment=environment,
            interval=min(interval, LOOK),
            grace=self.settings.grace,
            threads=self._threads,
        )
        assert self._nursery is not None, "run() comes first"
        self._jobs[job.id] = job
        self._nursery.start_soon(self._run, job, job.work, arguments)
        self._tell()
        return job

    async def _run(self, job: Job, work: Work, arguments: Mapping[str, Any]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(job.fan.run)
            await job.run(work, arguments, self._threads)
        # Whoever followed it has been offered its last status.
        job.work = None
        job.over.set()
        self._ended.append(job.id)
        while len(self._ended) > self.settings.finished:
            del self._jobs[self._ended.popleft()]

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

    def _tell(self) -> None:
        """Wake those who watch all jobs."""
        self.changed.set()
        self.changed = trio.Event()


def sees(uid: int, job: Job) -> bool:
    """Whether this user may know of a job."""
    return uid in (0, job.uid)


def encode_status(status: Status) -> bytes:
    """A status as a reply that continues."""
    return encode_reply({"status": message_of(status)}, continues=True)


# --- outcomes


def result_outcome(result: Any) -> Outcome:
    """How a job ended that returned this: what was only observed may have ended in any way."""
    outcome = getattr(result, "outcome", None)
    said = outcome() if callable(outcome) else None
    return said if isinstance(said, Outcome) else Outcome(State.SUCCEEDED, 0)


def error_outcome(error: PollprogError) -> Outcome:
    """How a job ended that raised this."""
    if isinstance(error, Cancelled):
        return Outcome(State.CANCELLED)
    if isinstance(error, CommandFailed):
        lost = error.exit is None and error.signal is None
        return Outcome(State.LOST if lost else State.FAILED, error.exit, error.signal)
    return Outcome(State.FAILED, error.exit_status)


def as_ours(error: BaseException, name: str) -> PollprogError:
    """Whatever an operation raised, as something that can be told. Of several, that they were cancelled is told last."""
    raised = list(leaves(error))
    ours = [leaf for leaf in raised if isinstance(leaf, PollprogError)]
    if len(ours) == len(raised):
        return min(ours, key=lambda leaf: isinstance(leaf, Cancelled))
    first = next(leaf for leaf in raised if not isinstance(leaf, PollprogError))
    return InternalError(f"{name} failed: {type(first).__name__}: {said_by(first)}"[:1000])


def said_by(error: BaseException) -> str:
    """The text of a stranger's exception in one line; it may fail to give one."""
    try:
        words = " ".join(str(error).split())
        return visible(words)
    except Exception:  # noqa: BLE001 # a stranger's code
        return "no text"
