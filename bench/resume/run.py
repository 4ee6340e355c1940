#!/usr/bin/env python3
"""Kills moekit train at random moments (SIGKILL), resumes it, kills it again, and compares the models that come out in
the end, byte for byte, with those of fits that nobody interrupted.

Usage: bench/resume/run.py [MOEKIT] [--kills 200] [--seed 1]"""
import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.path.join(ROOT, "data")
FITS = {
    "softmax": ["boston.csv", "--target", "medv", "--restarts", "6"],
    "tree": ["boston.csv", "--target", "medv", "--gate", "tree", "--restarts", "3"],
    "ensemble": ["mcycle.csv", "--target", "accel", "--ensemble", "12", "--max-iterations", "100"],
    "auto": ["mcycle.csv", "--target", "accel", "--experts", "auto", "--restarts", "4"],
    "adam": ["boston.csv", "--target", "medv", "--expert", "mlp:8", "--fit", "adam", "--epochs", "60", "--restarts", "2",
             "--validation", "0.2"],
    "lbfgs": ["boston.csv", "--target", "medv", "--fit", "lbfgs", "--restarts", "3", "--max-iterations", "150"],
}


def command(moekit, fit, threads, model):
    data, *options = FITS[fit]
    return [moekit, "train", os.path.join(DATA, data), *options, "--threads", str(threads), "-q", "-o", model]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def killed_and_resumed(line, model, checkpoint, moments, left):
    """Kills at the next moments until a run comes to its end; returns how often, and in how many runs."""
    kills = runs = 0
    while True:
        runs += 1
        process = subprocess.Popen(line + ["--checkpoint", checkpoint, "--checkpoint-every", "2", "--resume"],
                                   stderr=subprocess.PIPE)
        if kills < left and kills < 6:
            time.sleep(next(moments))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
                continue
        errors = process.communicate()[1].decode()
        if process.returncode != 0:
            raise SystemExit(f"resuming failed with code {process.returncode}: {errors}")
        return kills, runs


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("moekit", nargs="?", default=os.path.join(ROOT, "build", "moekit"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    total = {fit: [0, 0, 0] for fit in FITS}
    with tempfile.TemporaryDirectory() as folder:
        whole, seconds = {}, {}
        for fit in FITS:
            model = os.path.join(folder, fit + ".moe")
            begin = time.time()
            subprocess.run(command(args.moekit, fit, 1, model), check=True)
            seconds[fit], whole[fit] = time.time() - begin, read(model)
        kills, turn = 0, 0
        while kills < args.kills:
            fit, threads = list(FITS)[turn % len(FITS)], 1 + turn // len(FITS) % 2
            turn += 1
            model, checkpoint = os.path.join(folder, "m"), os.path.join(folder, "c")
            moments = iter(lambda: rng.uniform(0, seconds[fit]), None)
            done, runs = killed_and_resumed(command(args.moekit, fit, threads, model), model, checkpoint, moments,
                                            args.kills - kills)
            kills += done
            same = read(model) == whole[fit]
            total[fit][0] += done
            total[fit][1] += 1
            total[fit][2] += same
            if os.path.exists(checkpoint):
                raise SystemExit("a finished fit left its checkpoint")
            os.remove(model)
    print("| fit | kills | fits finished | the same bytes |\n|---|---|---|---|")
    for fit, (done, fits, same) in total.items():
        print(f"| {fit} | {done} | {fits} | {same} |")
    print(f"\n{kills} kills, seed {args.seed}; "
          f"{sum(t[2] for t in total.values())} of {sum(t[1] for t in total.values())} models identical")
    sys.exit(any(fits != same for _, fits, same in total.values()))


if __name__ == "__main__":
    main()
