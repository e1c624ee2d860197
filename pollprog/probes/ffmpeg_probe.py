"""How far an ffmpeg is: the time of its output that is written, and that of its input, as far as it is used."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from pollprog.probes.contract import STATUS
from pollprog.probes.patterns import LONGEST
from pollprog.probes.procio import Activity
from pollprog.status import Bound, Sample, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pollprog.probes import Target

__all__ = ["FfmpegProbe", "length"]

SECOND = 1_000_000
OUT_TIME = re.compile(rb"out_time_us=([0-9]{1,18})")
DURATION = re.compile(rb"  Duration: ([0-9]{2,4}:[0-9]{2}:[0-9]{2}\.[0-9]{2}), .*")
TIME = re.compile(r"(?:(?:([0-9]{1,6}):)?([0-9]{1,6}):)?([0-9]{1,9}(?:\.[0-9]{1,9})?)(s|ms|us)?")
CHANGES = re.compile(
    r"-(?:sseof|stream_loop|loop|itsscale|itsoffset|copyts|shortest|fs|lavfi|isync|(?:frames|vframes|aframes)\b.*)|-filter_.*"
)
"""Options that may make the output longer or shorter than the input."""
RATE = re.compile(r"-r(?::.*)?")
"""Of an input it says how fast that is; of an output only how many frames there are in a second."""
FILTERS = re.compile(r"-(?:vf|af|filter)(?::.*)?")
QUOTED = re.compile(r"\\.|'[^']*'", re.DOTALL)
VIDEO = """
    ass atadenoise avgblur blackdetect boxblur bwdif cas chromakey chromashift colorbalance colorchannelmixer colorcorrect
    colorkey colorlevels colormatrix colorspace copy crop cropdetect curves dctdnoiz deband deblock deinterlace_vaapi delogo deshake
    drawbox drawgrid drawtext edgedetect eq estdif exposure fade fftdnoiz fieldorder format fps framerate gblur gradfun hflip histeq
    hqdn3d hue hwdownload hwupload idet kerndeint lenscorrection lut lut1d lut3d lutrgb lutyuv minterpolate monochrome negate
    nlmeans noise normalize null owdenoise pad perspective pp pullup removelogo rotate scale scale_cuda scale_qsv scale_vaapi
    setdar setfield setparams setrange setsar showinfo signalstats smartblur subtitles tonemap transpose unsharp vaguedenoiser
    vflip vibrance vidstabdetect vidstabtransform vignette w3fdif yadif zscale
"""
AUDIO = """
    acompressor adeclick adeclip aemphasis afade afftdn aformat afwtdn agate alimiter anlmdn anull aphaser aresample arnndn asoftclip
    astats asubboost bandpass bandreject bass channelmap compand crossfeed crystalizer deesser dynaudnorm earwax equalizer extrastereo
    firequalizer flanger haas highpass highshelf loudnorm lowpass lowshelf mcompand pan silencedetect speechnorm stereotools
    stereowiden superequalizer treble tremolo vibrato volume volumedetect
"""
KEEPING = frozenset((VIDEO + AUDIO).split())
"""Filters whose output lasts as long as their input; of all others nobody says so."""
OVER = 1.05
"""How much more than the input the output may take, and still be at its end."""


class FfmpegProbe:
    """How far one ffmpeg is."""

    def __init__(self, target: Target) -> None:
        self._argv = target.process.argv()
        self._activity = Activity(target.tree)
        self._said = 0
        self._written: int | None = None
        """Microseconds."""
        self._total: int | None = None

    def feed(self, stream: int, record: bytes) -> None:
        """One record: of its progress, or of its standard error."""
        text = record[:LONGEST].rstrip()
        if stream == STATUS:
            self._said += len(record)
            if found := OUT_TIME.fullmatch(text):
                self._written = max(int(found[1]), self._written or 0)
        elif stream == 2 and self._total is None and self._written is None and (found := DURATION.fullmatch(text)):
            self._total = length(self._argv, seconds(found[1].decode()) or 0)

    def sample(self) -> Sample | None:
        """The time that is written; None before it says any."""
        if self._written is None:
            return None
        current, total = self._written, self._total
        if total is not None and current > total:
            current, total = (total, total) if current <= total * OVER else (current, None)
        activity = self._said + self._activity.look()
        return Sample(current, total, Unit.PARTS, "", "ffmpeg", Bound.ESTIMATE, activity)

    def close(self) -> None:
        """Nothing is held."""


def length(argv: Sequence[str], duration: float) -> int | None:
    """Microseconds that the output will be long, if its input is so many seconds; None where the words do not tell."""
    if argv.count("-i") != 1 or any(CHANGES.fullmatch(word) for word in argv[1:]):
        return None
    at = argv.index("-i")
    if any(RATE.fullmatch(word) for word in argv[1:at]):
        return None
    if not all(keeps_length(after) for word, after in pairwise(argv[1:]) if FILTERS.fullmatch(word)):
        return None
    for words in (argv[1:at], argv[at + 2 :]):
        given = {word: seconds(after) for word, after in pairwise(words) if word in ("-ss", "-t", "-to")}
        if None in given.values():
            return None
        start = given.get("-ss") or 0
        duration -= start
        if (wanted := given.get("-t")) is not None:
            duration = min(duration, wanted)
        elif (end := given.get("-to")) is not None:
            duration = min(duration, end - start)
    return int(duration * SECOND) if duration > 0 else None


def keeps_length(graph: str) -> bool:
    """Whether these filters, one behind the other, make nothing longer or shorter. A graph with branches may."""
    plain = QUOTED.sub("", graph)
    if set(plain) & set("[];'"):
        return False
    filters = [one.partition("=") for one in plain.split(",")]
    return all(
        name.strip().partition("@")[0] in KEEPING and not (name.strip() == "fps" and "start_time" in options)
        for name, _, options in filters
    )


def seconds(text: str) -> float | None:
    """A time as ffmpeg writes or reads one; None for what is none."""
    found = TIME.fullmatch(text)
    if found is None:
        return None
    hours, minutes, rest, unit = found.groups()
    if unit and minutes:
        return None
    return (int(hours or 0) * 60 + int(minutes or 0)) * 60 + float(rest) / {"ms": 1e3, "us": 1e6}.get(unit, 1)
