"""A status in words: the bar's line, a line of log, a line of JSON, and how it ended.

Pure functions from a `Status` to text; no clock, no descriptor. The rules:

- Nothing pretends to know more than it does. A percentage is floored and stays below 100 until the work has ended
  well; a remaining time is rounded up in steps that grow with it, is a range where the estimate is loose, and is
  never 0. What cannot be told is left out or called by its name: estimating, stalled, finishing.
- Whatever colour says, a word says too.
- Names, phases and sources come from strangers. Control characters, escape sequences, bidirectional overrides and
  undecodable bytes in them never reach a terminal.
- A bar line is at least one cell narrower than the window, so that no terminal wraps it.

wcwidth and msgspec take longer to import than a short command takes to run; both are imported when first needed.
"""

from __future__ import annotations

import math
import signal
from typing import TYPE_CHECKING

from pollprog.status import Bound, State, Unit

if TYPE_CHECKING:
    from pollprog.status import Status

__all__ = [
    "LogLines",
    "amount_of",
    "bar_line",
    "clean",
    "gauge",
    "json_line",
    "outcome_line",
    "percent_of",
    "speed_of",
    "standing_of",
    "taskbar",
]

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_TIMES = ((86400, "d", "d"), (3600, "h", "h"), (60, "min", "m"), (1, "s", "s"))
_BOUNDS = {
    Bound.EXACT: ("", "", ""),
    Bound.UPPER: ("at most ", "≤", "<="),
    Bound.LOWER: ("at least ", "≥", ">="),
    Bound.ESTIMATE: ("~", "~", "~"),
}
_GREEN, _YELLOW, _RED = 32, 33, 31
_LONGEST = 999 * 86400  # seconds; further than that nobody plans


# --- text that is safe to show, and how wide it is


def clean(text: str, *, unicode: bool = True) -> str:
    """`text` as one line without anything that a terminal would obey: white space becomes a blank, an undecodable
    byte a question mark, and other control and format characters vanish. Without `unicode`, plain ASCII.
    """
    if len(text) > 1000:  # combining characters take no cells, so that width alone bounds nothing
        text = text[:500] + text[-500:]
    if not (text.isascii() and text.isprintable()):
        text = "".join(_safe(char) for char in text)
    return text if unicode else text.encode("ascii", "replace").decode("ascii")


def _safe(char: str) -> str:
    if "\ufe00" <= char <= "\ufe0f":  # variation selectors change a width, and terminals disagree on how
        return ""
    if char.isprintable():
        return char
    if char.isspace():
        return " "
    return "?" if "\ud800" <= char <= "\udfff" else ""


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from wcwidth import wcwidth

    return sum(max(0, wcwidth(char)) for char in text)


def _elide(text: str, room: int, *, unicode: bool) -> str:
    """`text` in at most `room` cells: both ends tell more about a file name than one."""
    if _cells(text) <= room:
        return text
    mark = "…" if unicode else ".."
    head = tail = ""
    left = room - _cells(mark)
    for here, there in zip(text, reversed(text), strict=True):
        if _cells(head + here + tail) > left:
            break
        head += here
        if _cells(head + tail + there) > left:
            break
        tail = there + tail
    return head + mark + tail


# --- numbers in words


def _known(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) and number >= 0 else None


def _bytes(size: float, *, of: float | None = None) -> str:
    """Three figures or so; with `of`, ``1.2 of 4.0 GiB``, where the first number is floored to flatter nobody."""
    if of is not None and 1024 <= size < of / 10:  # in the unit of the whole it would be 0.0 for long
        return f"{_bytes(size)} of {_bytes(of)}"
    whole = size if of is None else of
    step = 0
    while whole >= 999.5 and step < len(_SIZES) - 1:
        step, whole, size = step + 1, whole / 1024, size / 1024
    digits = 1 if step and whole < 9.95 * (1 if of is None else 10) else 0
    if of is None:
        return f"{whole:.{digits}f} {_SIZES[step]}"
    floored = math.floor(size * 10**digits) / 10**digits
    return f"{floored:.{digits}f} of {whole:.{digits}f} {_SIZES[step]}"


def amount_of(status: Status) -> str:
    """How much is done, of how much; nothing for parts, whose number means nothing to a reader."""
    if status.current is None or status.unit is Unit.PARTS or (status.total is None and not status.current):
        return ""
    if status.unit is Unit.BYTES:
        return _bytes(status.current, of=status.total)
    of = "" if status.total is None else f" of {_count(status.total)}"
    return f"{_count(status.current)}{of} items"


def _count(number: int) -> str:
    """A whole number, in groups of three where it is long: ``1,234,567``."""
    return f"{number:,}" if number >= 10_000 else str(number)


def _speed(rate: float | None, unit: Unit) -> str:
    rate = _known(rate)
    if not rate or unit is Unit.PARTS:
        return ""
    if unit is Unit.BYTES:
        return f"{_bytes(rate)}/s" if rate >= 1 else ""
    if rate >= 0.995:
        return f"{rate:.0f}/s" if rate >= 9.95 else f"{rate:.1f}/s"
    return f"{rate * 60:.0f}/min" if rate * 60 >= 0.5 else ""


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(min(_known(seconds) or 0, _LONGEST)), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def _span(seconds: float, *, short: bool = False) -> str:
    """A stretch of time in its two largest units: ``2 h 10 min``, or ``2h10m``."""
    left, said = int(min(seconds, _LONGEST)), ""
    for size, name, letter in _TIMES:
        number, left = divmod(left, size)
        if number or (size == 1 and not said):
            more = f"{number}{letter}" if short else f"{number} {name}"
            if said:
                return said + ("" if short else " ") + more
            said = more
        elif said:
            return said
    return said


def _took(seconds: float) -> str:
    seconds = _known(seconds) or 0.0
    return f"{seconds:.1f} s" if seconds < 59.95 else _span(seconds + 0.5)


def _about(seconds: float, *, short: bool) -> str:
    step = 5 if seconds <= 55 else 15 if seconds <= 285 else 60 if seconds < 86400 else 3600
    rounded = max(step, math.ceil(min(seconds, _LONGEST) / step) * step)
    return _span(rounded, short=True) if short else f"about {_span(rounded)}"


def _between(low: float, high: float, *, short: bool) -> str:
    """A loose estimate: ``3 to 12 min``, in the one unit that fits its upper end."""
    size, name, letter = _TIMES[3 if high <= 60 else 2 if high <= 5400 else 1 if high <= 129600 else 0]
    step = 5 if size == 1 else 1
    first = int(low // (size * step)) * step
    last = math.ceil(min(high, _LONGEST) / (size * step)) * step
    if short:
        return f"{first}-{last}{letter}" if first else f"<{last}{letter}"
    return f"{first} to {last} {name}" if first else f"up to {last} {name}"


def _remaining(status: Status, *, short: bool = False) -> str:
    remaining, low, high = _known(status.remaining), _known(status.low), _known(status.high)
    if remaining is None:
        return ""
    if low is not None and high is not None and high > 3 * low and high > 0:
        return _between(low, high, short=short)
    return _about(remaining, short=short)


def percent_of(status: Status, *, short: bool = False, unicode: bool = True) -> str:
    """The percentage, floored, with what bounds it in words; empty where there is none, 100 only at a good end."""
    if status.state is State.SUCCEEDED:
        return "100%" if short else "100 %"
    fraction = _known(status.fraction)
    if fraction is None:
        return ""
    whole = min(99, math.floor(fraction * 100))
    words, sign, ascii_sign = _BOUNDS[status.bound]
    if short:
        return f"{sign if unicode else ascii_sign}{whole}%"
    return f"{words}{whole} %"


def standing_of(status: Status, *, short: bool = False, left: str = "") -> str:
    """The last words of a line: how long it will take (with `left` behind), or what stands in the way of saying so."""
    if status.state is not State.RUNNING:
        return {State.SUCCEEDED: "done", State.LOST: "ended"}.get(status.state, str(status.state))
    if status.finishing:
        return "finishing"
    if status.stalled:
        return f"stalled {_span(_known(status.idle) or 0, short=short)}"
    if status.total is None:
        return ""
    remaining = _remaining(status, short=short)
    return remaining + left if remaining else "estimating"


def _label(name: str, phase: str, *, unicode: bool) -> str:
    return ": ".join(word for word in (clean(name, unicode=unicode), clean(phase, unicode=unicode)) if word)


def speed_of(status: Status) -> str:
    """The rate; empty while there is none."""
    if status.state is not State.RUNNING or status.stalled or status.finishing:
        return ""  # a rate of some time ago beside the word "stalled" would contradict it
    return _speed(status.rate, status.unit)


# --- the bar


def bar_line(status: Status, *, columns: int, unicode: bool, colour: bool, name: str = "", pulse: int = 0) -> str:
    """One line of at most ``columns - 1`` cells: name and phase, percentage, bar, amount, rate, elapsed, remaining.

    Where the window narrows, the bar goes first, then rate, amount, elapsed, name; ``42% 3m`` is what stays, and without a total
    what is done, or how long it took. A window that claims no columns is taken for one of 80. `pulse` is where the blob of a bar
    without total is: any number that the caller raises by one a frame while ``status.moving``.
    """
    room = (columns if columns > 0 else 80) - 1
    short = room < 50
    label = _label(name, status.phase, unicode=unicode)
    percent = percent_of(status, short=short, unicode=unicode)
    parts = {
        "label": _elide(label, max(10, room // 4), unicode=unicode),
        "percent": percent.rjust(4),
        "bar": "",
        "amount": amount_of(status),
        "rate": speed_of(status),
        "elapsed": _clock(status.elapsed),
        "standing": standing_of(status, short=short),
    }
    if not percent:
        del parts["percent"]
    droppable = ["rate", "amount", "elapsed", "label", "standing", "percent"]
    if room < 20 and percent:
        parts = {"percent": percent, "standing": parts["standing"]}
    elif room < 20:
        droppable = ["rate", "label", "elapsed", "amount", "standing"]
    gap = "  " if room >= 20 else " "

    def taken() -> int:
        shown = [_cells(part) for part in parts.values() if part]
        return sum(shown) + len(gap) * max(0, len(shown) - 1)

    # The bar gets what is left, in steps of five, with room for longer words than these: it seldom jumps.
    slack = max(0, 9 - len(parts.get("rate", ""))) + max(0, 16 - len(parts.get("standing", "")))
    beside = room - taken() - slack - len(gap) - 2
    if beside > 20:  # a long label needs the room more than a bar does that is long enough
        parts["label"] = _elide(label, _cells(parts["label"]) + beside - 20, unicode=unicode)
        beside = room - taken() - slack - len(gap) - 2
    width = min(40, beside // 5 * 5)
    if "bar" in parts and width > 0:
        parts["bar"] = gauge(status, width, pulse, unicode=unicode)
    for part in droppable:
        if taken() <= room:
            break
        parts[part] = ""
    if colour:
        trouble = status.stalled or status.state in (State.PAUSED, State.CANCELLING)
        failed = status.state.over and status.state is not State.SUCCEEDED
        code = _RED if failed else _YELLOW if trouble else _GREEN
        for part in ("bar", "standing") if failed or trouble else ("bar",):
            if parts.get(part):
                parts[part] = f"\x1b[{code}m{parts[part]}\x1b[m"
    return gap.join(part for part in parts.values() if part)


def gauge(status: Status, width: int, pulse: int, *, unicode: bool) -> str:
    """A bar of so many cells; without a total, a blob that `pulse` moves."""
    full, empty = ("█", " ") if unicode else ("#", "-")
    fraction = 1.0 if status.state is State.SUCCEEDED else _known(status.fraction)
    if fraction is None:
        blob = width // 4
        way = width - blob
        at = way - abs(pulse % (2 * way) - way)  # there and back
        return f"[{empty * at}{full * blob}{empty * (way - at)}]"
    eighths = math.floor(fraction * width * 8)
    if status.state is not State.SUCCEEDED:
        eighths = min(eighths, width * 8 - 1)
    whole, part = divmod(eighths, 8)
    bar = full * whole
    if unicode and part:
        bar += " ▏▎▍▌▋▊▉"[part]
    return f"[{bar.ljust(width, empty)}]"


def taskbar(status: Status) -> str:
    """State and percentage as a terminal takes them for its icon (OSC 9;4): 1 in progress, 2 failed, 3 no total, 4
    paused or stalled.
    """
    fraction = _known(status.fraction)
    percent = 0 if fraction is None else min(99, math.floor(fraction * 100))
    if status.state is State.SUCCEEDED:
        return "1;100"
    if status.state.over:
        return f"2;{percent}"
    if status.stalled or status.state is State.PAUSED:
        return f"4;{percent}"
    return "3;0" if fraction is None else f"1;{percent}"


# --- lines of log


def outcome_line(status: Status, *, name: str = "", unicode: bool = True, joined: bool = False) -> str:
    """How it ended, in one line: ``cp: done, 4.0 GiB in 13.9 s, 295 MiB/s``. `joined`: it ran before we looked."""
    took, outcome = _took(status.elapsed), status.outcome
    # `current` starts again with each phase, so that with phases it says nothing about the whole.
    amount = "" if status.phase else amount_of(status)
    exit_code, number = (outcome.exit, outcome.signal) if outcome else (None, None)
    if status.state is State.SUCCEEDED:
        speed = ""
        if amount and status.total is None:
            amount = f"at least {amount}"  # so much was seen; the end was not
        elif amount and status.current is not None and status.elapsed > 0:
            amount = _bytes(status.current) if status.unit is Unit.BYTES else f"{_count(status.current)} items"
            speed = "" if joined else _speed(status.current / status.elapsed, status.unit)
        text = f"done, {amount} in {took}" if amount else f"done in {took}"
        if joined:
            text = ", ".join(part for part in ("done", amount, f"watched for {took}") if part)
        text += f", {speed}" if speed else ""
    elif status.state is State.LOST:
        text = f"ended, exit status unknown, after {took}"
    else:
        if status.state is State.CANCELLED:
            text = "cancelled"
        elif number is not None:
            text = f"killed by {_signal_name(number)}"
        elif exit_code is not None:
            text = f"failed with exit status {exit_code}"
        else:
            text = "failed"
        text += f" after {took}" + (f", {amount}" if amount else "")
    label = clean(name, unicode=unicode)
    return f"{label}: {text}" if label else text


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _log_line(status: Status, *, name: str, unicode: bool) -> str:
    words = [percent_of(status), amount_of(status), speed_of(status), standing_of(status, left=" left")]
    text = ", ".join(word for word in (*words, f"{_clock(status.elapsed)} elapsed") if word)
    label = _label(name, status.phase, unicode=unicode)
    return f"{label}: {text}" if label else text


class LogLines:
    """Signs of life for a log, sparse enough to be read: which lines are due, given the statuses as they come.

    One at the start, one after 10 s, then one every 30 s; one at each change of phase, at the beginning and end of a
    stall or a pause; and the outcome. Time is the job's own, from `Status.elapsed`.
    """

    def __init__(self, name: str = "", *, unicode: bool = True, joined: bool = False) -> None:
        self._name = name
        self._unicode = unicode
        self._joined = joined
        self._next = 0.0
        self._told: tuple[str, bool, State] | None = None

    def due(self, status: Status) -> list[str]:
        """The lines to write now: plain text, without line end."""
        if status.state.over:
            return [outcome_line(status, name=self._name, unicode=self._unicode, joined=self._joined)]
        condition = (status.phase, status.stalled, status.state)
        if condition == self._told and status.elapsed < self._next:
            return []
        if status.elapsed >= self._next:
            self._next = 10.0 if status.elapsed < 10 else 10 + 30 * ((status.elapsed - 10) // 30 + 1)
        self._told = condition
        return [_log_line(status, name=self._name, unicode=self._unicode)]


# --- lines of JSON


def json_line(status: Status) -> bytes:
    """`status` as one object on one line, in the format of ``--progress-fd``: unknown values are null, numbers are
    finite, and `fraction` is 1 only in the last line of work that ended well.
    """
    import msgspec

    head: dict[str, object] = {"v": 1, "job": _text(status.job), "seq": status.seq, "state": str(status.state)}
    counts = {"current": status.current, "total": status.total, "unit": str(status.unit)}
    fraction = _known(status.fraction)
    if fraction is not None and status.state is not State.SUCCEEDED:
        fraction = min(fraction, 0.999999)
    where = {"phase": _text(status.phase), "fraction": _rounded(fraction, 6)}
    if status.state.over:
        outcome = status.outcome
        end = {"exit": outcome.exit if outcome else None, "signal": outcome.signal if outcome else None}
        line = head | end | counts | where | {"elapsed": _rounded(status.elapsed, 3), "bound": _last_bound(status)}
    else:
        rate = _known(status.rate)
        line = head | counts | where
        line |= {"rate": None if rate is None else float(f"{rate:.4g}")}
        for key in ("remaining", "low", "high", "elapsed", "age"):
            line[key] = _rounded(getattr(status, key), 3)
        if line["remaining"] == 0:
            line["remaining"] = 0.001
        for key in ("moving", "stalled", "finishing"):
            line[key] = getattr(status, key)
        line |= {"source": _text(status.source), "bound": str(status.bound)}
    return msgspec.json.encode(line) + b"\n"


def _last_bound(status: Status) -> str | None:
    """How far the last `current` can be trusted: more may have been done since it was seen, unless the end shows that it is all."""
    if status.current is None:
        return None
    if status.state is State.SUCCEEDED and status.current == status.total:
        return str(Bound.ESTIMATE if status.bound is Bound.ESTIMATE else Bound.EXACT)
    return str(Bound.LOWER if status.bound in (Bound.EXACT, Bound.LOWER) else Bound.ESTIMATE)


def _text(text: str) -> str:
    """`text` without the surrogates that stand for undecodable bytes: JSON cannot carry them."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _rounded(number: float | None, digits: int) -> float | None:
    number = _known(number)
    return None if number is None else round(float(number), digits)
