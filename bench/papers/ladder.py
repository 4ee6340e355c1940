"""One start of a mixture, stopped ever later: what it had reached after how many passes."""

# Passes that turn a drawn partition into a first model, which a report does not count: kRegionPasses of
# src/train/select.cpp.
START_PASSES = 3

# A start is first run briefly and then finished; --max-iterations limits only the second stretch, so the two first
# rungs end the brief run early through the tolerance.
RUNGS = [("--tolerance", "1e9", "--max-iterations", "1"), ("--tolerance", "0.01", "--max-iterations", "1")]
RUNGS += [("--max-iterations", str(most)) for most in (1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200, 300, 500)]


def climb(program, folder, target, options):
    """Yields (passes over the rows, report) with model.moe in the folder, until the fit has converged."""
    before = 0
    for rung in RUNGS:
        report = program.train(folder, target, [*options, "--restarts", "1", *rung])
        passes = START_PASSES + sum(start["iterations"] for start in report["starts"])
        if passes > before:
            before = passes
            yield passes, report
        if "--tolerance" not in rung and report["status"] == "converged":
            return
