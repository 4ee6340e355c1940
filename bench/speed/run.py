#!/usr/bin/env python3
"""What moekit's fits cost, as ratios to other work in the same run.

usage: bench/speed/run.py [--part pass,fit,load,rows] [--folder BUILD] [--rounds N] [--out FILE]

pass  one EM pass, ns a row and GFLOP/s, beside this machine's dgemm, on one and two threads (Google Benchmark)
fit   a default fit of a million rows of 20 inputs, 8 experts, ten starts, and one expert, beside scikit-learn's
      gradient boosting and XGBoost with 300 trees and a linear model on the same rows and threads: time of the fit
      alone, peak memory against the table's
load  reading model files
rows  time of 20 passes from given regions over 10,000 to ten million rows of 10 inputs: the slope in logarithms. (A
      default fit looks for its starts on a sample, so its time grows more slowly than the table.)

`pass` needs a build with MOEKIT_BENCH=ON and libbenchmark-dev, `fit` the Debian packages
python3-sklearn and python3-xgboost (without them: nan).
"""
import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import ROOT, Failure, Record, open_program  # noqa: E402

INPUTS = (5, 10, 20, 50, 100)
EXPERTS = (2, 4, 8, 16, 32)


def median_rates(folder, rounds):
    """Counters of every benchmark, medians over the rounds, which take turns."""
    # OpenBLAS falls back to its slowest kernels on a processor that it does not know: the yardstick is told what to use.
    environment = dict(os.environ)
    with open("/proc/cpuinfo") as file:
        if "avx512f" in file.read():
            environment.setdefault("OPENBLAS_CORETYPE", "SKYLAKEX")
    done = subprocess.run(
        [os.path.join(folder, "speed"), "--benchmark_format=json", f"--benchmark_repetitions={rounds}",
         "--benchmark_enable_random_interleaving=true", "--benchmark_min_time=0.1"],
        env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"{folder}/speed: {done.stderr.strip() or 'failed'}")
    rates = {}
    for run in json.loads(done.stdout)["benchmarks"]:
        if run["run_type"] == "iteration":
            rates.setdefault(run["run_name"].removesuffix("/real_time"), []).append(run)

    def middle(name, counter):
        return statistics.median(run[counter] for run in rates[name]) if name in rates else math.nan

    return middle


def part_pass(asked, record):
    middle = median_rates(asked.folder, asked.rounds)
    dgemm = middle("dgemm", "gflops")
    print(f"dgemm 512: {dgemm:.1f} GFLOP/s; exp: {middle('exp', 'gexps'):.2f} G/s (one thread, medians of "
          f"{asked.rounds} rounds)\n")
    print(f"{'inputs':>6} {'experts':>7} {'ns a row':>9} {'GFLOP/s':>8} {'/ dgemm':>8} {'2 threads':>10} "
          f"{'curvature: ns a row':>20} {'/ dgemm':>8}")
    for inputs in INPUTS:
        for experts in EXPERTS:
            name = f"{inputs}/{experts}"
            one, two = (middle(f"pass/{name}/{threads}", "gflops") for threads in (1, 2))
            # A rate that is inverted is in seconds; the counter divides by 1e-9.
            row = middle(f"pass/{name}/1", "real_time") / 65536
            extra = middle(f"curvature/{name}/1", "real_time") / 65536
            extra_rate = middle(f"curvature/{name}/1", "gflops")
            extra_text = "" if math.isnan(extra) else f"{extra:20.0f} {extra_rate / dgemm:8.2f}"
            print(f"{inputs:6} {experts:7} {row:9.0f} {one:8.1f} {one / dgemm:8.2f} {two / one:9.2f}x {extra_text}")
            record.add(part="pass", inputs=inputs, experts=experts, ns_row=row, gflops=one, of_dgemm=one / dgemm,
                       two_threads=two / one, curvature_of_dgemm=None if math.isnan(extra) else extra_rate / dgemm)


def fit_seconds(program, folder, options):
    """Seconds of the fit alone, and the peak of the program's memory in bytes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    program.call("train", "rows.csv", "--target", "y", "-o", "m.moe", "--report", "r.json", "-q", *options, folder=folder)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    with open(os.path.join(folder, "r.json")) as file:
        return json.load(file)["seconds"], peak if peak > before * 1024 else math.nan


# Programs that fit the same rows; each prints the seconds of its fit.
PEER = """
import sys, time, numpy
rows = numpy.loadtxt(sys.argv[1], delimiter=",", skiprows=1)
{make}
begin = time.time()
model.fit(rows[:, :-1], rows[:, -1])
print(time.time() - begin)
"""
PEERS = {
    "scikit-learn, boosting, 300 trees": "from sklearn.ensemble import HistGradientBoostingRegressor\n"
                                         "model = HistGradientBoostingRegressor(max_iter=300, early_stopping=False)",
    "XGBoost, 300 trees": "from xgboost import XGBRegressor\nmodel = XGBRegressor(n_estimators=300, tree_method='hist')",
    "scikit-learn, linear": "from sklearn.linear_model import LinearRegression\nmodel = LinearRegression()",
}


def peer_seconds(make, path):
    done = subprocess.run(["/usr/bin/python3", "-c", PEER.format(make=make), path], capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else math.nan


def part_fit(asked, record):
    rows, inputs, experts = 1_000_000, 20, 8
    program = asked.program
    with tempfile.TemporaryDirectory() as folder:
        program.call("simulate", "--rows", str(rows), "--inputs", str(inputs), "--experts", str(experts), "-o",
                     "rows.csv", folder=folder)
        own = {f"moekit, {experts} experts, 10 starts": ["--experts", str(experts)], "moekit, 1 expert": ["--experts", "1"]}
        times = {name: [] for name in [*own, *PEERS]}
        peaks = []
        for _ in range(asked.rounds):
            for name, options in own.items():
                seconds, peak = fit_seconds(program, folder, options)
                times[name].append(seconds)
                peaks.append(peak)
            for name, make in PEERS.items():
                times[name].append(peer_seconds(make, os.path.join(folder, "rows.csv")))
    matrix = rows * (inputs + 1) * 8
    middle = {name: statistics.median(seconds) for name, seconds in times.items()}
    mixture = middle[next(iter(own))]
    for name, seconds in middle.items():
        print(f"{rows:,} x {inputs}, {name}: {seconds:.2f} s, {seconds / mixture:.2f} of the mixture's")
    print(f"peak memory of the mixture's fit: {peaks[0] / matrix:.2f} times the table")
    record.add(part="fit", rows=rows, seconds=middle, memory=peaks[0] / matrix)


def part_load(asked, record):
    program = os.path.join(asked.folder, "speed")
    done = subprocess.run([program, "--benchmark_filter=load", "--benchmark_format=json",
                           f"--benchmark_repetitions={asked.rounds}"], check=True, capture_output=True, text=True)
    runs = json.loads(done.stdout)["benchmarks"]
    for name in dict.fromkeys(run["run_name"] for run in runs if run["run_type"] == "iteration"):
        same = [run for run in runs if run["run_name"] == name and run["run_type"] == "iteration"]
        seconds = statistics.median(run["real_time"] for run in same) * 1e-9
        size = same[0]["bytes"]
        _, inputs, experts = name.split("/")
        print(f"load a model of {inputs} inputs, {experts} experts ({size / 1e3:.0f} kB): {seconds * 1e3:.2f} ms, "
              f"{size / seconds / 1e6:.0f} MB/s")
        record.add(part="load", inputs=int(inputs), experts=int(experts), seconds=seconds, bytes=size)


def part_rows(asked, record):
    points = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in (10_000, 100_000, 1_000_000, 10_000_000):
            asked.program.call("simulate", "--rows", str(rows), "--inputs", "10", "--experts", "4", "-o", "rows.csv",
                               folder=folder)
            begin = time.time()
            asked.program.call("train", "rows.csv", "--target", "y", "-o", "m.moe", "--report", "r.json", "-q", "--threads",
                               "1", "--init-column", "region", "--max-iterations", "20", "--tolerance", "1e-300",
                               folder=folder)
            whole = time.time() - begin
            with open(os.path.join(folder, "r.json")) as file:
                points.append((rows, json.load(file)["seconds"], whole))
            print(f"{rows:>10,} rows: fit {points[-1][1]:.2f} s, with reading {whole:.2f} s")
    slope = statistics.linear_regression(*zip(*((math.log(rows), math.log(fit)) for rows, fit, _ in points))).slope
    print(f"slope of the fit's time in logarithms: {slope:.3f}")
    record.add(part="rows", slope=slope, points=points)


PARTS = {"pass": part_pass, "fit": part_fit, "load": part_load, "rows": part_rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, usage=argparse.SUPPRESS, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default=",".join(PARTS), help="parts to run (default: all)")
    parser.add_argument("--folder", default=os.path.join(ROOT, "build"), help="of the build (default: build)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which medians are shown (default: 5)")
    parser.add_argument("--out", metavar="FILE", help="write the results as JSON, with machine and version")
    asked = parser.parse_args()
    asked.program, version = open_program(os.path.join(asked.folder, "moekit"), None)
    record = Record(asked.out, asked.program, version, rounds=asked.rounds)
    for part in asked.part.split(","):
        if part not in PARTS:
            sys.exit(f"--part: there is no part {part}; known: {', '.join(PARTS)}")
        print(f"\n{part}\n")
        PARTS[part](asked, record)


if __name__ == "__main__":
    main()
