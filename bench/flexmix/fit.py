#!/usr/bin/env python3
"""Time of a whole fit: moekit from random starts against R's flexmix from the true regions, same data, same model.

usage: bench/flexmix/fit.py [PROGRAM] [--rows 100000] [--rounds 3] [--out FILE]

Rows of `moekit simulate` with 10 inputs, 4 linear Gaussian experts and a softmax gate (seed 0), exact maximum
likelihood. flexmix (FLXMRglm with the concomitant FLXPmultinom, its default tolerance) is given every row's true
region to begin from; moekit is given nothing, with one start and with ten. All on one thread; times are of the fits
alone. flexmix takes minutes for 100,000 rows, so it runs once; moekit's times are medians of the rounds.
Needs R with flexmix (apt-get install -y r-base-core r-cran-flexmix).
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import ROOT, Record, open_program  # noqa: E402

FLEXMIX = """
suppressPackageStartupMessages(library(flexmix))
data <- read.csv("rows.csv")
inputs <- paste(setdiff(names(data), c("y", "region")), collapse = " + ")
seconds <- system.time(
  model <- flexmix(as.formula(paste("y ~", inputs)), data = data, k = max(data$region), cluster = data$region,
                   model = FLXMRglm(), concomitant = FLXPmultinom(as.formula(paste("~", inputs))))
)[["elapsed"]]
cat(sprintf("%.6f %.6f\\n", seconds, as.numeric(logLik(model))))
"""


def flexmix(folder):
    """Seconds of the fit, log-likelihood."""
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    done = subprocess.run(["Rscript", "-e", FLEXMIX], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"flexmix: {done.stderr.strip()}")
    seconds, log_likelihood = done.stdout.split()
    return float(seconds), float(log_likelihood)


def moekit(program, folder, restarts, rounds):
    """Median seconds of the fit, log-likelihood."""
    seconds = []
    for _ in range(rounds):
        program.call("train", "rows.csv", "--target", "y", "--drop", "region", "--experts", "4", "--ridge", "0", "--restarts",
                     str(restarts), "--threads", "1", "-q", "-o", "m.moe", "--report", "r.json", folder=folder)
        with open(os.path.join(folder, "r.json")) as file:
            report = json.load(file)
        seconds.append(report["seconds"])
    return statistics.median(seconds), report["log_likelihood"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage=argparse.SUPPRESS, allow_abbrev=False)
    add = parser.add_argument
    add("program", nargs="?", metavar="PROGRAM", default=os.path.join(ROOT, "build", "moekit"),
        help="the binary (default: build/moekit)")
    add("--rows", type=int, default=100_000, help="rows (default: 100000)")
    add("--rounds", type=int, default=3, help="fits of moekit, of which medians are shown (default: 3)")
    add("--out", metavar="FILE", help="write the results as JSON, with machine and version")
    asked = parser.parse_args()
    if not shutil.which("Rscript"):
        sys.exit("Rscript is not there; install it with: apt-get install -y r-base-core r-cran-flexmix")
    program, version = open_program(asked.program, None)
    record = Record(asked.out, program, version, rows=asked.rows, rounds=asked.rounds)
    with tempfile.TemporaryDirectory() as folder:
        program.call("simulate", "--rows", str(asked.rows), "--inputs", "10", "--experts", "4", "-o", "rows.csv",
                     folder=folder)
        fits = {f"moekit, {restarts} start{'s' * (restarts > 1)}": moekit(program, folder, restarts, asked.rounds)
                for restarts in (1, 10)}
        peer = flexmix(folder)
    print(f"| {asked.rows:,} rows | seconds | flexmix / this | log-likelihood |")
    print("|---|---|---|---|")
    for name, (seconds, log_likelihood) in {"flexmix, true regions": peer, **fits}.items():
        print(f"| {name} | {seconds:.3f} | {peer[0] / seconds:.0f} | {log_likelihood:.2f} |")
        record.add(fit=name, seconds=seconds, log_likelihood=log_likelihood, ratio=peer[0] / seconds)


if __name__ == "__main__":
    main()
