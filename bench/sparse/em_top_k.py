#!/usr/bin/env python3
"""What a pass of EM costs, and what the fit comes to, with all experts and with two a row.

usage: bench/sparse/em_top_k.py [PROGRAM] [--experts 16,64,256] [--rows N] [--rounds R]

Rows are simulated (10 inputs, a true mixture of 16). Time of a pass: the difference between fits of two lengths from
one start, over the difference of their passes, so starts and files are left out; medians of R rounds, one thread.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHORT, LONG = 30, 110  # passes; the first 16 with top-k ask more experts


def output(*words):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def fit(args, folder, experts, picks, passes):
    """Seconds, passes, and the likelihood a row of one fit."""
    model = os.path.join(folder, "model.moe")
    began = time.monotonic()
    output(args.program, "train", os.path.join(folder, "rows.csv"), "-q", "--target", "y", "--experts", str(experts),
           "--top-k", str(picks), "--restarts", "1", "--threads", "1", "--standard-errors", "none",
           "--tolerance", "1e-300", "--max-iterations", str(passes), "-o", model)
    seconds = time.monotonic() - began
    about = json.loads(output(args.program, "inspect", model, "--json"))
    return seconds, about["iterations"], about["log_likelihood"] / args.rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, usage=argparse.SUPPRESS,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", default=os.path.join(ROOT, "build", "moekit"))
    parser.add_argument("--experts", default="16,64,256")
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print("| experts | us a row and pass: all | two | ratio | log-likelihood a row: all | two |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        output(args.program, "simulate", "-q", "--rows", str(args.rows), "--inputs", "10", "--experts", "16",
               "--no-region", "--seed", "3", "-o", os.path.join(folder, "rows.csv"))
        for experts in map(int, args.experts.split(",")):
            cost, reached = {0: [], 2: []}, {}
            for _ in range(args.rounds):
                for picks in cost:
                    short, long = (fit(args, folder, experts, picks, passes) for passes in (SHORT, LONG))
                    cost[picks].append((long[0] - short[0]) / (long[1] - short[1]) / args.rows * 1e6)
                    reached[picks] = long[2]
            all_of_them, two = (statistics.median(cost[picks]) for picks in (0, 2))
            print(f"| {experts} | {all_of_them:.2f} | {two:.2f} | {two / all_of_them:.2f} | {reached[0]:.3f} | {reached[2]:.3f} |",
                  flush=True)


if __name__ == "__main__":
    main()
