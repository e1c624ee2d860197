"""``borg``: what it says with ``--log-json --progress``; without these evidence speaks.

It is heard if you name it (``--probe borg``). The total of a backup is what its words name: with ``--exclude`` it is too high.
"""

import os
from dataclasses import replace
from itertools import dropwhile

from pollprog.probes.program import Program, listening
from pollprog.probes.records import Records, Rule
from pollprog.probes.treesize import survey_tree
from pollprog.status import Unit

CREATE = rb'\{"original_size": (?P<current>[0-9]+), [^{}]*"type": "archive_progress", [^{}]*\}'
PERCENT = (
    rb'\{"message": [^{}]*"current": (?P<current>[0-9]+), "total": (?P<total>[1-9][0-9]*), "info": [^{}]*"msgid": '
    rb'"(?P<phase>%s)", "type": "progress_percent", "finished": false, "time": [0-9.]+\}'
)
RULES = [Rule(CREATE, Unit.BYTES, phase="create"), Rule(PERCENT % b"extract", Unit.BYTES), Rule(PERCENT % b"[a-z_.]+")]


class BorgProbe(Records):
    def __init__(self, target):
        super().__init__(target, RULES, source="borg", streams=(2,))
        words = list(dropwhile(lambda word: "::" not in word, target.process.argv()))
        self.paths = [target.process.inside(word) for word in words[1:] if not word.startswith("-")]
        self.sizes = {}

    def sample(self):
        said = super().sample()
        whole = 0 if self.paths else sum(self.sizes.values())  # it is still being added up
        return replace(said, total=whole) if said and not said.total and 0 < said.current <= whole else said

    def survey(self):
        return self.walk() if self.paths else None

    def walk(self):
        for path in self.paths:
            for size in [os.path.getsize(path)] if os.path.isfile(path) else survey_tree(path):
                self.sizes[path] = size
                yield sum(self.sizes.values())
        self.paths = []


class Borg(Program):
    name = "borg"
    interpreted = True  # it is a script, and runs in a Python
    probe = BorgProbe

    def prepare(self, command):
        says = {"--log-json", "--progress"}.issubset(command.argv)
        return listening(command, 2) if says else command


TOOL = Borg()
