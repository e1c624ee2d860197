"""A door onto the jobs: the Varlink service on a socket.

A call of an operation is a job that ends with its connection. Who submits one, or follows another's, may come and go. Each
connection is served by one task, each job's followers by one fan, and all jobs share one sampler. What is said here is in
the interface description, which is made from the same declarations.
"""

from __future__ import annotations

import logging
import math
import os
import resource
import signal
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import trio
from msgspec import Raw, json

from pollprog import __version__, declared, errors
from pollprog.bridge import bridged
from pollprog.catalogue import catalogue
from pollprog.config import default_path, load
from pollprog.describing import Described, description
from pollprog.errors import ConfigurationError, MethodNotFound
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
    RowMessage,
    StateReply,
    SubmitParameters,
    SubmitReply,
    TopParameters,
    TopReply,
    WatchParameters,
    message_of,
    printable,
)
from pollprog.operations import checked_path
from pollprog.serving import Interface, Limits, Method, NoParameters, Service
from pollprog.varlink import decode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from msgspec import Struct

    from pollprog.config import Configuration
    from pollprog.jobs import Job
    from pollprog.operations import Operation
    from pollprog.serving import Request
    from pollprog.varlink import Parameters

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
DESCRIPTORS = 1 << 16
"""As many as the limits of a configuration may come to; who may have more needs no more."""
WORDS = 5.0
"""Seconds at the end in which those who wait for a reply can be given it."""
PAGE = 1 << 19
"""Bytes of jobs that go into one message; more go into another, or are left out."""
KEPT = 86400.0
"""Seconds for which a daemon that ends when it is idle remembers jobs that were submitted."""
VIEWERS = 8
"""So many may look at the whole machine at a time: each has looks of its own."""
GAP = 0.02
"""Seconds between two looks of one who watches all jobs, if their states change faster."""


class Daemon:
    """The methods of the interface, on one set of jobs."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        environment: Mapping[str, str] | None = None,
        again: Callable[[], Configuration] | None = None,
    ) -> None:
        self.again = again or (lambda: configuration)
        """Reads the configuration as it is by then."""
        self.environment = dict(os.environ if environment is None else environment)
        """What commands get, if nobody says otherwise."""
        self.operations = catalogue(configuration)
        declared.use(configuration.path)
        self.jobs = Jobs(configuration.daemon)
        self.looking = 0
        """Calls of Top."""
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
        """Go on with another configuration; jobs and connections stay. ConfigurationError changes nothing.

        How many connections there may be, and how long a message, stay too.
        """
        self.operations = catalogue(configuration)
        declared.use(configuration.path)
        self.jobs.configure(configuration.daemon)
        self.service.offer((self.interface(),))

    def interface(self) -> Interface:
        """The interface as it is now."""
        return interface_of(self.operations, self)

    # -- operations

    async def call(self, operation: Operation, request: Request[Any]) -> Struct:
        """A call of an operation: a job that ends with its connection."""
        job = self.jobs.start(operation, request.parameters, request.peer.uid, environment=self.environment)
        try:
            await self.tell(job, request, self.jobs.interval(request.parameters.interval))
        finally:
            job.cancel()  # does nothing to one that is over
        if job.error is not None:
            raise job.error
        return operation.reply() if operation.result is None else operation.reply(result=job.result)

    async def tell(
        self, job: Job, request: Request[Any], interval: float, *, after: int = 0, at_once: bool = False
    ) -> None:
        """Wait until a job is over, and send its statuses, if the caller wants them; `at_once`: the latest without delay."""
        self.answering += 1
        try:
            if not request.more:
                await job.over.wait()
                return
            watcher = job.fan.add(request, interval=interval, after=after, at_once=at_once)
            try:
                await job.over.wait()
                last = job.channel.latest()
                if watcher.heard and watcher.told < last.seq:  # its reader took it too slowly
                    await request.send({"status": message_of(last)})
            finally:
                job.fan.remove(watcher)
        finally:
            self.answering -= 1

    # -- jobs

    async def list_jobs(self, request: Request[ListParameters]) -> Parameters:
        """All jobs that the caller may see, newest first, as far as a message holds them. `Get` says more of one."""
        told = request.parameters
        jobs = [job for job in self.jobs.seen_by(request.peer.uid) if told.state is None or job.state == told.state]
        return next(pages(jobs[: None if told.limit is None else max(0, told.limit)]))

    async def get(self, request: Request[OneJob]) -> JobReply:
        """One job as it is now; never waits."""
        return JobReply(self.job(request).message())

    async def follow(self, request: Request[FollowParameters]) -> FollowReply:
        """A job's latest status at once, then each newer one, then the job when it is over. Going away leaves it alone."""
        told = request.parameters
        job, interval, after = self.job(request), self.jobs.interval(told.interval), told.after or 0
        newer = job.channel.seq > after or told.after is None
        await self.tell(job, request, interval, after=after, at_once=newer and not job.over.is_set())
        return FollowReply(job=job.message())

    async def watch(self, request: Request[WatchParameters]) -> Parameters:
        """All jobs that the caller may see, then, again and again, those that have changed. Ends when the caller goes away."""
        interval = self.jobs.interval(request.parameters.interval)
        told: dict[str, tuple[int, int]] = {}
        tick = 0.0
        while True:
            event, now = self.jobs.changed, trio.current_time()
            known, told, changed = told, {}, []
            for job in self.jobs.seen_by(request.peer.uid):
                news = job.channel.changed, job.channel.seq
                last = known.get(job.id)
                moved = last is not None and last[1] != news[1] and now >= tick and job.begun
                if last is None or last[0] != news[0] or moved:
                    changed.append(job)
                    last = news
                told[job.id] = last
            if now >= tick:
                tick = now + interval
            if changed or not known:
                for page in pages(changed):
                    await request.send(page)
            with trio.move_on_at(tick if any(not job.over.is_set() for job in self.jobs.all()) else math.inf):
                await event.wait()
            await trio.sleep(GAP)

    async def top(self, request: Request[TopParameters]) -> Parameters:
        """Everything on this machine whose progress can be told, whoever started it, again and again. Ends when the caller goes away."""
        from pollprog.looks import Looks  # most daemons are never asked

        interval = self.jobs.interval(request.parameters.interval)
        if self.looking >= VIEWERS:
            raise errors.TooBusy(f"{VIEWERS} look at this machine already, and no more may", limit=VIEWERS)
        self.looking += 1
        try:
            async with trio.open_nursery() as nursery:
                looks = Looks()
                nursery.start_soon(looks.run)
                await looks.first()
                while not looks.failed:
                    rows = looks.rows()
                    told = [RowMessage(job.pid, printable(job.command), message_of(status)) for job, status in rows]
                    await request.send({"rows": told, "notes": looks.notes(rows)})
                    looks.update(interval)
                    await trio.sleep(interval)
                raise errors.InternalError("this machine cannot be looked at; the log of the daemon says why")
        finally:
            self.looking -= 1

    async def cancel(self, request: Request[OneJob]) -> StateReply:
        """Ask a job to stop, and say how it stands. It is over when its work has really ended."""
        job = self.job(request)
        if job.over.is_set():
            raise errors.JobOver(f"job {job.id} is over: {job.state}", job=job.id)
        job.cancel()
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
        job = self.jobs.start(
            operation,
            decode(told.parameters, operation.struct),
            request.peer.uid,
            detached=True,
            directory="/" if told.directory is None else checked_path("directory", told.directory),
            environment=self.environment if told.environment is None else told.environment,
        )
        return SubmitReply(job.id)

    async def describe(self, request: Request[NoParameters]) -> DescribeReply:
        """What can be called, for who wants to help somebody with it."""
        del request
        return DescribeReply([operation.described() for operation in self.operations.values()])

    def job(self, request: Request[OneJob] | Request[FollowParameters]) -> Job:
        """The one that a caller names."""
        return self.jobs.get(request.parameters.job, request.peer.uid)

    # -- a lifetime

    async def run(
        self,
        listeners: Sequence[socket.socket],
        connected: Iterable[socket.socket] = (),
        *,
        idle: float | None = None,
        notifies: str = "",
        place: str = "",
    ) -> None:
        """Serve, until SIGTERM or SIGINT; then end every job, in order: a second one has no patience. SIGHUP: `read_again`.

        Where nobody else can connect, serve until those who are `connected` have gone, and what they have submitted is over.
        `idle`: end after so many seconds without anybody and without a job; a day, if there are jobs that somebody may come back
        for. `notifies`: where systemd wants to hear of it. `place`: what the log says of where it listens.
        """
        ending = False
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:

                async def end() -> None:
                    notify("STOPPING=1", notifies)
                    self.jobs.stop()
                    await self.jobs.wait()
                    with trio.move_on_after(WORDS):
                        while self.answering:  # noqa: ASYNC110 # a few times at the most, once in a lifetime
                            await trio.sleep(0.01)
                    nursery.cancel_scope.cancel()

                async def serve_connected() -> None:
                    async with trio.open_nursery() as serving:
                        for sock in connected:
                            serving.start_soon(self.service.serve_connection, sock)
                    if not listeners:
                        await self.jobs.wait()
                        await end()

                async def end_when_idle(seconds: float) -> None:
                    busy = trio.current_time()
                    while trio.current_time() - busy < (max(seconds, KEPT) if self.remembers() else seconds):
                        await trio.sleep(seconds / 4)
                        if self.service.connections or self.jobs.at_work():
                            busy = trio.current_time()
                    await end()

                await nursery.start(self.jobs.run)
                nursery.start_soon(self.service.serve, listeners)
                if idle is not None:
                    nursery.start_soon(end_when_idle, idle)
                if connected:
                    nursery.start_soon(serve_connected)
                notify("READY=1", notifies)
                if place:
                    log.info("listening on unix:%s", place)
                async for number in signals:
                    if number == signal.SIGHUP:
                        self.read_again()
                    else:
                        nursery.start_soon(self.jobs.hurry if ending else end)
                        ending = True

    def remembers(self) -> bool:
        """Whether there are jobs whose outcome somebody may yet want to know."""
        return any(job.detached for job in self.jobs.all())

    def read_again(self) -> None:
        """Take what the configuration says now; if that cannot be, everything stays as it was."""
        try:
            self.reload(self.again())
            log.info("the configuration was read again")
        except ConfigurationError as error:
            log.warning("the configuration stays as it was: %s", error)


def pages(jobs: Iterable[Job]) -> Iterator[Parameters]:
    """Messages that tell of jobs, none too long for anybody; one at least."""
    page: list[Raw] = []
    size = 0
    for job in jobs:
        told = json.encode(job.message(brief=True))
        if size + len(told) > PAGE:
            yield {"jobs": page}
            page, size = [], 0
        page.append(Raw(told))
        size += len(told)
    yield {"jobs": page}


def methods_of(daemon: Daemon | None) -> list[tuple[Described, Callable[..., Any]]]:
    """The methods that are not operations."""
    told: list[tuple[str, Any, type[Struct], Literal["no", "may", "must"]]] = [
        ("list_jobs", ListParameters, JobsReply, "no"),
        ("get", OneJob, JobReply, "no"),
        ("follow", FollowParameters, FollowReply, "may"),
        ("watch", WatchParameters, JobsReply, "must"),
        ("top", TopParameters, TopReply, "must"),
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


def main(
    configuration: Configuration,
    path: str,
    again: Callable[[], Configuration] | None = None,
    *,
    idle: float | None = None,
) -> None:
    """``pollprog daemon``: serve at `path`, or on what systemd or varlinkctl hand over. ListenError.

    `again`: reads the configuration once more, when somebody asks for it; else the file is read. `idle`: as for `Daemon.run`.
    """
    logging.basicConfig(format="pollprog: %(message)s", level=logging.INFO)
    raise_limit()
    reading = again or partial(load, None if configuration.path in ("", default_path()) else configuration.path)
    with ExitStack() as stack:
        listeners, connected = handed_over(os.environ)
        notifies = os.environ.pop("NOTIFY_SOCKET", "")
        if os.environ.pop("SYSTEMD_VARLINK_LISTEN", "") == "-":  # as under varlinkctl's ssh-exec:
            connected.append(bridged())
        daemon, place = Daemon(configuration, again=reading), ""
        if not listeners and not connected:
            listeners, place = [stack.enter_context(listening(path))], path
        trio.run(partial(daemon.run, listeners, connected, idle=idle, notifies=notifies, place=place))


def raise_limit() -> None:
    """Take as many descriptors as we may: each connection has one, and each job several."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, DESCRIPTORS)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
