"""Jordan & Jacobs 1994: hierarchical mixtures of experts by EM against back-propagation, on the dynamics of robot arms.

The paper's data are not public; kin8nm and puma8nh (DELVE) stand in. Passes to converge and relative error, that is the
mean squared error over the variance of the target.
"""
import os
import tempfile
import time

from backprop import Network, Scaling, numeric, np
from harness import Failure, Screen, cut, load, split_column, write_table
from ladder import climb

SETS = {"kin8nm": "y", "puma8nh": "thetadd3"}
FOLD = "0"  # the fold held out
EXPERTS = 16
MIXTURES = {"hierarchical mixture (EM)": ["--gate", "tree", "--experts", str(EXPERTS)],
            "flat mixture (EM)": ["--gate", "softmax", "--experts", str(EXPERTS)]}
NETWORKS = {"back-prop, all rows a step": (None, 5500), "back-prop, 32 rows a step": (32, 550)}  # batch, epochs
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
TRIAL_SHARE = 0.05  # of the epochs: to choose the rate
CLOSE = 1.05  # converged: the training error is within 5 % of where it ends
GLANCE = 35  # the paper's number of passes of the mixture
PAPER = {"hierarchical mixture (EM)": 35, "back-prop, all rows a step": 5500}


def run(program, record, _runs):
    """Prints one table, from one seed each; False when something failed."""
    screen = Screen("Jordan & Jacobs 1994, robot arms: passes to converge and relative error on held-out rows", [
        ("system", -27), ("set", -8), ("passes", 7), ("test then", 9), (f"test at {GLANCE}", 10), ("passes in all", 13),
        ("test end", 8), ("coefs", 6), ("seconds", 8), ("paper: passes", 13)])
    good = True
    for name, target in SETS.items():
        held = [cell == FOLD for cell in split_column(name + "_cv5", "fold")]
        train, test = cut(load(name, target), held)
        coefficients = None
        for system, options in MIXTURES.items():
            try:
                found = mixture(program, train, test, target, options)
            except Failure as failure:
                screen.failed([system, name], str(failure))
                record.add(paper="jordan1994", system=system, set=name, error=str(failure))
                good = False
                continue
            coefficients = coefficients or found["coefficients"]
            show(screen, record, system, name, found)
        for system, (batch, epochs) in NETWORKS.items():
            show(screen, record, system, name, network(train, test, target, coefficients or 300, batch, epochs))
    print(f"'passes': until the training error is within {CLOSE - 1:.0%} of its end; 'test at {GLANCE}': after at most "
          f"{GLANCE} passes; networks have about as many coefficients as the first mixture")
    return good


def show(screen, record, system, name, found):
    curve = found["curve"]  # (passes, training error, test error)
    passes, _, then = next(point for point in curve if point[1] <= CLOSE * curve[-1][1])
    early = [test for count, _, test in curve if count <= GLANCE]
    record.add(paper="jordan1994", system=system, set=name, passes=passes, test_then=then, **found)
    screen.row(system, name, str(passes), then, early[-1] if early else None, str(curve[-1][0]), curve[-1][2],
               str(found["coefficients"]), found["seconds"], str(PAPER.get(system, "")))


def mixture(program, train, test, target, options):
    with tempfile.TemporaryDirectory() as folder:
        write_table(os.path.join(folder, "train.csv"), *train)
        write_table(os.path.join(folder, "test.csv"), *test)
        curve, report = [], None
        for passes, report in climb(program, folder, target, options):
            errors = [1 - program.evaluate(folder, data)["r2"] for data in ("train.csv", "test.csv")]
            curve.append((passes, *errors))
        return {"curve": curve, "coefficients": round(report["parameters"]), "seconds": report["seconds"],
                "status": report["status"], "trace": report["trace"]}


def network(train, test, target, coefficients, batch, epochs):
    """The step is the one of RATES with the least training error after a share of the epochs, with its own seed."""
    inputs = [name for name in train.header if name != target]
    in_scale, out_scale = Scaling(numeric(train, inputs)), Scaling(numeric(train, [target]))
    parts = [(in_scale(numeric(table, inputs)), out_scale(numeric(table, [target]))) for table in (train, test)]
    hidden = round((coefficients - 1) / (len(inputs) + 2))
    brief = max(1, round(TRIAL_SHARE * epochs))
    rate = min(RATES, key=lambda r: descend(parts[:1], hidden, r, batch, [brief], seed=10_000)[-1][1])
    began = time.monotonic()
    curve = descend(parts, hidden, rate, batch, glances(epochs), seed=0)
    return {"curve": curve, "coefficients": hidden * (len(inputs) + 2) + 1, "seconds": time.monotonic() - began,
            "rate": rate, "hidden": hidden, "batch": batch}


def glances(last):
    """Epochs at which to look: each a tenth after the one before."""
    epochs = [1]
    while epochs[-1] < last:
        epochs.append(min(last, max(epochs[-1] + 1, round(1.1 * epochs[-1]))))
    return epochs


def descend(parts, hidden, rate, batch, epochs, seed):
    """Relative errors after the given epochs: (epochs, error of the first part, error of the last)."""
    rng = np.random.default_rng(seed)
    x, y = parts[0]
    net = Network(x.shape[1], hidden, 1, classify=False, rng=rng)
    curve, done = [], 0
    with np.errstate(all="ignore"):  # a rate that is too large runs away: its error is infinite
        for glance in epochs:
            for done in range(done + 1, glance + 1):
                net.epoch(x, y, rate, rng, batch)
            errors = [net.squared_error(*part) / float(part[1].var()) for part in parts]
            curve.append((done, errors[0], errors[-1]))
    return curve
