from __future__ import annotations

import numpy as np
import pytest

from envs.api import AgentSpec, FeatureBlock
from envs.sensing import SensingError, sense

SPEC = AgentSpec(
    name="sat_1",
    hardware="wide",
    blocks=(
        FeatureBlock("platform", 2, "", 1.0),  # columns 0, 1
        FeatureBlock("priority", 1, "", 1.0, slots=3),  # 2, 3, 4
        FeatureBlock("eclipse", 1, "", 1.0),  # 5
        FeatureBlock("window", 2, "s", 100.0, slots=3),  # 6..11, slot-major
    ),
    fixed_actions=("charge",),
    slots=3,
)


def test_the_reduced_spec_keeps_order_and_indexes_the_full_observation() -> None:
    sensing = sense(SPEC, ["window", "eclipse", "priority"])
    assert [block.name for block in sensing.spec.blocks] == ["priority", "eclipse", "window"]
    assert sensing.spec.actions == SPEC.actions
    assert sensing.columns.tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert sensing.context_columns.tolist() == [5]
    assert sensing.slot_columns.tolist() == [[2, 6, 7], [3, 8, 9], [4, 10, 11]]


def test_sensing_the_reduced_observation_again_gives_the_same_values() -> None:
    obs = np.arange(12.0)
    first = sense(SPEC, ["platform", "window"])
    again = sense(first.spec, ["platform", "window"])
    assert (obs[first.columns][again.slot_columns] == obs[first.slot_columns]).all()
    assert (obs[first.columns][again.context_columns] == obs[first.context_columns]).all()


def test_without_slot_or_context_blocks_the_index_arrays_are_empty() -> None:
    assert sense(SPEC, ["platform"]).slot_columns.shape == (3, 0)
    assert sense(SPEC, ["priority"]).context_columns.shape == (0,)


def test_an_unknown_block_is_named_with_group_agent_and_known_blocks() -> None:
    with pytest.raises(SensingError) as error:
        sense(SPEC, ["platform", "claimd"], group="full")
    for part in ("'full'", "'sat_1'", "'claimd'", "platform, priority, eclipse, window"):
        assert part in str(error.value)


def test_an_empty_group_is_refused() -> None:
    with pytest.raises(SensingError, match="names no block"):
        sense(SPEC, [])
