#!/usr/bin/env python3
"""The sparse layer: is it right, and how fast is it, beside what the same machine can do in the same run.

    bench/sparse/run.py [--runs 7] [--only correct|speed] [--small-block] [--no-torch]

Needs build/moekit, build/sparse_layer (cmake -DMOEKIT_BENCH=ON) and python3-numpy; python3-torch for the column
PyTorch. Correct: `moekit layer run` on safetensors files against the formula in float64 (blocks.py). Speed: medians of
runs in turns: moekit, PyTorch, a kernel in the first-level cache (peak), OpenBLAS, memory read. Each program is a
process that waits for its turn.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile

import numpy as np

import blocks

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


def correctness(large):
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


def in_turns(requests, runs):
    """Medians for {name: (worker, request)}; the first round only warms up."""
    times = {name: [] for name in requests}
    for turn in range(runs + 1):
        for name, (worker, request) in requests.items():
            seconds = worker.seconds(request)
            if turn:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def ratio(a, b):
    return f"{a / b:.2f}"


def large_blocks(ours, torch, runs, hidden, ffn):
    flop = 2 * 2 * 3 * hidden * ffn  # a row: two experts of three products
    bytes_of = {"f32": 4, "bf16": 2, "int8": 34 / 32}
    reach = {("f32", 512): "85 % of peak, 1.6", ("bf16", 512): "80 %, 1.4", ("f32", 32): "5", ("bf16", 32): "4",
             ("f32", 1): "85 % of read", ("bf16", 1): "85 % of read", ("f32", 128): "threads 1.8"}
    lines = []
    for kind, rows in [("f32", 512), ("bf16", 512), ("int8", 512), ("f32", 128), ("f32", 32), ("bf16", 32), ("int8", 32),
                       ("f32", 1), ("bf16", 1), ("int8", 1)]:
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
        lines.append([kind, rows, f"{rows / t['two']:,.0f}", ratio(t["one"], t["two"]), f"{speed / 1e9:.0f}",
                      f"{100 * speed / peak:.0f} %", f"{100 * touched / t['two'] / read:.0f} %",
                      ratio(speed, blas) if blas else "-", ratio(t["torch"], t["two"]) if "torch" in t else "-",
                      reach.get((kind, rows), "")])
    table(f"Block {hidden} / {ffn}, 8 experts, top 2, two threads (medians of {runs} runs in turns)",
          ["weights", "rows", "rows/s", "two threads / one", "GFLOP/s", "of peak", "of memory read", "x OpenBLAS sgemm",
           "x PyTorch", "to reach"], lines)


def training(ours, torch, runs):
    requests = {"two": (ours, "train 512 2"), "one": (ours, "train 512 1"), "peak": (ours, "fma f32 2")}
    if torch:
        requests["torch"] = (torch, "train 512 2")
    t = in_turns(requests, runs)
    table("Training step (forward and backward, float32), 512 rows",
          ["rows/s", "two threads / one", "x PyTorch", "to reach"],
          [[f"{512 / t['two']:,.0f}", ratio(t["one"], t["two"]), ratio(t["torch"], t["two"]) if torch else "-", "1.2"]])


def small_experts(ours, torch, runs):
    lines = []
    for experts in (8, 256, 1024, 4096):
        requests = {"ours": (ours, f"small {experts} 512 1"), "peak": (ours, "fma f32 1")}
        if torch:
            requests["torch"] = (torch, f"small {experts} 512 1")
        t = in_turns(requests, runs)
        lines.append([experts, f"{t['ours'] / 512e-6:.1f}", f"{t['torch'] / 512e-6:.1f}" if torch else "-",
                      ratio(t["torch"], t["ours"]) if torch else "-",
                      {8: "2.2 against 4.9", 256: "5 against 28", 1024: "10 against 52", 4096: "17 against 73"}[experts]])
    table("Small experts, 64 -> 256 -> 64, top 2, 512 rows, one thread: microseconds a row",
          ["experts", "moekit", "PyTorch", "PyTorch / moekit", "to reach"], lines)


def speed(runs, with_torch, hidden, ffn):
    ours = Worker([f"{ROOT}/build/sparse_layer", str(hidden), str(ffn)])
    torch = None
    if with_torch:
        # More than one waiting thread a core would make it fight itself.
        passive = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
        torch = Worker(["/usr/bin/python3", f"{HERE}/torch_worker.py", str(hidden), str(ffn)], passive)
    large_blocks(ours, torch, runs, hidden, ffn)
    training(ours, torch, runs)
    small_experts(ours, torch, runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", choices=["correct", "speed"])
    parser.add_argument("--small-block", action="store_true", help="256 / 896 instead of 1024 / 3584: a minute")
    parser.add_argument("--no-torch", action="store_true")
    args = parser.parse_args()
    has_torch = not args.no_torch and subprocess.run(["/usr/bin/python3", "-c", "import torch"],
                                                     capture_output=True).returncode == 0
    right = args.only == "speed" or correctness(not args.small_block)
    if args.only != "correct":
        speed(args.runs, has_torch, *((256, 896) if args.small_block else (1024, 3584)))
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
