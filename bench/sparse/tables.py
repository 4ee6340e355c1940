#!/usr/bin/env python3
"""Sparse experts on tables, each beside a dense network of equal cost trained in the same run.

usage: bench/sparse/tables.py [--program build/moekit] [--covertype FILE.csv.gz] [--diamonds FILE.csv.gz]
                              [--only NAME] [--epochs FACTOR]

Rows: letter in 5 folds, covertype (a file with the label in `target`), a million neurons on diamonds. Figures are
of rows that training never saw: accuracy or rmse, nll, least and largest utilisation of an expert (1: an even
share), experts that no row goes to, seconds of training. --epochs 0.1 is a quick look.
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

LETTER = ["--experts", "64", "--expert", "mlp:64", "--top-k", "2", "--gate", "mlp:128", "--batch-size", "128",
          "--learning-rate", "0.005", "--weight-decay", "0.02"]
DENSE_LETTER = ["--experts", "1", "--expert", "mlp:256", "--batch-size", "128", "--learning-rate", "0.005",
                "--weight-decay", "0.02"]
COVERTYPE = ["--task", "classification", "--experts", "64", "--expert", "mlp:32", "--top-k", "2", "--gate", "mlp:32", "--learning-rate", "0.005"]
DENSE_COVERTYPE = ["--task", "classification", "--experts", "1", "--expert", "mlp:128", "--learning-rate", "0.005"]
NEURONS = ["--gate", "product-key", "--experts", "1048576"]
DENSE_DIAMONDS = ["--experts", "1", "--expert", "mlp:128"]


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


class Bench:
    def __init__(self, args):
        self.args = args
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
                    str(max(1, round(epochs * self.args.epochs))), "-q", "-o", model, *options)
        seconds = time.time() - begin
        scores = json.loads(self.moekit("evaluate", model, test, "--json"))
        self.moekit("diagnose", model, test, "-o", os.path.join(self.folder, "d"), "-q")
        with open(os.path.join(self.folder, "d", "routing.json")) as f:
            routing = json.load(f)
        return scores, routing, seconds

    def run(self, name, header, rows, target, epochs, options, folds=5, use=None):
        parts = folds_of(rows, folds)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/moekit")
    parser.add_argument("--covertype")
    parser.add_argument("--diamonds", default="data/diamonds.csv.gz")
    parser.add_argument("--only", default="")
    parser.add_argument("--epochs", type=float, default=1.0)
    args = parser.parse_args()
    bench = Bench(args)
    if args.only in ("", "letter"):
        header, rows = rows_of("data/letter.csv.gz")
        bench.run("letter: dense mlp:256", header, rows, "lettr", 60, DENSE_LETTER)
        bench.run("letter: 64 x mlp:64, top-2", header, rows, "lettr", 60, LETTER)
        bench.run("letter: the same without balancing", header, rows, "lettr", 60, LETTER + ["--balance", "none"],
                  use=1)
    if args.covertype and args.only in ("", "covertype"):
        header, rows = rows_of(args.covertype)
        for name, options in (("dense mlp:128", DENSE_COVERTYPE), ("64 x mlp:32, top-2", COVERTYPE),
                              ("the same without balancing", COVERTYPE + ["--balance", "none"])):
            bench.run("covertype: " + name, header, rows, header[-1], 20, options, use=1)
    if args.only in ("", "diamonds"):
        header, rows = rows_of(args.diamonds)
        for name, options in (("dense mlp:128", DENSE_DIAMONDS), ("1,048,576 neurons", NEURONS)):
            bench.run("diamonds: " + name, header, rows, "price", 15, options, use=1)


if __name__ == "__main__":
    main()
