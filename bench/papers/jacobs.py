"""Jacobs, Jordan, Nowlan & Hinton 1991: four vowels of Peterson & Barney from two formants, train and test by speaker.

4 or 8 linear softmax experts with a softmax gate against back-propagation networks of 6 and 12 hidden units: passes
until 88 % of the vowels of the training speakers are right. The paper's experts learnt by gradient descent, these learn
by EM.
"""
import json
import os
import statistics
import tempfile

from backprop import Network, Scaling, numeric, np
from harness import Failure, Screen, cut, load, split_column, write_table
from ladder import climb

DATA, TARGET, INPUTS = "pb52_jacobs4", "Vowel", ["F1", "F2"]
SPLITS = {"ordered": "test_ordered", "stratified": "test_stratified"}
CRITERION = 0.88
EPOCHS = 3000
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
IN_USE = 0.01  # an expert is in use when its gate weight is the largest for 1 % of the training rows

PAPER = {("experts", 4): (1124, 0.90), ("experts", 8): (1083, 0.90),
         ("hidden units", 6): (2209, None), ("hidden units", 12): (2435, None)}


def run(program, record, runs):
    """Prints one table; False when something failed."""
    screen = Screen("Jacobs et al. 1991, four vowels: passes to 88 % right on the training speakers", [
        ("system", -27), ("speakers", -10), ("passes", 7), ("sd", 6), ("reached", 7), ("test then", 9),
        ("train end", 9), ("test end", 8), ("in use", 6), ("paper: epochs", 13), ("test", 5)])
    good = True
    for split, column in SPLITS.items():
        held = [cell == "1" for cell in split_column(DATA + "_speakers", column)]
        train, test = cut(load(DATA, TARGET), held)
        for (kind, size), paper in PAPER.items():
            name = f"{size} {kind}" + (" (EM)" if kind == "experts" else " (back-prop)")
            try:
                found = (mixtures(program, train, test, size, runs) if kind == "experts"
                         else networks(train, test, size, runs))
            except Failure as failure:
                screen.failed([name, split], str(failure))
                record.add(paper="jacobs1991", system=name, split=split, error=str(failure))
                good = False
                continue
            record.add(paper="jacobs1991", system=name, split=split, paper_epochs=paper[0], **found)
            show(screen, name, split, found["runs"], paper)
    print(f"means over {runs} seeds; 'reached': runs that came to 88 %; 'end': converged mixtures with default starts, "
          f"networks after {EPOCHS} epochs")
    return good


def show(screen, name, split, found, paper):
    passes = [one["passes"] for one in found if one["passes"] is not None]
    then = [one["test_then"] for one in found if one["passes"] is not None]
    used = [one["in_use"] for one in found if "in_use" in one]
    screen.row(name, split, f"{statistics.fmean(passes):.1f}" if passes else None,
               f"{statistics.stdev(passes):.1f}" if len(passes) > 1 else None, f"{len(passes)}/{len(found)}",
               statistics.fmean(then) if then else None, statistics.fmean(one["train_end"] for one in found),
               statistics.fmean(one["test_end"] for one in found), f"{statistics.fmean(used):.1f}" if used else "",
               str(paper[0]), f"{paper[1]:.2f}" if paper[1] else "")


# Mixtures of experts


def mixtures(program, train, test, experts, runs):
    with tempfile.TemporaryDirectory() as folder:
        write_table(os.path.join(folder, "train.csv"), *train)
        write_table(os.path.join(folder, "test.csv"), *test)
        drop = ",".join(name for name in train.header if name not in [*INPUTS, TARGET])
        options = ["--experts", str(experts), "--drop", drop]
        return {"runs": [one_mixture(program, folder, [*options, "--seed", str(seed)]) for seed in range(runs)]}


def one_mixture(program, folder, options):
    found = {"passes": None}
    for passes, _ in climb(program, folder, TARGET, options):
        if program.evaluate(folder, "train.csv")["accuracy"] >= CRITERION:
            found = {"passes": passes, "test_then": program.evaluate(folder)["accuracy"]}
            break
    program.train(folder, TARGET, options)
    found["train_end"] = program.evaluate(folder, "train.csv")["accuracy"]
    found["test_end"] = program.evaluate(folder)["accuracy"]
    found["in_use"] = experts_in_use(program, folder)
    return found


def experts_in_use(program, folder):
    summary = json.loads(program.call("diagnose", "model.moe", "train.csv", "-o", "diagnosis", "--json", "-q",
                                      folder=folder))
    return sum(expert["rows_won"] >= IN_USE for expert in summary["utilisation"])


# Back-propagation


def networks(train, test, hidden, runs):
    """The step is the one of RATES that needs the fewest epochs on the training rows, with a seed of its own."""
    classes = sorted({row[train.header.index(TARGET)] for row in train.rows})
    scaling = Scaling(numeric(train, INPUTS))
    parts = [(scaling(numeric(table, INPUTS)), labels_of(table, classes)) for table in (train, test)]
    trials = {rate: one_network(parts[:1], hidden, rate, seed=10_000)["passes"] for rate in RATES}
    rate = min(RATES, key=lambda r: trials[r] or EPOCHS + 1)
    return {"rate": rate, "runs": [one_network(parts, hidden, rate, seed) for seed in range(runs)]}


def labels_of(table, classes):
    at = table.header.index(TARGET)
    return np.array([classes.index(row[at]) for row in table.rows])


def one_network(parts, hidden, rate, seed):
    """parts: (inputs, labels) of the training rows, and of the test rows unless only the passes are wanted."""
    x, labels = parts[0]
    network = Network(x.shape[1], hidden, labels.max() + 1, classify=True, rng=np.random.default_rng(seed))
    y = np.eye(labels.max() + 1)[labels]
    found = {"passes": None}
    for epoch in range(1, EPOCHS + 1):
        network.step(x, y, rate)
        if found["passes"] is None and network.accuracy(x, labels) >= CRITERION:
            found["passes"] = epoch
            if len(parts) == 1:
                return found
            found["test_then"] = network.accuracy(*parts[1])
    if len(parts) > 1:
        found["train_end"], found["test_end"] = network.accuracy(x, labels), network.accuracy(*parts[1])
    return found
