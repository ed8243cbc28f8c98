"""Writes the reference cases of every family to packages/core/test/reference.

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python generate.py [family ...]
"""

import sys
import warnings
from pathlib import Path

from families import audio, distributions, dtypes, elementwise, fft, files, image, indexing, layers, linalg, linear, losses, metrics, optimizers, parity, reduction, schedules, sequence, text, training, vision, weight_files

OUT = Path(__file__).resolve().parents[2] / "packages" / "core" / "test" / "reference"


def main(wanted):
    warnings.simplefilter("ignore")
    OUT.mkdir(parents=True, exist_ok=True)
    total = 0
    for module in (elementwise, reduction, indexing, linear, layers, losses, metrics, image, training, optimizers, schedules, dtypes, files, sequence, linalg, fft, distributions, vision, audio, text, parity, weight_files):
        for build in module.FAMILIES:
            if wanted and build.__name__ not in wanted:
                continue
            cases, size = build().write(OUT)
            total += size
            print(f"{build.__name__:14} {cases:4} cases {size / 1024:7.1f} KiB")
    print(f"{total / 1024:.0f} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
