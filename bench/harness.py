"""What the benches share: finding data, cutting a table in two, running the program, results on screen and file."""
import collections
import csv
import datetime
import functools
import gzip
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHARED = os.environ.get("MOEKIT_SHARED") or os.path.join(os.path.dirname(ROOT), "shared")
MISSING = {"", "NA", "NaN", "null", "?", "."}

Table = collections.namedtuple("Table", "header rows")


class Failure(Exception):
    """A run of the program that failed, with the program's message."""


# Data


def need_shared_data():
    """Ends with one line when the shared data are not there."""
    if not os.path.isdir(os.path.join(SHARED, "data")):
        raise SystemExit("the data are not there: they belong in ../shared/data beside the checkout; "
                         "MOEKIT_SHARED names another folder in place of ../shared")


def locate(name):
    """The file of that name in the shared data, plain or .gz; None where it is not there."""
    path = os.path.join(SHARED, "data", name)
    return next((p for p in (path, path + ".gz") if os.path.isfile(p)), None)


def read_table(path):
    with gzip.open(path, "rt", newline="") if path.endswith(".gz") else open(path, newline="") as file:
        lines = csv.reader(file)
        return Table(next(lines), list(lines))


@functools.lru_cache(maxsize=3)  # jobs run table by table; more would only fill the memory
def load(name, target):
    """The rows of a data set that have a target: those that the split files number."""
    table = read_table(locate(name + ".csv"))
    at = table.header.index(target)
    return Table(table.header, [row for row in table.rows if row[at].strip() not in MISSING])


@functools.lru_cache(maxsize=None)
def split_column(name, column):
    """One column of a split file."""
    header, rows = read_table(locate(f"splits/{name}.csv"))
    at = header.index(column)
    return [row[at] for row in rows]


def write_table(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def cut(table, held):
    """The table in two: the training rows and the held-out ones."""
    if len(held) != len(table.rows):
        raise Failure(f"the split file has {len(held)} rows, the table {len(table.rows)}")
    train = [row for row, out in zip(table.rows, held) if not out]
    test = [row for row, out in zip(table.rows, held) if out]
    return Table(table.header, train), Table(table.header, test)


# The program


class Program:
    """The moekit binary. Every call raises Failure with the program's own message when it fails."""

    def __init__(self, path, limit=None):
        self.path = os.path.abspath(path)
        self.limit = limit

    def call(self, *arguments, folder=None):
        try:
            done = subprocess.run([self.path, *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=self.limit)
        except subprocess.TimeoutExpired:
            raise Failure(f"not done after {self.limit:g} s") from None
        except OSError as error:
            raise Failure(f"the program does not start: {error.strerror}") from None
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            said = [line for line in lines if line.startswith("moekit: ")] or lines[-1:]
            raise Failure(said[-1] if said else f"exit code {done.returncode}, no message")
        return done.stdout

    def version(self):
        return self.call("--version").strip()

    def train(self, folder, target, options, data="train.csv", model="model.moe"):
        """Trains on one thread; the report of the fit."""
        self.call("train", data, "--target", target, "-o", model, "--report", "report.json", "--threads", "1", "-q",
                  *options, folder=folder)
        with open(os.path.join(folder, "report.json")) as file:
            return json.load(file)

    def evaluate(self, folder, data="test.csv", model="model.moe"):
        return json.loads(self.call("evaluate", model, data, "--json", "-q", "--threads", "1", folder=folder))


def held_out_figures(program, train, test, target, options):
    """Trains on one table, evaluates on the other; the second is written only when the training is done."""
    with tempfile.TemporaryDirectory() as folder:
        write_table(os.path.join(folder, "train.csv"), *train)
        began = time.monotonic()
        program.train(folder, target, options)
        seconds = time.monotonic() - began
        write_table(os.path.join(folder, "test.csv"), *test)
        return {**program.evaluate(folder), "seconds": seconds}


def open_program(path, limit=None):
    """The program and its version, or one line that says what is missing."""
    program = Program(path, limit)
    try:
        return program, program.version()
    except Failure as failure:
        raise SystemExit(f"{path}: {failure}; build it with ./run build, or name the program")


# Figures


Estimate = collections.namedtuple("Estimate", "mean se values")


def estimate(values):
    """Mean and standard error of the mean; the latter None for a single value, both for none."""
    values = list(values)
    se = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return Estimate(statistics.fmean(values) if values else None, se, values)


# Results on screen and in a file


def number(value, digits=4):
    """Significant digits without an exponent where that stays readable; - for none."""
    if value is None:
        return "-"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{max(0, digits - whole)}f}"


class Screen:
    """A table printed row by row as results come in: texts to the left, numbers to the right."""

    def __init__(self, title, columns):
        """columns: (heading, width); a negative width is a column of text."""
        self.widths = [width for _, width in columns]
        print(f"\n{title}\n")
        self.row(*[heading for heading, _ in columns])
        self.row(*["-" * abs(width) for width in self.widths])

    def row(self, *cells):
        print(self.aligned(cells).rstrip(), flush=True)

    def failed(self, labels, message):
        """A row that says why there are no figures."""
        print(f"{self.aligned(labels)}  error: {message}", flush=True)

    def aligned(self, cells):
        texts = [cell if isinstance(cell, str) else number(cell) for cell in cells]
        return "  ".join(t.ljust(-w) if w < 0 else t.rjust(w) for t, w in zip(texts, self.widths))


def machine():
    """What the figures were measured on; no names of hosts, users or folders."""
    system = platform.freedesktop_os_release().get("PRETTY_NAME") if os.path.exists("/etc/os-release") else None
    return {"processor": processor(), "cores": len(os.sched_getaffinity(0)), "system": system or platform.system(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "python": platform.python_version()}


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def commit_of(path):
    """The commit of the checkout that holds the program, marked when it has changes; None outside one."""
    if not shutil.which("git"):
        return None
    folder = os.path.dirname(os.path.abspath(path))
    done = subprocess.run(["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=12"],
                          capture_output=True, text=True)
    return done.stdout.strip() or None if done.returncode == 0 else None


class Record:
    """The results as JSON, written anew after every entry: an interrupted run keeps what it had."""

    def __init__(self, path, program, version, **about):
        self.path = path
        self.content = {"program": version, "commit": commit_of(program.path), "machine": machine(),
                        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                        **about, "results": []}

    def add(self, **entry):
        self.content["results"].append(entry)
        if not self.path:
            return
        with open(self.path + ".part", "w") as file:
            json.dump(self.content, file, indent=1)
            file.write("\n")
        os.replace(self.path + ".part", self.path)
