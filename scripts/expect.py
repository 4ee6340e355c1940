#!/usr/bin/env python3
"""Prints the tables under "What to expect" in data/README.md from runs of build/moekit on the bundled data.

usage: scripts/expect.py [--program build/moekit] [--only NAME,NAME]

Held-out figures are of 5-fold cross-validation with all defaults (groups and folds where named); the large
tables are fitted once to 80 % of their rows and scored on the rest. Takes some minutes.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# name, target, further options
SMALL = [
    ("pb52_jacobs4", "Vowel", ["--drop", "Type,Repetition", "--group", "Speaker"]),
    ("pb52", "Vowel", ["--drop", "Type,Sex,IPA,Repetition", "--group", "Speaker"]),
    ("iris", "target", []),
    ("breast_cancer", "target", []),
    ("mcycle", "accel", []),
    ("faithful", "waiting", []),
    ("ethanol", "NOx", []),
    ("tonedata", "tuned", []),
    ("npreg", "yn", ["--drop", "yp,yb,class,id1,id2"]),
    ("boston", "medv", []),
    ("wages", "wages", []),
]
LARGE = [
    ("diamonds", "price", []),
    ("synth_n10000", "y", ["--drop", "z"]),
    ("letter", "lettr", []),
]
# Exact maximum likelihood, one input: name, target, options, best known log-likelihood for K = 2, 3, 4.
EXACT = [
    ("mcycle", "accel", [], (-614.537, -578.046, -550.344)),
    ("tonedata", "tuned", [], (142.848, 239.551, 253.054)),
    ("faithful", "waiting", [], (-851.315, -847.083, -842.251)),
    ("npreg", "yn", ["--drop", "yp,yb,class,id1,id2"], (-701.104, -661.156, -626.728)),
    ("boston", "medv", ["--gate-columns", "lstat", "--expert-columns", "lstat"], (-1484.207, -1452.268, -1430.099)),
]


def data_file(name):
    path = os.path.join(ROOT, "data", name + ".csv")
    return path if os.path.exists(path) else path + ".gz"


def run(arguments):
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def pair(result, key):
    return f"{result[key]:.4g} ({result[key + '_se']:.2g})"


def cross_validate(program, name, target, options):
    begin = time.monotonic()
    answer = json.loads(run([program, "cv", data_file(name), "--target", target, "--folds", "5", "--experts",
                             "1,2,4,8", "--json", *options]))
    seconds = time.monotonic() - begin
    by_count = {result["experts"]: result for result in answer["results"]}
    error = "accuracy" if answer["task"] == "classification" else "rmse"
    print(f"| {name} | {error} | " +
          " | ".join(f"{pair(by_count[k], 'nll')}; {by_count[k][error]:.4g}" for k in (1, 2, 4, 8)) +
          f" | {answer['choice']} | {seconds:.0f} |", flush=True)


def fit_once(program, directory, arguments):
    report = os.path.join(directory, "report.json")
    run([program, "train", *arguments, "-q", "-o", os.path.join(directory, "model.moe"), "--report", report])
    with open(report) as file:
        return json.load(file)


def hold_out(program, directory, name, target, options):
    cells = []
    for experts in ("1", "4"):
        report = fit_once(program, directory, [data_file(name), "--target", target, "--experts", experts,
                                               "--validation", "0.2", *options])
        held = report["held_out"]
        error = "accuracy" if held["task"] == "classification" else "rmse"
        cells.append(f"{held['nll']:.4g}; {held[error]:.4g}")
    print(f"| {name} | {error} | {' | '.join(cells)} | {report['seconds']:.0f} |", flush=True)


def exact(program, directory, name, target, options, known):
    cells = []
    for experts, best in zip((2, 3, 4), known):
        report = fit_once(program, directory, [data_file(name), "--target", target, "--experts", str(experts),
                                               "--ridge", "0", "--restarts", "50", *options])
        cells.append(f"{report['log_likelihood']:.3f} ({best:.3f}), {report['best_hits']}")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "moekit"))
    parser.add_argument("--only", help="names of data sets, separated by commas")
    arguments = parser.parse_args()
    only = set(arguments.only.split(",")) if arguments.only else None

    def chosen(sets):
        return [s for s in sets if only is None or s[0] in only]

    with tempfile.TemporaryDirectory() as directory:
        print("| set | error | K = 1 | K = 2 | K = 4 | K = 8 | choice | s |\n|---|---|---|---|---|---|---|---|")
        for item in chosen(SMALL):
            cross_validate(arguments.program, *item)
        print("\n| set | error | K = 1 | K = 4 | s of the fit, K = 4 |\n|---|---|---|---|---|")
        for item in chosen(LARGE):
            hold_out(arguments.program, directory, *item)
        print("\n| set | K = 2 | K = 3 | K = 4 |\n|---|---|---|---|")
        for item in chosen(EXACT):
            exact(arguments.program, directory, *item)


if __name__ == "__main__":
    main()
