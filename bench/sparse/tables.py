#!/usr/bin/env python3
"""Sparse experts on tables, each beside a dense network of equal cost trained in the same run.

usage: bench/sparse/tables.py [--program build/moekit] [--covertype FILE.csv.gz] [--diamonds FILE.csv.gz]
                              [--letter-folds FILE.csv] [--only NAME] [--epochs FACTOR] [--out FILE.json]

Rows: letter in 5 folds (drawn here, or the numbers in a file with one column), covertype (a file with the label in
its last column) and a million neurons on diamonds, one of five folds each. Figures are of rows that training never
saw: accuracy or rmse, nll, least and largest utilisation of an expert (1: an even share), experts that no row goes
to, seconds of training on one thread. --epochs 0.1 is a quick look. Dense networks of `covertype` and `letter` have as
many multiply-adds a row as gate and picked experts together; of `diamonds` as many neurons as a row picks.
"""
import argparse
import csv
import gzip
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Record, open_program  # noqa: E402

SMALL_STEPS = ["--batch-size", "128", "--learning-rate", "0.01", "--ridge", "0.1"]
LETTER = ["--experts", "64", "--expert", "mlp:64", "--top-k", "2", "--gate", "mlp:128,64", *SMALL_STEPS]
DENSE_LETTER = ["--experts", "1", "--expert", "mlp:472", *SMALL_STEPS]
CLASSES = ["--task", "classification", "--learning-rate", "0.005", "--ridge", "0.1"]
COVERTYPE = ["--experts", "64", "--expert", "mlp:32", "--top-k", "2", "--gate", "mlp:32", *CLASSES]
DENSE_COVERTYPE = ["--experts", "1", "--expert", "mlp:128", *CLASSES]
NEURONS = ["--gate", "product-key", "--experts", "1048576", "--learning-rate", "0.005", "--weight-decay", "0.05"]
DENSE_DIAMONDS = ["--experts", "1", "--expert", "mlp:128", "--learning-rate", "0.01", "--ridge", "0.1"]


def rows_of(path):
    with (gzip.open(path, "rt") if path.endswith(".gz") else open(path)) as f:
        table = list(csv.reader(f))
    return table[0], table[1:]


def write(path, header, rows):
    with open(path, "w", newline="") as f:
        csv.writer(f).writerows([header] + rows)


def folds_of(rows, count):
    """Every row in one fold, drawn with a fixed seed."""
    order = list(range(len(rows)))
    random.Random(1).shuffle(order)
    return [order[i::count] for i in range(count)]


def given_folds(path):
    column = [row[0] for row in rows_of(path)[1]]
    return [[i for i, fold in enumerate(column) if fold == name] for name in sorted(set(column))]


class Bench:
    def __init__(self, args):
        self.args = args
        program, version = open_program(args.program)
        self.record = Record(args.out, program, version, epochs=args.epochs)
        self.folder = tempfile.mkdtemp(prefix="moekit-sparse-")

    def moekit(self, *words):
        done = subprocess.run([self.args.program, *words], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def fit(self, train, test, target, epochs, options):
        """Scores of one fit on the test rows, its routing and its time."""
        model = os.path.join(self.folder, "m.moe")
        begin = time.time()
        self.moekit("train", train, "--target", target, "--fit", "adam", "--epochs",
                    str(max(1, round(epochs * self.args.epochs))), "--threads", "1", "-q", "-o", model, *options)
        seconds = time.time() - begin
        scores = json.loads(self.moekit("evaluate", model, test, "--json"))
        self.moekit("diagnose", model, test, "-o", os.path.join(self.folder, "d"), "-q")
        with open(os.path.join(self.folder, "d", "routing.json")) as f:
            routing = json.load(f)
        return scores, routing, seconds

    def run(self, name, header, rows, target, epochs, options, parts=None, use=None):
        if not name.startswith(self.args.only):
            return
        parts = parts or folds_of(rows, 5)
        used = parts[:use] if use else parts
        train, test = os.path.join(self.folder, "train.csv"), os.path.join(self.folder, "test.csv")
        total = {}
        least, most, dead, seconds = math.inf, 0.0, 0, 0.0
        for part in used:
            held = set(part)
            write(train, header, [r for i, r in enumerate(rows) if i not in held])
            write(test, header, [rows[i] for i in part])
            scores, routing, took = self.fit(train, test, target, epochs, options)
            for key in ("accuracy", "rmse", "nll"):
                if scores.get(key) is not None:
                    total[key] = total.get(key, 0.0) + scores[key] / len(used)
            seconds += took
            if routing["experts"] > 1:
                least = min(least, min(routing["utilisation"]))
                most = max(most, max(routing["utilisation"]))
                dead = max(dead, len(routing["dead_experts"]))
        figure = f"accuracy {total['accuracy']:.4f}" if "accuracy" in total else f"rmse {total['rmse']:.1f}"
        load = f"utilisation {least:.2f} .. {most:.2f}, dead {dead}" if most else ""
        print(f"{name:38} {figure:18} nll {total['nll']:8.4f}  {seconds:7.1f} s  {load}", flush=True)
        routing = {"least_utilisation": least, "largest_utilisation": most, "dead_experts": dead} if most else {}
        self.record.add(name=name, options=options, epochs=epochs, folds=len(used), **total, seconds=seconds, **routing)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/moekit")
    parser.add_argument("--covertype")
    parser.add_argument("--diamonds", default="data/diamonds.csv.gz")
    parser.add_argument("--letter-folds", metavar="FILE", help="the fold of each row of letter, one column with a name")
    parser.add_argument("--only", default="", metavar="NAME", help="rows whose name begins so, such as letter")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--out", metavar="FILE", help="write the results as JSON, with machine and version")
    args = parser.parse_args()
    bench = Bench(args)
    if args.only.startswith("letter") or not args.only:
        header, rows = rows_of("data/letter.csv.gz")
        parts = given_folds(args.letter_folds) if args.letter_folds else folds_of(rows, 5)
        for name, options in (("dense mlp:472", DENSE_LETTER), ("64 x mlp:64, top-2", LETTER),
                              ("the same, 5 members", LETTER + ["--ensemble", "5"])):
            bench.run("letter: " + name, header, rows, "lettr", 60, options, parts)
        bench.run("letter: without balancing, one fold", header, rows, "lettr", 60, LETTER + ["--balance", "none"],
                  parts, use=1)
    if args.covertype and (args.only.startswith("covertype") or not args.only):
        header, rows = rows_of(args.covertype)
        for name, options in (("dense mlp:128", DENSE_COVERTYPE), ("64 x mlp:32, top-2", COVERTYPE),
                              ("the same without balancing", COVERTYPE + ["--balance", "none"])):
            bench.run("covertype: " + name, header, rows, header[-1], 30, options, use=1)
    if args.only.startswith("diamonds") or not args.only:
        header, rows = rows_of(args.diamonds)
        for name, epochs, options in (("dense mlp:128", 15, DENSE_DIAMONDS),
                                      ("dense mlp:128, 60 epochs", 60, DENSE_DIAMONDS),
                                      ("1,048,576 neurons", 15, NEURONS)):
            bench.run("diamonds: " + name, header, rows, "price", epochs, options, use=1)


if __name__ == "__main__":
    main()
