#!/usr/bin/env python3
"""How long `diagnose` takes beside `predict` of the same table: a million rows, ten columns, 4 and 8 experts.

Both read, score and write; runs take turns, the table shows medians. Needs build/moekit and some 700 MB of disk.
"""
import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(*words):
    """Seconds, seconds of processors, and MB of memory of one run."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(" ".join(words) + " failed")
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moekit", default=os.path.join(ROOT, "build", "moekit"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--experts", default="4,8")
    parser.add_argument("--folder", help="where the files go (default: a temporary folder)")
    args = parser.parse_args()
    print("| experts | predict, s | diagnose, s | ratio | of processor time | MB, predict | MB, diagnose |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = lambda name: os.path.join(folder, name)
        run(args.moekit, "simulate", "-q", "--rows", str(args.rows), "--inputs", "9", "--no-region", "--seed", "1", "-o", path("all.csv"))
        run(args.moekit, "simulate", "-q", "--rows", "20000", "--inputs", "9", "--no-region", "--seed", "1", "-o", path("some.csv"))
        for experts in args.experts.split(","):
            run(args.moekit, "train", path("some.csv"), "-q", "--target", "y", "--experts", experts, "--restarts", "1",
                "--max-iterations", "60", "-o", path("model.moe"))
            predict, diagnose = [], []
            for _ in range(args.rounds):
                predict.append(run(args.moekit, "predict", path("model.moe"), path("all.csv"), "-q", "-o", path("out.csv")))
                diagnose.append(run(args.moekit, "diagnose", path("model.moe"), path("all.csv"), "-q", "-o", path("diagnosis")))
            a, b = ([statistics.median(column) for column in zip(*runs)] for runs in (predict, diagnose))
            ratio = statistics.median(d[0] / p[0] for p, d in zip(predict, diagnose))
            print(f"| {experts} | {a[0]:.2f} | {b[0]:.2f} | {ratio:.2f} | {b[1] / a[1]:.2f} | {a[2]:.0f} | {b[2]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
