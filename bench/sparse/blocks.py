"""Mixtral blocks: random weights, safetensors files, and the layer as its formula says, in float64.

    python3 blocks.py sample DIRECTORY      the sample in data/
"""
import json
import struct
import sys

import numpy as np


def to_bf16(a):
    """float32 rounded to bfloat16 (nearest, ties to even), as uint16."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(a):
    return (a.astype(np.uint32) << 16).view(np.float32)


def write_safetensors(path, tensors, dtype="F32"):
    """tensors: {name: float32 array}; all are stored as `dtype`, F32 or BF16."""
    header, blobs, at = {}, [], 0
    for name, array in tensors.items():
        blob = (to_bf16(array) if dtype == "BF16" else np.ascontiguousarray(array, np.float32)).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            out.write(blob)


def random_block(hidden, ffn, experts, seed=0, layer=0):
    """Weights by the names of the public Mixtral checkpoint."""
    rng = np.random.default_rng(seed)
    prefix = f"model.layers.{layer}.block_sparse_moe."

    def normal(*shape):
        return rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))

    tensors = {prefix + "gate.weight": normal(experts, hidden)}
    for e in range(experts):
        tensors[f"{prefix}experts.{e}.w1.weight"] = normal(ffn, hidden)
        tensors[f"{prefix}experts.{e}.w2.weight"] = normal(hidden, ffn)
        tensors[f"{prefix}experts.{e}.w3.weight"] = normal(ffn, hidden)
    return tensors


def reference(tensors, x, k=2, layer=0):
    """The block in float64: result, picks (T x K by falling probability), margin of the last pick."""
    prefix = f"model.layers.{layer}.block_sparse_moe."
    x = x.astype(np.float64)
    logits = x @ tensors[prefix + "gate.weight"].astype(np.float64).T
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    order = np.argsort(-p, axis=1, kind="stable")  # ties to the lower expert
    picks = order[:, :k]
    weights = np.take_along_axis(p, picks, 1)
    margin = weights[:, -1] - (np.take_along_axis(p, order[:, k:k + 1], 1)[:, 0] if k < p.shape[1] else 0)
    weights = weights / weights.sum(1, keepdims=True)
    y = np.zeros((x.shape[0], x.shape[1]))
    for e in range(p.shape[1]):
        rows, slot = np.nonzero(picks == e)
        if rows.size == 0:
            continue
        w1, w2, w3 = (tensors[f"{prefix}experts.{e}.w{i}.weight"].astype(np.float64) for i in (1, 2, 3))
        a = x[rows] @ w1.T
        y[rows] += weights[rows, slot][:, None] * ((a / (1 + np.exp(-a)) * (x[rows] @ w3.T)) @ w2.T)
    return y, picks, margin


def write_sample(folder):
    """A tiny block in bfloat16, and 64 rows of four sources, with their labels."""
    tensors = random_block(16, 32, 8, seed=1)
    write_safetensors(f"{folder}/mixtral_tiny.safetensors", tensors, "BF16")
    rng = np.random.default_rng(2)
    centres = 1.5 * rng.standard_normal((4, 16))
    source = np.arange(64) % 4
    x = (centres[source] + rng.standard_normal((64, 16))).astype(np.float32)
    np.save(f"{folder}/mixtral_tiny_x.npy", x)
    with open(f"{folder}/mixtral_tiny_labels.txt", "w") as out:
        out.writelines("code\n" if s == 0 else "prose\n" if s == 1 else "table\n" if s == 2 else "verse\n" for s in source)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "sample":
        sys.exit(__doc__)
    write_sample(sys.argv[2])
