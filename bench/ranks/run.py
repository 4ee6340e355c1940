#!/usr/bin/env python3
"""Seconds a pass of EM on 1, 2, 4 and 8 ranks of one thread each, and the bytes that a pass sends, as a table.

Usage: bench/ranks/run.py [MOEKIT, built with -DMOEKIT_MPI=ON] [--rows 400000] [--inputs 10] [--experts 8] [--rounds 5]

A pass is the difference between a long and a short fit from the same start, divided by the difference of their
passes, so that reading, starting and closing cancel. Rounds take turns. As many ranks as there are cores can be
faster than one; more share the cores, and show what exchanging sums costs."""
import argparse
import json
import os
import statistics
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RANKS = (1, 2, 4, 8)
SHORT, LONG = 5, 25


def sums_of_a_pass(inputs, experts):
    """Doubles: docs/scale.md."""
    p, k = inputs + 1, experts
    gram = p * (p + 1) // 2
    grams = k * (k - 1) // 2 if (k - 1) * p <= 200 else k
    return 3 + k + k * (2 + p + gram) + k * p + grams * gram


def fit(args, ranks, passes, data, folder):
    report, model = os.path.join(folder, "report.json"), os.path.join(folder, f"m{passes}.moe")
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                       OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_mpi_yield_when_idle="1")
    subprocess.run(["mpirun", "-n", str(ranks), args.moekit, "train", data, "--target", "y", "--drop", "region", "--experts",
                    str(args.experts), "--restarts", "1", "--tolerance", "1e-300", "--max-iterations", str(passes), "--standard-errors",
                    "none", "--threads", "1", "-q", "-o", model, "--report", report], check=True, env=environment)
    with open(report) as file, open(model, "rb") as bytes_of_model:
        facts = json.load(file)
        return facts["seconds"], facts["iterations"], bytes_of_model.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("moekit", nargs="?", default=os.path.join(ROOT, "build", "moekit"))
    parser.add_argument("--rows", type=int, default=400000)
    parser.add_argument("--inputs", type=int, default=10)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    seconds, models = {ranks: [] for ranks in RANKS}, set()
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "rows.csv")
        subprocess.run([args.moekit, "simulate", "--rows", str(args.rows), "--inputs", str(args.inputs), "-q", "-o", data], check=True)
        for _ in range(args.rounds):
            for ranks in RANKS:
                short, first, _ = fit(args, ranks, SHORT, data, folder)
                long, last, model = fit(args, ranks, LONG, data, folder)
                seconds[ranks].append((long - short) / (last - first))
                models.add(model)
    one = statistics.median(seconds[1])
    size = 8 * sums_of_a_pass(args.inputs, args.experts)
    print(f"{args.rows} rows, {args.inputs} inputs, {args.experts} experts; medians of {args.rounds} rounds; "
          f"{os.cpu_count()} cores; {len(models)} different model\n")
    print("| ranks | ms a pass | against one rank | best round against one's | bytes sent a pass, all ranks |\n|---|---|---|---|---|")
    for ranks in RANKS:
        median = statistics.median(seconds[ranks])
        print(f"| {ranks} | {1000 * median:.1f} | {one / median:.2f} | {min(seconds[1]) / min(seconds[ranks]):.2f} | "
              f"{2 * (ranks - 1) * size} |")
    if len(models) != 1:
        raise SystemExit("the models differ")


if __name__ == "__main__":
    main()
