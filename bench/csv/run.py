#!/usr/bin/env python3
"""Reading CSV and block files, importing and predicting, beside R's data.table::fread: one table.

Needs build/moekit and build/csv_read (./run test -DMOEKIT_BENCH=ON); the column fread needs
apt-get install -y r-base-core r-cran-data.table. Both sides read the same file in turns; medians are shown.
Seconds of processor stand beside those of the clock, because other programs disturb them less.
"""
import argparse
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COLUMNS = 10

FREAD = """
library(data.table)
setDTthreads(1)
a <- commandArgs(TRUE)
t <- system.time(d <- fread(a[1], nThread = 1, showProgress = FALSE))
cat(t[["elapsed"]], t[["user.self"]] + t[["sys.self"]], nrow(d), "\\n")
"""


def write_table(path, rows, spell, seed):
    """Numbers of a normal distribution; a tenth of the rows is drawn, and they are repeated."""
    draw = random.Random(seed)
    lines = "".join(",".join(spell(draw.gauss(0, 1)) for _ in range(COLUMNS + 1)) + "\n" for _ in range(rows // 10))
    with open(path, "w") as file:
        file.write(",".join("x%d" % (i + 1) for i in range(COLUMNS)) + ",y\n")
        for _ in range(10):
            file.write(lines)


def timed_line(command):
    """Clock and processor seconds that a program prints of itself."""
    words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(words[0]), float(words[1])


def timed(command):
    """Clock and processor seconds of a whole program."""
    begin, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begin, cpu


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    args = parser.parse_args()
    moekit, reader = (os.path.join(args.build, name) for name in ("moekit", "csv_read"))
    for program in (moekit, reader):
        if not os.path.exists(program):
            raise SystemExit("bench: %s is not built: ./run test -DMOEKIT_BENCH=ON" % program)
    script = None
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: os.path.join(folder, name)
        write_table(path("17.csv"), args.rows, repr, 1)
        write_table(path("6.csv"), args.rows, lambda x: "%.6g" % x, 2)
        if shutil.which("Rscript"):
            script = path("fread.R")
            with open(script, "w") as file:
                file.write(FREAD)
            if subprocess.run(["Rscript", script, path("6.csv")], capture_output=True).returncode:
                script = None
        if not script:
            print("bench: R or data.table is not there (apt-get install -y r-base-core r-cran-data.table)")
        subprocess.run([moekit, "train", path("6.csv"), "--target", "y", "--experts", "4", "--restarts", "1",
                        "--max-iterations", "5", "--standard-errors", "none", "-q", "-o", path("m.moe")], check=True)
        subprocess.run([moekit, "convert", path("17.csv"), "-o", path("17.mkb"), "-q"], check=True)
        jobs = {}
        for digits in ("17", "6"):
            data = path(digits + ".csv")
            what = "read %s digits" % digits
            if script:
                jobs[what, "fread", 1] = (data, lambda data=data: timed_line(["Rscript", script, data]))
            for threads in (1, 2):
                jobs[what, "moekit", threads] = (
                    data, lambda data=data, threads=threads: timed_line([reader, data, "y", str(threads)]))
        for threads in (1, 2):
            more = ["--threads", str(threads), "-q"]
            jobs["read block file", "moekit", threads] = (
                path("17.mkb"), lambda threads=threads: timed_line([reader, path("17.mkb"), "y", str(threads)]))
            jobs["convert 17 digits", "moekit", threads] = (
                path("17.csv"),
                lambda more=more: timed([moekit, "convert", path("17.csv"), "-o", path("again.mkb")] + more))
            jobs["predict 6 digits", "moekit", threads] = (
                path("6.csv"), lambda more=more: timed([moekit, "predict", path("m.moe"), path("6.csv"), "-o",
                                                        path("p.csv")] + more))
        seconds = {key: [] for key in jobs}
        for _ in range(args.rounds):
            for key, (_, job) in jobs.items():
                seconds[key].append(job())
        lines = [("task", "program", "threads", "seconds", "MB/s", "million rows/s", "processor seconds",
                  "fread / this, clock", "fread / this, processor")]
        median = {key: [statistics.median(each) for each in zip(*seconds[key])] for key in jobs}
        for key, (data, _) in jobs.items():
            clock, cpu = median[key]
            peer = median.get((key[0], "fread", 1))
            ratio = lambda i: "%.2f" % (peer[i] / median[key][i]) if peer else ""
            lines.append((key[0], key[1], str(key[2]), "%.3f" % clock, "%.0f" % (os.path.getsize(data) / clock / 1e6),
                          "%.2f" % (args.rows / clock / 1e6), "%.3f" % cpu, ratio(0), ratio(1)))
        table(lines)


main()
