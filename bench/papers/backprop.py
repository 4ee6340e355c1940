"""Back-propagation, as plain as it comes: one hidden layer of tanh units, gradient descent with momentum (NumPy).

Outputs are linear with the squared error, or a softmax with the cross-entropy: in both the gradient at the output is
output - target, so one code serves regression and classification (Rumelhart, Hinton & Williams 1986; Bridle 1990).
"""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core, as the program it is compared with
import numpy as np  # noqa: E402

MOMENTUM = 0.9


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class Network:
    def __init__(self, inputs, hidden, outputs, classify, rng):
        self.classify = classify
        self.weights = [rng.normal(0, 1 / np.sqrt(inputs + 1), (inputs + 1, hidden)),
                        rng.normal(0, 1 / np.sqrt(hidden + 1), (hidden + 1, outputs))]
        self.speed = [np.zeros_like(w) for w in self.weights]

    def forward(self, x):
        """Hidden units (n x hidden) and outputs (n x outputs); the last row of a weight matrix is the intercept."""
        first, second = self.weights
        h = np.tanh(x @ first[:-1] + first[-1])
        out = h @ second[:-1] + second[-1]
        return h, softmax(out) if self.classify else out

    def step(self, x, y, rate):
        """One step down the gradient of the mean error of these rows."""
        h, out = self.forward(x)
        delta_out = (out - y) / len(x)
        delta_hidden = (delta_out @ self.weights[1][:-1].T) * (1 - h**2)
        gradients = [np.vstack([x.T @ delta_hidden, delta_hidden.sum(0)]),
                     np.vstack([h.T @ delta_out, delta_out.sum(0)])]
        for weight, speed, gradient in zip(self.weights, self.speed, gradients):
            speed *= MOMENTUM
            speed -= rate * gradient
            weight += speed

    def epoch(self, x, y, rate, rng, batch=None):
        """One pass over the rows, in one step or in steps of `batch` rows in random order."""
        if batch is None:
            return self.step(x, y, rate)
        order = rng.permutation(len(x))
        for first in range(0, len(x), batch):
            rows = order[first:first + batch]
            self.step(x[rows], y[rows], rate)

    def accuracy(self, x, labels):
        return float((self.forward(x)[1].argmax(axis=1) == labels).mean())

    def squared_error(self, x, y):
        """Mean squared error; infinite once the weights have run away."""
        error = float(((self.forward(x)[1] - y) ** 2).mean())
        return error if np.isfinite(error) else float("inf")


class Scaling:
    """Means and standard deviations of the training rows."""

    def __init__(self, train):
        self.mean, self.sd = train.mean(axis=0), train.std(axis=0)

    def __call__(self, values):
        return (values - self.mean) / self.sd


def numeric(table, columns):
    """The named columns as an array, rows x columns."""
    at = [table.header.index(column) for column in columns]
    return np.array([[float(row[a]) for a in at] for row in table.rows])
