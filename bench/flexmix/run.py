#!/usr/bin/env python3
"""Time of one EM pass: moekit against R's flexmix, same data, same model, same start, in turns.

usage: bench/flexmix/run.py [--rounds 5] [--program build/em_pass] [--data data/synth_n10000.csv.gz]

10,000 rows, 10 inputs, 4 linear Gaussian experts, softmax gate (FLXMRglm with the concomitant FLXPmultinom),
exact maximum likelihood, started from the true regions. Prints a table and, with --csv FILE, every single measurement.
"""
import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def measure(command, threads):
    """Runs a benchmark program: (rows, seconds a pass, log-likelihood, passes made, seconds of the fit)."""
    environment = dict(os.environ, OPENBLAS_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    cells = done.stdout.strip().splitlines()[-1].split(",")
    return int(cells[0]), float(cells[1]), float(cells[2]), int(cells[3]), float(cells[4])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "em_pass"))
    parser.add_argument("--data", default=os.path.join(ROOT, "data", "synth_n10000.csv.gz"))
    parser.add_argument("--csv", help="write every measurement to this file")
    arguments = parser.parse_args()
    if not shutil.which("Rscript"):
        sys.exit("Rscript is not there; install it with: apt-get install -y r-base-core r-cran-flexmix")
    if not os.path.exists(arguments.program):
        sys.exit(f"{arguments.program} is not there; build it with: ./run test -DMOEKIT_BENCH=ON")

    runs = {}
    for threads in (1, 2):
        runs["flexmix", threads] = ["Rscript", os.path.join(HERE, "flexmix_pass.R"), arguments.data, "5", "20"]
        runs["moekit", threads] = [arguments.program, arguments.data, "9", "--threads", str(threads)]
    results = {key: [] for key in runs}
    for number in range(arguments.rounds):
        for key, command in runs.items():
            results[key].append(measure(command, key[1]))
            print(f"round {number + 1}: {key[0]}, {key[1]} thread(s): {results[key][-1][1] * 1e3:.3f} ms a pass",
                  file=sys.stderr)

    median = {key: statistics.median(r[1] for r in values) for key, values in results.items()}
    print("| program | threads | ms a pass | ns a row and pass | flexmix / this | passes | log-likelihood |")
    print("|---|---|---|---|---|---|---|")
    for key, values in results.items():
        rows = values[0][0]
        ratio = median["flexmix", key[1]] / median[key]
        print(f"| {key[0]} | {key[1]} | {median[key] * 1e3:.3f} | {median[key] * 1e9 / rows:.0f} | {ratio:.1f} | "
              f"{values[0][3]} | {values[0][2]:.4f} |")
    if arguments.csv:
        with open(arguments.csv, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["program", "threads", "round", "rows", "seconds_a_pass", "log_likelihood", "passes",
                             "seconds"])
            for (program, threads), values in results.items():
                for number, value in enumerate(values):
                    writer.writerow([program, threads, number + 1, *value])


if __name__ == "__main__":
    main()
