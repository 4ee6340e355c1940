#!/usr/bin/env python3
"""The sparse layer: is it right, and how fast is it, beside what the same machine can do in the same run.

    bench/sparse/run.py [--runs 7] [--part correct,blocks,training,small,full,neurons] [--rows bf16:32,f32:1]
                        [--small-block] [--no-torch] [--out FILE.json]

Needs build/moekit, build/sparse_layer, build/sparse_neurons (cmake -DMOEKIT_BENCH=ON) and python3-numpy; python3-torch
for the column PyTorch. Correct: `moekit layer run` on safetensors files against the formula in float64 (blocks.py).
Speed: medians of runs in turns: moekit, PyTorch, a kernel in the first-level cache (peak), OpenBLAS, memory read. Each
program is a process that waits for its turn. Full: one block of Mixtral's size in bfloat16, 2.8 GB. Neurons: networks of
up to a million single-neuron experts behind product keys.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import blocks

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import Record, open_program  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def table(title, headings, rows):
    print(f"\n## {title}\n\n| " + " | ".join(headings) + " |\n|" + "---|" * len(headings))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    sys.stdout.flush()


# Correctness


def moekit_layer(folder, weights, x, *options):
    np.save(f"{folder}/x.npy", x)
    out = f"{folder}/y.npy"
    command = [f"{ROOT}/build/moekit", "layer", "run", weights, "--input", f"{folder}/x.npy", "-o", out, "-q", *options]
    subprocess.run(command, check=True)
    return np.load(out)


def check_block(folder, hidden, ffn, experts, rows, k, dtype="F32"):
    """A line of the table for a block stored in float32 or bfloat16."""
    tensors = blocks.random_block(hidden, ffn, experts, seed=experts + hidden)
    path = f"{folder}/w.safetensors"
    blocks.write_safetensors(path, tensors, dtype)
    if dtype == "BF16":
        tensors = {name: blocks.from_bf16(blocks.to_bf16(w)) for name, w in tensors.items()}
    x = np.random.default_rng(rows).standard_normal((rows, hidden)).astype(np.float32)
    expected, _, margin = blocks.reference(tensors, x, k)
    top = ["--top-k", str(k)]
    y = moekit_layer(folder, path, x, *top)
    errors = []
    for kind in ("f32", "bf16", "int8"):
        got = y if kind == "f32" else moekit_layer(folder, path, x, "--dtype", kind, *top)
        assert got.shape == expected.shape and got.dtype == np.float32
        errors.append(abs(got - expected).max() / abs(expected).max() if rows else 0)
    same = all(np.array_equal(y, moekit_layer(folder, path, x, "--threads", t, *top)) for t in ("1", "2", "5"))
    cut = [moekit_layer(folder, path, part, *top) for part in np.array_split(x, min(3, rows))] if rows else [y]
    same_cut = np.array_equal(y, np.concatenate(cut))
    close = int((margin < 1e-6).sum()) if rows else 0
    verdict = errors[0] < 1e-5 and errors[1] < 1e-2 and same and same_cut
    return verdict, [f"{hidden} / {ffn}", experts, k, rows, dtype, *(f"{e:.1e}" for e in errors), close,
                     "yes" if same else "NO", "yes" if same_cut else "NO", "ok" if verdict else "FAILED"]


def correctness(large, record):
    cases = [(64, 128, 8, 37, 2), (64, 128, 8, 1, 2), (64, 128, 8, 0, 2), (64, 128, 7, 61, 2), (64, 128, 64, 101, 2),
             (64, 128, 300, 203, 4), (67, 131, 8, 53, 2), (33, 17, 5, 29, 5), (64, 128, 8, 100, 1)]
    if large:
        cases += [(1024, 3584, 8, 131, 2)]
    lines, right = [], True
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            for dtype in ("F32", "BF16"):
                ok, line = check_block(folder, *case, dtype)
                right &= ok
                lines.append(line)
                record.add(part="correct", case=[str(cell) for cell in line])
    table("Blocks against the formula in float64 (largest difference / largest value)",
          ["hidden / ffn", "E", "K", "rows", "stored", "f32 (1e-5)", "bf16 (1e-2)", "int8", "margins < 1e-6",
           "same bytes, 1, 2, 5 threads", "batch in 3 parts", ""], lines)
    return right


# Speed


class Worker:
    def __init__(self, command, environment=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **(environment or {})})

    def seconds(self, request):
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def in_turns(requests, runs):
    """Medians for {name: (worker, request)}; the first round only warms up."""
    times = {name: [] for name in requests}
    last = None
    for turn in range(runs + 1):
        for name, (worker, request) in requests.items():
            if worker is not last:
                time.sleep(0.1)  # threads of the other program go on spinning for a while when their work is done
            last = worker
            seconds = worker.seconds(request)
            if turn:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def ratio(a, b):
    return f"{a / b:.2f}"


CASES = [("f32", 512), ("bf16", 512), ("int8", 512), ("f32", 128), ("bf16", 128), ("int8", 128), ("f32", 32), ("bf16", 32),
         ("int8", 32), ("f32", 1), ("bf16", 1), ("int8", 1)]


def large_blocks(asked, record):
    hidden, ffn, runs = *asked.size, asked.runs
    ours, torch = asked.layer(), asked.torch()
    flop = 2 * 2 * 3 * hidden * ffn  # a row: two experts of three products
    bytes_of = {"f32": 4, "bf16": 2, "int8": 34 / 32}
    reach = {("f32", 512): "85 % of peak, 1.6", ("bf16", 512): "80 %, 1.4", ("f32", 32): "5", ("bf16", 32): "4",
             ("f32", 1): "85 % of read", ("bf16", 1): "85 % of read"}
    lines = []
    for kind, rows in asked.cases:
        requests = {"two": (ours, f"forward {kind} {rows} 2"), "one": (ours, f"forward {kind} {rows} 1"),
                    "peak": (ours, f"fma {kind} 2"), "read": (ours, "read 320 2")}
        if kind == "f32":
            requests["blas"] = (ours, f"sgemm {max(1, rows // 4)} {ffn} {hidden} 2")
        if torch and kind != "int8":
            requests["torch"] = (torch, f"forward {kind} {rows} 2")
        t = in_turns(requests, runs)
        speed, peak, read = flop * rows / t["two"], 4e9 / t["peak"], 320 * 2**20 / t["read"]
        touched = 8 * (1 - (6 / 8) ** rows) * 3 * hidden * ffn * bytes_of[kind]
        blas = 2 * max(1, rows // 4) * ffn * hidden / t["blas"] if "blas" in t else None
        wanted = reach.get((kind, rows), "") + (", threads 1.8" if rows >= 128 else "")
        lines.append([kind, rows, f"{rows / t['two']:,.0f}", ratio(t["one"], t["two"]), f"{speed / 1e9:.0f}",
                      f"{100 * speed / peak:.0f} %", f"{100 * touched / t['two'] / read:.0f} %",
                      ratio(speed, blas) if blas else "-", ratio(t["torch"], t["two"]) if "torch" in t else "-",
                      wanted.lstrip(", ")])
        record.add(part="blocks", hidden=hidden, ffn=ffn, weights=kind, rows=rows, rows_per_second=rows / t["two"],
                   threads_ratio=t["one"] / t["two"], of_peak=speed / peak, of_memory_read=touched / t["two"] / read,
                   sgemm_ratio=speed / blas if blas else None,
                   torch_ratio=t["torch"] / t["two"] if "torch" in t else None, seconds=t)
    table(f"Block {hidden} / {ffn}, 8 experts, top 2, two threads (medians of {runs} runs in turns)",
          ["weights", "rows", "rows/s", "two threads / one", "GFLOP/s", "of peak", "of memory read", "x OpenBLAS sgemm",
           "x PyTorch", "to reach"], lines)


def training(asked, record):
    ours, torch = asked.layer(), asked.torch()
    requests = {"two": (ours, "train 512 2"), "one": (ours, "train 512 1"), "peak": (ours, "fma f32 2")}
    if torch:
        requests["torch"] = (torch, "train 512 2")
    t = in_turns(requests, asked.runs)
    table("Training step (forward and backward, float32), 512 rows",
          ["rows/s", "two threads / one", "x PyTorch", "to reach"],
          [[f"{512 / t['two']:,.0f}", ratio(t["one"], t["two"]), ratio(t["torch"], t["two"]) if torch else "-", "1.2"]])
    record.add(part="training", rows=512, rows_per_second=512 / t["two"], threads_ratio=t["one"] / t["two"],
               torch_ratio=t["torch"] / t["two"] if torch else None, seconds=t)


def small_experts(asked, record):
    ours, torch = asked.layer(), asked.torch()
    lines = []
    reach = {8: "2.2 against 4.9", 256: "5 against 28", 1024: "10 against 52", 4096: "17 against 73"}
    for kind in ("f32", "bf16"):
        for experts in reach:
            requests = {"ours": (ours, f"small {kind} {experts} 512 1")}
            if torch:
                requests["torch"] = (torch, f"small {kind} {experts} 512 1")
            t = in_turns(requests, asked.runs)
            lines.append([kind, experts, f"{t['ours'] / 512e-6:.1f}", f"{t['torch'] / 512e-6:.1f}" if torch else "-",
                          ratio(t["torch"], t["ours"]) if torch else "-", reach[experts]])
            record.add(part="small", weights=kind, experts=experts, rows=512, microseconds=t["ours"] / 512e-6,
                       torch_ratio=t["torch"] / t["ours"] if torch else None, seconds=t)
    table("Small experts, 64 -> 256 -> 64, top 2, 512 rows, one thread: microseconds a row",
          ["weights", "experts", "moekit", "PyTorch", "PyTorch / moekit", "to reach"], lines)


def full_size(asked, record):
    """A block of Mixtral's own size, bfloat16."""
    ours = Worker([f"{ROOT}/build/sparse_layer", "4096", "14336"])
    lines = []
    for rows, reach in ((1, 50), (512, 500)):
        t = in_turns({"two": (ours, f"forward bf16 {rows} 2"), "read": (ours, "read 320 2")}, asked.runs)
        lines.append([rows, f"{rows / t['two']:,.0f}", reach])
        record.add(part="full", rows=rows, rows_per_second=rows / t["two"], seconds=t)
    ours.close()
    table("A block of Mixtral's size, 4096 / 14336, 8 experts, bfloat16, two threads", ["rows", "rows/s", "to reach"], lines)


def neurons(asked, record):
    ours = Worker([f"{ROOT}/build/sparse_neurons"])
    torch = asked.torch()
    lines = []
    for count in (4096, 65536, 1048576):
        requests = {"two": (ours, f"forward {count} 1024 2"), "one": (ours, f"forward {count} 1024 1"),
                    "select": (ours, f"select {count} 256")}
        if torch:
            requests["torch"] = (torch, f"neurons {count} 256 2")
        t = in_turns(requests, asked.runs)
        step = {"train": (ours, f"train {count} 256 2"), "train_one": (ours, f"train {count} 256 1")}
        if torch:
            step["torch_train"] = (torch, f"neurons-train {count} 256 2")
        t |= in_turns(step, asked.runs)
        memory = ours.seconds("memory")
        lines.append([f"{count:,}", f"{t['two'] / 1024e-6:.1f}", f"{1024 / t['two']:,.0f}", ratio(t["one"], t["two"]),
                      f"{t['select'] / 256e-6:.1f}", f"{256 / t['train']:,.0f}", ratio(t["train_one"], t["train"]),
                      ratio(4 * t["torch"], t["two"]) if torch else "-",
                      ratio(t["torch_train"], t["train"]) if torch else "-", f"{memory / 2**30:.2f}"])
        record.add(part="neurons", neurons=count, microseconds=t["two"] / 1024e-6, rows_per_second=1024 / t["two"],
                   threads_ratio=t["one"] / t["two"], select_microseconds=t["select"] / 256e-6,
                   training_rows_per_second=256 / t["train"], training_threads_ratio=t["train_one"] / t["train"],
                   torch_ratio=4 * t["torch"] / t["two"] if torch else None,
                   torch_training_ratio=t["torch_train"] / t["train"] if torch else None, peak_gib=memory / 2**30, seconds=t)
    table("Single-neuron experts behind product keys: 256 inputs and outputs, 8 queries of 16 picks, half-keys of 64; "
          "two threads, training in steps of 256 rows",
          ["neurons", "us a row", "rows/s forward", "two threads / one", "us a row for picks", "rows/s training", "two / one",
           "x PyTorch", "x PyTorch training", "peak GiB"], lines)
    differ = {count: int(ours.seconds(f"brute {count} 4")) for count in (1024, 4096, 65536)}
    record.add(part="neurons", picks_that_differ_from_brute_force=differ)
    print(f"\nPicks that differ from a search through all neurons, of 512 each: {differ}")


class Asked:
    """What to run, and the other programs, started when they are first needed."""

    def __init__(self, args):
        self.runs, self.size = args.runs, ((256, 896) if args.small_block else (1024, 3584))
        self.cases = [(kind, int(rows)) for kind, rows in (c.split(":") for c in args.rows.split(","))] if args.rows else CASES
        self.has_torch = not args.no_torch and subprocess.run(["/usr/bin/python3", "-c", "import torch"],
                                                              capture_output=True).returncode == 0
        self.workers = {}

    def layer(self):
        return self.worker("layer", [f"{ROOT}/build/sparse_layer"])

    def torch(self):
        # More than one waiting thread a core would make it fight itself.
        passive = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
        return self.worker("torch", ["/usr/bin/python3", f"{HERE}/torch_worker.py"], passive) if self.has_torch else None

    def worker(self, name, command, environment=None):
        if name not in self.workers:
            self.workers[name] = Worker(command + [str(n) for n in self.size], environment)
        return self.workers[name]


PARTS = {"blocks": large_blocks, "training": training, "small": small_experts, "full": full_size, "neurons": neurons}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--part", default="correct,blocks,training,small,full,neurons")
    parser.add_argument("--rows", help="of the part blocks: type:rows, separated by commas (default: all)")
    parser.add_argument("--small-block", action="store_true", help="256 / 896 instead of 1024 / 3584: a minute")
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--out", metavar="FILE", help="write the results as JSON, with machine and version")
    args = parser.parse_args()
    parts = args.part.split(",")
    for part in parts:
        if part not in ("correct", *PARTS):
            sys.exit(f"--part: there is no part {part}; known: correct, {', '.join(PARTS)}")
    program, version = open_program(f"{ROOT}/build/moekit")
    asked = Asked(args)
    record = Record(args.out, program, version, runs=args.runs)
    right = "correct" not in parts or correctness(not args.small_block, record)
    for part in parts:
        if part in PARTS:
            PARTS[part](asked, record)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
