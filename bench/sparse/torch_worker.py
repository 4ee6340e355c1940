"""PyTorch's side of run.py: a request a line, seconds a line, as in bench/sparse_layer.cpp.

Experts one after the other, each on its rows (index_select, products, index_add_), which measured fastest for
large experts; for small ones also the weights of every pick gathered and one batched product, whichever is quicker.
"""
import sys
import time

import torch
import torch.nn.functional as F

torch.manual_seed(0)
HIDDEN, FFN, EXPERTS = (int(a) for a in (sys.argv[1:] + ["1024", "3584", "8"][len(sys.argv) - 1:]))


def scaled(*shape):
    return (torch.rand(*shape) - 0.5) * 3.46 / shape[-1] ** 0.5


class Block:
    """SwiGLU experts, top 2."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.gate = scaled(EXPERTS, HIDDEN)
        self.w = [[scaled(FFN, HIDDEN).to(dtype), scaled(FFN, HIDDEN).to(dtype), scaled(HIDDEN, FFN).to(dtype)]
                  for _ in range(EXPERTS)]

    def forward(self, x):
        g, picks = torch.topk(torch.softmax(F.linear(x, self.gate), -1), 2)
        g = g / g.sum(-1, keepdim=True)
        xs = x.to(self.dtype)
        y = torch.zeros(x.shape[0], HIDDEN)
        for e in range(EXPERTS):
            rows, slot = torch.where(picks == e)
            if rows.numel() == 0:
                continue
            part = xs.index_select(0, rows)
            w1, w3, w2 = self.w[e]
            out = F.linear(F.silu(F.linear(part, w1)) * F.linear(part, w3), w2)
            y = y.index_add(0, rows, out.float() * g[rows, slot, None])
        return y


class Small:
    """64 -> 256 -> 64, relu, top 2."""

    def __init__(self, dtype, experts):
        self.dtype, self.gate, self.best = dtype, scaled(experts, 64), None
        self.w1, self.w2 = scaled(experts, 256, 64).to(dtype), scaled(experts, 64, 256).to(dtype)

    def route(self, x):
        g, picks = torch.topk(torch.softmax(F.linear(x, self.gate), -1), 2)
        return g / g.sum(-1, keepdim=True), picks

    def by_experts(self, x):
        g, picks = self.route(x)
        order = picks.flatten().argsort()
        experts, counts = torch.unique_consecutive(picks.flatten()[order], return_counts=True)
        y, at, xs = torch.zeros_like(x), 0, x.to(self.dtype)
        for e, n in zip(experts.tolist(), counts.tolist()):
            slots = order[at:at + n]
            rows = slots // 2
            out = F.linear(F.relu(F.linear(xs[rows], self.w1[e])), self.w2[e])
            y.index_add_(0, rows, out.float() * g.flatten()[slots, None])
            at += n
        return y

    def gathered(self, x):
        g, picks = self.route(x)
        h = F.relu(torch.einsum("tkhi,ti->tkh", self.w1[picks], x.to(self.dtype)))
        return torch.einsum("tko,tk->to", torch.einsum("tkoh,tkh->tko", self.w2[picks], h).float(), g)

    def forward(self, x):
        if self.best is None:
            self.best = min((self.by_experts, self.gathered), key=lambda way: min(timed(way, x) for _ in range(3)))
        return self.best(x)


class Neurons:
    """Single-neuron experts behind product keys (PEER): 8 queries of 16 picks, half-keys of 64."""

    def __init__(self, count):
        side = round(count ** 0.5)
        self.side, self.query, self.keys = side, scaled(1024, 256), scaled(2, side, 64)
        self.linear, self.u, self.v = torch.zeros(256, 256), scaled(count, 256), torch.zeros(count, 256)
        self.dense = [self.query, self.keys, self.linear]

    def forward(self, x):
        q = F.linear(x, self.query).view(-1, 8, 2, 64)
        best, index = torch.topk(torch.einsum("nhpd,psd->nhps", q, self.keys), 16)
        sums = (best[:, :, 0, :, None] + best[:, :, 1, None, :]).flatten(2)
        all_index = (index[:, :, 0, :, None] * self.side + index[:, :, 1, None, :]).flatten(2)
        score, at = torch.topk(sums, 16)
        pick = all_index.gather(2, at)
        sparse = self.u.requires_grad
        answer = torch.einsum("ni,nhki->nhk", x, F.embedding(pick, self.u, sparse=sparse))
        answer = F.silu(answer) * torch.softmax(score, -1)
        return F.linear(x, self.linear) + torch.einsum("nhk,nhko->no", answer, F.embedding(pick, self.v, sparse=sparse))

    def step(self, x, labels):
        """As in moekit: Adam for what every row uses, Adagrad for the neurons, sparse."""
        if not self.u.requires_grad:
            for parameter in (*self.dense, self.u, self.v):
                parameter.requires_grad_()
            self.optimisers = [torch.optim.Adam(self.dense, 0.001), torch.optim.Adagrad([self.u, self.v], 0.01)]
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(self.forward(x), labels).backward()
        for optimiser in self.optimisers:
            optimiser.step()


def timed(work, *arguments):
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def steady(work):
    """As in bench/sparse_steady.hpp."""
    spent, times = 0, []
    while spent < 0.03:
        spent += work()
    while sum(times) < 0.03:
        times.append(work())
    return sum(times) / len(times)


def train(block, x):
    block.forward(x).square().sum().backward()


TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
blocks, small, neurons = {}, {}, {}
rows_at, x_all, x_small, x_neurons = 0, torch.randn(4096, HIDDEN), torch.randn(4096, 64), torch.randn(4096, 256)


def rows_of(x, n):
    global rows_at
    if rows_at + n > x.shape[0]:
        rows_at = 0
    rows_at += n
    return x[rows_at - n:rows_at]


def answer(words):
    torch.set_num_threads(int(words[-1]))
    if words[0] == "forward":
        if words[1] not in blocks:
            blocks[words[1]] = Block(TYPES[words[1]])
        with torch.inference_mode():
            return timed(blocks[words[1]].forward, rows_of(x_all, int(words[2])))
    if words[0] == "small":
        kind = tuple(words[1:3])
        if kind not in small:
            small[kind] = Small(TYPES[words[1]], int(words[2]))
        model = small[kind]
        with torch.inference_mode():
            if model.best is None:
                model.forward(rows_of(x_small, int(words[3])))
            return timed(model.forward, rows_of(x_small, int(words[3])))
    if words[0] == "train":
        if "train" not in blocks:
            blocks["train"] = Block(torch.float32)
        block = blocks["train"]
        block.gate.requires_grad_()
        for w in block.w:
            for m in w:
                m.requires_grad_()
                m.grad = None
        x = rows_of(x_all, int(words[1])).clone().requires_grad_()
        return timed(train, block, x)
    if words[0] in ("neurons", "neurons-train"):
        if words[1] not in neurons:
            neurons.clear()  # a million take 2 GiB
            neurons[words[1]] = Neurons(int(words[1]))
        rows = int(words[2])
        model = neurons[words[1]]
        if words[0] == "neurons":
            with torch.inference_mode():
                return timed(model.forward, rows_of(x_neurons, rows))
        return timed(model.step, rows_of(x_neurons, rows), torch.randint(256, (rows,)))
    raise ValueError(f"unknown request: {' '.join(words)}")


for line in sys.stdin:
    print(f"{steady(lambda: answer(line.split())):.9g}", flush=True)
