#!/usr/bin/env python3
"""Held-out quality with one setting for all tables, beside published figures and other programs.

usage: bench/quality/run.py [PROGRAM] [--part splits,folds,counts,robust] [--setting NAME or OPTIONS] [--out FILE]

splits  the 20 published splits of five tables, beside targets and the best published figures
folds   5-fold means on all open sets of the catalogue, beside five other methods
counts  held-out log-likelihood of Poisson and negative binomial experts, K = 1 to 4
robust  outliers among the training targets, Gaussian and Student-t experts

Nothing but `moekit evaluate` sees a test row. A training that fails is a row of the table that says why; then the exit
code is 1. Python's standard library is enough. The data are read from ../shared/data beside the checkout, or from the
folder `data` in MOEKIT_SHARED.
"""
import argparse
import concurrent.futures
import os
import shlex
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import ROOT, Failure, Record, estimate, locate, need_shared_data, open_program  # noqa: E402
from parts import PARTS  # noqa: E402
from sets import SETS  # noqa: E402

SETTINGS = {
    "defaults": "",
    "single": "--experts 8 --expert additive --noise linear",
    "additive": "--experts 8 --expert additive --noise additive --ensemble 10",
    "accurate": "--preset accurate",
}
RECOMMENDED = "accurate"


class Outcome:
    """What the trainings of one row of a table came to."""

    def __init__(self, results):
        self.runs = len(results)
        self.results = [result for result in results if not isinstance(result, Failure)]
        failures = [str(result) for result in results if isinstance(result, Failure)]
        some = f"{len(failures)} of {self.runs} failed: " if len(failures) < self.runs else ""
        self.error = some + failures[0] if failures else None

    def has(self, name):
        return bool(self.results) and all(result.get(name) is not None for result in self.results)

    def figure(self, name):
        return estimate(result[name] for result in self.results)

    def difference(self, name, others):
        """How much smaller the figure is than others, run by run; nothing where there are none."""
        return estimate(other - result[name] for other, result in zip(others or [], self.results))


class Bench:
    """Runs trainings side by side and keeps what they gave."""

    def __init__(self, program, setting, sets, most, jobs, record):
        self.program, self.setting, self.sets, self.most, self.record = program, setting, sets, most, record
        self.pool = concurrent.futures.ThreadPoolExecutor(jobs)
        self.failed = False

    def chosen(self, names, split="{}"):
        """Those of the named sets that were asked for and have data and a split file; says which have not."""
        asked = [SETS[name] for name in names if not self.sets or name in self.sets]
        missing = [data.name for data in asked if not locate(data.name + ".csv")]
        unsplit = [data.name for data in asked if split != "{}" and data.name not in missing
                   and not locate(f"splits/{split.format(data.name)}.csv")]
        for names, what in ((missing, "no data"), (unsplit, f"no split file {split.format('SET')}.csv")):
            if names:
                print(f"skipped, {what}: {', '.join(names)}")
        return [data for data in asked if data.name not in missing + unsplit]

    def count(self, all_of_them):
        return min(all_of_them, self.most or all_of_them)

    def submit(self, trials):
        return [self.pool.submit(trial) for trial in trials]

    def gather(self, part, data, futures, **about):
        """Waits for the trainings of one row and records them."""
        outcome = Outcome([result_or_failure(future) for future in futures])
        self.failed = self.failed or outcome.error is not None
        names = [name for name in (outcome.results[0] if outcome.results else {}) if name not in ("n", "task")]
        figures = {name: outcome.figure(name)._asdict() for name in names if outcome.has(name)}
        self.record.add(part=part, set=data.name, **about, runs=outcome.runs, error=outcome.error, figures=figures)
        return outcome


def result_or_failure(future):
    try:
        return future.result()
    except Failure as failure:
        return failure
    except Exception as error:  # whatever else went wrong in one training is its row's to say, not the end of the run
        return Failure(f"{type(error).__name__}: {error}")


def read_setting(text):
    """The options of a named setting, or those that the text spells out."""
    if text.strip().startswith("-") or not text.strip():
        return shlex.split(text)
    if text not in SETTINGS:
        raise argparse.ArgumentTypeError(f"there is no setting {text!r}; known: {', '.join(SETTINGS)}, "
                                         "or options for train such as '--experts 4'")
    return shlex.split(SETTINGS[text])


def names_among(known):
    """A type of argument: names separated by commas, each of them known."""
    def parse(text):
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return names
    return parse


def at_least_one(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, usage=argparse.SUPPRESS, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("program", nargs="?", metavar="PROGRAM", default=os.path.join(ROOT, "build", "moekit"),
        help="the binary (default: build/moekit)")
    add("--part", type=names_among(PARTS), default=list(PARTS), help="parts to run (default: all)")
    add("--setting", type=read_setting, default=read_setting(RECOMMENDED), metavar="NAME|OPTIONS",
        help=f"{', '.join(SETTINGS)}, or options for train in one word (default: {RECOMMENDED})")
    add("--sets", type=names_among(SETS), metavar="A,B", help="only these sets (default: all)")
    add("--splits", type=at_least_one, metavar="N",
        help="at most so many splits, and folds, of each set (default: all)")
    add("--jobs", type=at_least_one, default=len(os.sched_getaffinity(0)), metavar="J",
        help="trainings at once, one thread each (default: the cores)")
    add("--limit", type=float, metavar="SECONDS", help="a training that takes longer is an error (default: none)")
    add("--out", metavar="FILE", help="write the results as JSON, with machine and version")
    return parser.parse_args()


def main():
    asked = arguments()
    need_shared_data()
    program, version = open_program(asked.program, asked.limit)
    record = Record(asked.out, program, version, setting=shlex.join(asked.setting), jobs=asked.jobs)
    print(f"{version}, setting: {shlex.join(asked.setting) or 'defaults'}")
    bench = Bench(program, asked.setting, asked.sets, asked.splits, asked.jobs, record)
    try:
        for part in asked.part:
            PARTS[part](bench)
    except KeyboardInterrupt:
        bench.pool.shutdown(wait=False, cancel_futures=True)
        sys.exit(130)
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()
