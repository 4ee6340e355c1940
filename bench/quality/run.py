#!/usr/bin/env python3
"""Held-out quality with defaults, one setting for all tables: prints one table, K = 1 beside every model.

Reads ../shared/data beside the checkout when it is there (published splits and folds); the four vowels are
bundled. Usage: bench/quality/run.py [PROGRAM] [--splits N] [--adult]
"""
import csv, gzip, json, os, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.path.join(os.path.dirname(ROOT), "shared", "data")
SPLITS = int(sys.argv[sys.argv.index("--splits") + 1]) if "--splits" in sys.argv else 5
PROGRAM = next((a for a in sys.argv[1:] if os.path.isfile(a)), os.path.join(ROOT, "build", "moekit"))

def table(path):
    path = path if os.path.exists(path) else path + ".gz"
    with (gzip.open(path, "rt") if path.endswith(".gz") else open(path)) as f:
        rows = list(csv.reader(f))
    return rows[0], rows[1:]

def write(path, header, rows):
    with open(path, "w", newline="") as f:
        csv.writer(f).writerows([header] + rows)

def score(header, rows, test, folder, target, options):
    """Metrics of a model trained on the rows that are not in the test set."""
    train, held, model = (os.path.join(folder, n) for n in ("train.csv", "test.csv", "model.moe"))
    write(train, header, [r for r, t in zip(rows, test) if not t])
    write(held, header, [r for r, t in zip(rows, test) if t])
    subprocess.run([PROGRAM, "train", train, "--target", target, "-q", "-o", model] + options, check=True)
    out = subprocess.run([PROGRAM, "evaluate", model, held, "--json", "-q"], check=True, capture_output=True)
    return json.loads(out.stdout)

def line(name, experts, results, keys):
    mean = lambda k: sum(r[k] for r in results) / len(results)
    print(f"{name:14} K={experts:<3}" + "".join(f" {k} {mean(k):8.4f}" for k in keys if k in results[0]), flush=True)

def main():
    with tempfile.TemporaryDirectory() as folder:
        header, rows = table(os.path.join(ROOT, "data", "pb52_jacobs4.csv"))
        _, folds = table(os.path.join(ROOT, "data", "splits", "pb52_jacobs4_cv5.csv"))
        for k in (1, 4, 8):
            line("vowels", k, [score(header, rows, [f[0] == str(v) for f in folds], folder, "Vowel",
                 ["--experts", str(k), "--drop", "Type,Speaker,Repetition"]) for v in range(5)],
                 ["accuracy", "log_loss"])
        if not os.path.isdir(SHARED):
            sys.exit("../shared/data is not there: only the bundled vowels were run")
        for name, target in (("boston", "medv"), ("concrete", "strength"), ("wine_red", "quality"),
                             ("power_plant", "PE")):
            header, rows = table(os.path.join(SHARED, name + ".csv"))
            _, splits = table(os.path.join(SHARED, "splits", name + "_20split.csv"))
            for k in (1, 8):
                line(name, k, [score(header, rows, [r[s] == "1" for r in splits], folder, target,
                     ["--experts", str(k)]) for s in range(SPLITS)], ["nll", "nll_grid", "rmse", "coverage_90"])
        if "--adult" in sys.argv:
            header, rows = table(os.path.join(SHARED, "adult.csv"))
            _, folds = table(os.path.join(SHARED, "splits", "adult_cv5.csv"))
            for k in (1, 4):
                line("adult", k, [score(header, rows, [f[0] == str(v) for f in folds], folder, "income",
                     ["--experts", str(k)]) for v in range(5)], ["accuracy", "log_loss"])

main()
