"""A door onto the jobs: the Varlink service on a socket.

A call of an operation is a job that ends with its connection. Who submits one, or follows another's, may come and go. Each
connection is served by one task, each job's followers by one fan, and all jobs share one sampler. What is said here is in
the interface description, which is made from the same declarations.
"""

from __future__ import annotations

import logging
import math
import os
import signal
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import trio

from pollprog import __version__, errors
from pollprog.catalogue import catalogue
from pollprog.config import load
from pollprog.describing import Described, description
from pollprog.errors import ConfigurationError, InvalidParameter, MethodNotFound, PathNotAbsolute
from pollprog.jobs import Jobs
from pollprog.listening import handed_over, listening, notify
from pollprog.messages import (
    INTERFACE,
    DescribeReply,
    FollowParameters,
    FollowReply,
    JobReply,
    JobsReply,
    ListParameters,
    OneJob,
    StateReply,
    SubmitParameters,
    SubmitReply,
    WatchParameters,
    message_of,
)
from pollprog.serving import Interface, Limits, Method, NoParameters, Service
from pollprog.varlink import decode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from msgspec import Struct

    from pollprog.config import Configuration
    from pollprog.jobs import Job
    from pollprog.operations import Operation
    from pollprog.serving import Request

__all__ = ["Daemon", "interface_of", "main"]

log = logging.getLogger("pollprog")

DOC = """\
Run long operations and learn how far they are: request, status messages, reply.

A method marked [Supports 'more' flag] may be called with 'more' or without. With it, replies that have only 'status' come first,
each with 'continues'; the last one has the result. Without it only the last one comes. Closing the connection cancels the
call that runs on it; what was submitted goes on. An operation's parameters 'job' and 'interval' are the same for all."""
RAISED = (
    errors.PathNotAbsolute, errors.NoSuchFile, errors.PermissionDenied, errors.IsDirectory, errors.NotDirectory, errors.NotAFile,
    errors.SameFile, errors.DestinationExists, errors.OperationFailed, errors.NoSpace, errors.Cancelled, errors.CommandFailed,
    errors.CommandNotFound, errors.CommandNotExecutable, errors.ProcessError, errors.NoSuchJob, errors.JobExists, errors.JobOver,
    errors.TooBusy, errors.OperationError, errors.InternalError,
)  # fmt: skip
WORDS = 5.0
"""Seconds at the end in which those who wait for a reply can be given it."""


class Daemon:
    """The methods of the interface, on one set of jobs."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.operations = catalogue(configuration)
        self.jobs = Jobs(configuration.daemon)
        self.answering = 0
        """Calls that wait for the end of a job."""
        told = configuration.daemon
        self.service = Service(
            (self.interface(),),
            vendor="pollprog",
            product="pollprog",
            url="",
            version=__version__,
            limits=Limits(connections=told.connections, message=told.message_size),
        )

    def reload(self, configuration: Configuration) -> None:
        """Go on with another configuration; jobs and connections stay. ConfigurationError changes nothing."""
        operations = catalogue(configuration)
        self.configuration, self.operations = configuration, operations
        self.jobs.settings = configuration.daemon
        self.service.offer((self.interface(),))

    def interface(self) -> Interface:
        """The interface as it is now."""
        return interface_of(self.operations, self)

    # -- operations

    async def call(self, operation: Operation, request: Request[Any]) -> Struct:
        """A call of an operation: a job that ends with its connection."""
        job = self.jobs.start(operation, request.parameters, request.peer.uid, environment=os.environ)
        try:
            await self.tell(job, request, request.parameters.interval)
        finally:
            job.cancel()  # does nothing to one that is over
        if job.error is not None:
            raise job.error
        return operation.reply() if operation.result is None else operation.reply(result=job.result)

    async def tell(self, job: Job, request: Request[Any], interval: float | None, *, after: int | None = None) -> None:
        """Send the statuses of a job, if the caller wants them, until it is over."""
        if not request.more:
            await job.over.wait()
            return
        every = self.interval(interval)
        watcher = job.fan.add(
            request, interval=every, after=after or 0, at_once=after is not None and not job.over.is_set()
        )
        self.answering += 1
        try:
            await job.over.wait()
            last = job.channel.latest()
            if watcher.heard and watcher.told < last.seq:  # its reader took it too slowly
                await request.send({"status": message_of(last)})
        finally:
            self.answering -= 1
            job.fan.remove(watcher)

    def interval(self, wanted: float | None) -> float:
        """Seconds between two statuses, for who wants so many. InvalidParameter."""
        if wanted is not None and not 0.1 <= wanted <= 86400:
            raise InvalidParameter("interval: from 0.1 to 86400 seconds", parameter="interval")
        return self.jobs.settings.interval if wanted is None else wanted

    # -- jobs

    async def list_jobs(self, request: Request[ListParameters]) -> JobsReply:
        """All jobs that the caller may see, newest first."""
        told, limit = request.parameters, request.parameters.limit
        jobs = [job for job in self.seen(request) if told.state is None or job.state == told.state]
        return JobsReply([job.message() for job in jobs[: None if limit is None else max(0, limit)]])

    async def get(self, request: Request[OneJob]) -> JobReply:
        """One job as it is now; never waits."""
        return JobReply(self.job(request).message())

    async def follow(self, request: Request[FollowParameters]) -> FollowReply:
        """A job's latest status at once, then each newer one, then the job when it is over. Going away leaves it alone."""
        told = request.parameters
        job = self.jobs.get(told.job, request.peer.uid)
        await self.tell(job, request, told.interval, after=told.after or 0)
        return FollowReply(job=job.message())

    async def watch(self, request: Request[WatchParameters]) -> Struct:
        """All jobs that the caller may see, then, again and again, those that have changed. Ends when the caller goes away."""
        interval = self.interval(request.parameters.interval)
        told: dict[str, tuple[str, int, float]] = {}
        first = True
        while True:
            changed, now, due = [], trio.current_time(), math.inf
            known = told
            told = {}
            event = self.jobs.changed
            for job in reversed(self.seen(request)):
                status = job.channel.latest()
                state, seq, at = known.get(job.id, ("", -1, -math.inf))
                if status.state != state or (seq != status.seq and now >= at + interval):
                    changed.append(job.message())
                    state, seq, at = status.state, status.seq, now
                if not job.over.is_set():
                    due = min(due, at + interval)
                told[job.id] = state, seq, at
            if changed or first:
                await request.send(JobsReply(changed))
                first = False
            with trio.move_on_at(max(due, now + 0.02)):
                await event.wait()

    async def cancel(self, request: Request[OneJob]) -> StateReply:
        """Ask a job to stop, and say how it stands. It is over when its work has really ended."""
        job = self.job(request)
        if job.over.is_set():
            raise errors.JobOver(f"job {job.id} is over: {job.state}", job=job.id)
        job.cancel()
        self.jobs.tell()
        return StateReply(job.state.value)

    async def pause(self, request: Request[OneJob]) -> StateReply:
        """Let a job stand still."""
        job = self.job(request)
        job.pause()
        return StateReply(job.state.value)

    async def resume(self, request: Request[OneJob]) -> StateReply:
        """Let a job go on."""
        job = self.job(request)
        job.resume()
        return StateReply(job.state.value)

    async def submit(self, request: Request[SubmitParameters]) -> SubmitReply:
        """Start an operation that goes on when the connection ends. Its parameters are checked before the reply."""
        told = request.parameters
        operation = self.operations.get(told.method.removeprefix(f"{INTERFACE}."))
        if operation is None:
            raise MethodNotFound(f"there is no operation {told.method!r}", method=told.method)
        if told.directory is not None and not told.directory.startswith("/"):
            raise PathNotAbsolute(f"directory: {told.directory!r} is not absolute", path=told.directory)
        job = self.jobs.start(
            operation,
            decode(told.parameters, operation.struct),
            request.peer.uid,
            detached=True,
            directory=told.directory or "/",
            environment=os.environ if told.environment is None else told.environment,
        )
        return SubmitReply(job.id)

    async def describe(self, request: Request[NoParameters]) -> DescribeReply:
        """What can be called, for who wants to help somebody with it."""
        del request
        return DescribeReply([operation.described() for operation in self.operations.values()])

    def seen(self, request: Request[Any]) -> list[Job]:
        """The jobs that a caller may see."""
        return [job for job in self.jobs.all() if request.peer.uid in (0, job.uid)]

    def job(self, request: Request[OneJob]) -> Job:
        """The one that a caller names."""
        return self.jobs.get(request.parameters.job, request.peer.uid)

    # -- a lifetime

    async def run(self, listeners: Iterable[socket.socket], connected: Iterable[socket.socket] = ()) -> None:
        """Serve, until SIGTERM or SIGINT; then end every job, in order. SIGHUP reads the configuration again."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.jobs.run)
                nursery.start_soon(self.service.serve, list(listeners))
                for sock in connected:
                    nursery.start_soon(self.service.serve_connection, sock)
                notify("READY=1", os.environ)
                async for number in signals:
                    if number != signal.SIGHUP:
                        break
                    self.read_again()
                notify("STOPPING=1", os.environ)
                await self.jobs.end()
                with trio.move_on_after(WORDS):
                    while self.answering:  # noqa: ASYNC110 # a few times at the most, once in a lifetime
                        await trio.sleep(0.01)
                nursery.cancel_scope.cancel()

    def read_again(self) -> None:
        """Take what the configuration says now."""
        try:
            self.reload(load(self.configuration.path if os.path.exists(self.configuration.path) else None))
            log.warning("the configuration was read again")
        except ConfigurationError as error:
            log.warning("the configuration stays as it was: %s", error)


def methods_of(daemon: Daemon | None) -> list[tuple[Described, Callable[..., Any]]]:
    """The methods that are not operations."""
    told: list[tuple[str, Any, type[Struct], Literal["no", "may", "must"]]] = [
        ("list_jobs", ListParameters, JobsReply, "no"),
        ("get", OneJob, JobReply, "no"),
        ("follow", FollowParameters, FollowReply, "may"),
        ("watch", WatchParameters, JobsReply, "must"),
        ("cancel", OneJob, StateReply, "no"),
        ("pause", OneJob, StateReply, "no"),
        ("resume", OneJob, StateReply, "no"),
        ("submit", SubmitParameters, SubmitReply, "no"),
        ("describe", NoParameters, DescribeReply, "no"),
    ]
    return [
        (
            Described(name.removesuffix("_jobs").title(), getattr(Daemon, name).__doc__ or "", parameters, reply, more),
            getattr(daemon or Daemon, name),
        )
        for name, parameters, reply, more in told
    ]


def interface_of(operations: dict[str, Operation], daemon: Daemon | None = None) -> Interface:
    """The interface with these operations; without a daemon, its description alone means anything."""
    described, methods = [], []
    for operation in operations.values():
        more = "may" if operation.progress else "no"
        docs = {parameter.name: parameter.doc for parameter in operation.parameters}
        described.append(Described(operation.name, operation.doc, operation.struct, operation.reply, more, docs))
        handler: Callable[..., Any] = partial(daemon.call, operation) if daemon is not None else Daemon.call
        methods.append(Method(operation.name, handler, operation.struct, "may" if operation.progress else "no"))
    for one, handler in methods_of(daemon):
        described.append(one)
        methods.append(Method(one.name, handler, one.parameters or NoParameters, one.more))  # type: ignore[arg-type] # one of the three
    return Interface(INTERFACE, description(INTERFACE, DOC, described, RAISED), tuple(methods))


def main(configuration: Configuration, path: str) -> None:
    """``pollprog daemon``: serve at `path`, or on the sockets that systemd hands over. ListenError."""
    logging.basicConfig(format="pollprog: %(message)s", level=logging.INFO)
    daemon = Daemon(configuration)
    with ExitStack() as stack:
        listeners, connected = handed_over(os.environ)
        if not listeners and not connected:
            listeners = [stack.enter_context(listening(path))]
            log.info("listening on unix:%s", path)
        trio.run(daemon.run, listeners, connected)
