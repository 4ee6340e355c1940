#!/usr/bin/python3
"""The experiments of the papers that brought mixtures of experts, beside what the papers report.

usage: bench/papers/run.py [PROGRAM] [--paper jacobs|jordan] [--runs N] [--out FILE]

jacobs  Jacobs, Jordan, Nowlan & Hinton 1991: four vowels, experts against back-propagation
jordan  Jordan & Jacobs 1994: hierarchical mixtures by EM against back-propagation, on robot arms

Needs NumPy (apt-get install -y python3-numpy). The data are read from ../shared/data beside the checkout, or from the
folder `data` in MOEKIT_SHARED. What fails is a row that says why; then the exit code is 1.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import ROOT, Record, need_shared_data, open_program  # noqa: E402

try:
    import jacobs
    import jordan
except ImportError as error:
    sys.exit(f"{error}: apt-get install -y python3-numpy, and run this with /usr/bin/python3")

PAPERS = {"jacobs": jacobs.run, "jordan": jordan.run}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage=argparse.SUPPRESS)
    add = parser.add_argument
    add("program", nargs="?", metavar="PROGRAM", default=os.path.join(ROOT, "build", "moekit"),
        help="the binary (default: build/moekit)")
    add("--paper", choices=list(PAPERS), action="append", help="only this one; may be repeated (default: both)")
    add("--runs", type=int, default=25, metavar="N", help="seeds of each system on the vowels (default: 25)")
    add("--out", metavar="FILE", help="write the results as JSON, with machine and version")
    asked = parser.parse_args()
    need_shared_data()
    program, version = open_program(asked.program)
    record = Record(asked.out, program, version)
    print(version)
    try:
        good = [PAPERS[name](program, record, max(1, asked.runs)) for name in asked.paper or PAPERS]
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
