"""``python -m kdmarl_sat.onboard_benchmark.margin``: writes onboard/bound.json, which admission judges bundles by.

For each core and type of weights: the largest ratio of a network's bound (bound.py) to the closed form of its mean,
over networks of both architectures, small and large, with sizes that are multiples of a block of outputs and not.
"""

from __future__ import annotations

import json
import math
from typing import Any

from envs.files import write_whole
from kdmarl_sat.evidence import engine_digest
from kdmarl_sat.onboard_benchmark import bound
from onboard import closed_form, emulation, instructions, worst_case
from onboard.network import Dtype

PLAIN = ((7, 5, 3), (80, 16, 11), (61, 33, 13))  # O, H, A
SLOTTED = ((3, 3, 2, 4), (6, 4, 12, 16), (9, 5, 7, 27))  # C, F, K, H
STEP = 0.005  # ratios are rounded up to multiples of it


def measure() -> dict[str, Any]:
    """Raises BuildError: a package is missing."""
    cores: dict[str, Any] = {}
    for target in emulation.TARGETS.values():
        cores[target.name] = {}
        for dtype in Dtype:
            ratios = []
            for net, spec in (
                *(instructions.plain(*shape, dtype) for shape in PLAIN),
                *(instructions.slotted(*shape, dtype) for shape in SLOTTED),
            ):
                found = bound.measure(target, net, spec)
                ratios.append(found.bound / closed_form.instructions(target.name, spec, net.design))
            cores[target.name][dtype.value] = round(math.ceil(max(ratios) / STEP) * STEP, 3)
            print(target.name, dtype.value, " ".join(f"{ratio:.3f}" for ratio in ratios), flush=True)
    return {"shapes": len(PLAIN) + len(SLOTTED), "engine": engine_digest(), "cores": cores}


def main() -> None:
    content = measure()
    write_whole(worst_case.FILE, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    print(f"wrote {worst_case.FILE}")


if __name__ == "__main__":
    main()
