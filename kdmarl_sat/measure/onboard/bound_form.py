"""A closed form that lies above the bound of a decision, so that admission needs neither an emulator nor a solver.

bound.py measures the longest path of networks of many shapes on a core. The form has the terms of closed_form.py; its
coefficients are the least, none negative, with which it lies above every bound. Each shape in turn is then left out:
what the form of the others falls short of its bound by, at the worst, goes on top as a margin, and MORE besides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from kdmarl_sat.measure.onboard import bound, flow_graph
from onboard import instructions
from onboard.closed_form import ClosedForm, Terms, terms
from onboard.count_instructions import FIT_PLAIN, FIT_SLOTTED
from onboard.emulation import Target
from onboard.network import Dtype, Network
from onboard.spec import AgentSpec

# Beside those that the mean is fitted to: (O, H, A) and (C, F, K, H), as in count_instructions. Some are chosen, some
# are corners of what is likely to fly, and some are drawn.
PLAIN = (
    *FIT_PLAIN, (80, 16, 11), (80, 32, 11), (80, 256, 11), (33, 19, 9), (150, 40, 25), (64, 96, 6),
    (4, 4, 2), (300, 4, 40), (4, 200, 2), (300, 200, 40), (4, 4, 40), (300, 4, 2),
)  # fmt: skip
SLOTTED = (
    *FIT_SLOTTED, (9, 5, 9, 14), (14, 6, 18, 28), (4, 3, 4, 40), (7, 9, 24, 20), (20, 4, 32, 32),
    (8, 6, 10, 12), (10, 9, 14, 12), (5, 7, 13, 20),
    (2, 2, 40, 4), (24, 12, 40, 4), (24, 12, 2, 4), (2, 2, 2, 70), (24, 12, 40, 70), (21, 10, 38, 12), (3, 11, 39, 9),
)  # fmt: skip
DRAWN = 8  # of each kind
MORE = 0.01

Bounds = Sequence[tuple[Terms, float]]  # of networks: terms, and instructions of the longest decision


@dataclass(frozen=True, slots=True)
class Fitted:
    """A form with its margin; shares of the bound."""

    form: ClosedForm
    shapes: int
    margin: float  # what a form falls short of a shape by that it was not fitted to, at the worst, and MORE
    highest: float  # that the form lies above a bound, at the most

    def record(self) -> dict[str, Any]:
        shares = {name: round(getattr(self, name), 5) for name in ("margin", "highest")}
        return {"coefficients": dataclasses.asdict(self.form), "shapes": self.shapes, **shares}


def measure(target: Target, dtype: Dtype) -> Fitted:
    """Raises BuildError: a package is missing. FlowError: the code cannot be followed, or no form lies above it."""
    generator = np.random.default_rng(1)
    plain = generator.integers((4, 4, 2), (301, 201, 41), (DRAWN, 3)).tolist()
    slotted = generator.integers((2, 2, 2, 4), (25, 13, 41, 71), (DRAWN, 4)).tolist()
    made: list[tuple[Network, AgentSpec]] = []
    made += [instructions.plain(o, h, a, dtype) for o, h, a in (*PLAIN, *plain)]
    made += [instructions.slotted(c, f, k, h, dtype) for c, f, k, h in (*SLOTTED, *slotted)]
    return fit([(terms(spec, net.design), bound.measure(target, net, spec).bound) for net, spec in made])


def fit(bounds: Bounds) -> Fitted:
    """Raises FlowError: no form lies above the bounds."""
    rows = _relative(bounds)
    short = [1.0 - float(row @ _least(np.delete(rows, index, axis=0))) for index, row in enumerate(rows)]
    margin = MORE + max(0.0, *short)
    form = ClosedForm(*(round(float(each) * (1 + margin), 3) for each in _least(rows)))
    above = [form(counted) / most - 1 for counted, most in bounds]
    if min(above) < 0:
        raise flow_graph.FlowError(f"the closed form lies {-min(above):.2%} below a bound")
    return Fitted(form, len(bounds), margin, max(above))


def _relative(bounds: Bounds) -> NDArray[np.float64]:
    """[shapes, terms]: each row's product with the coefficients is the form as a multiple of the bound."""
    columns = [(*dataclasses.astuple(counted)[:-1], 1, counted.actions) for counted, _ in bounds]  # as of ClosedForm
    return np.asarray(np.array(columns) / np.array([[most] for _, most in bounds]), np.float64)


def _least(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """[terms] coefficients of the least sum over shapes with which no row [shapes, terms] comes to less than 1."""
    found = linprog(rows.sum(axis=0), A_ub=-rows, b_ub=-np.ones(len(rows)), bounds=(0, None), method="highs")
    if found.status != 0:
        raise flow_graph.FlowError(f"no closed form lies above the bounds: {found.message}")
    return np.asarray(found.x, np.float64)
