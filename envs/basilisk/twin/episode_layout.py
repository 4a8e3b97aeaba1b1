"""``engine/episode.h``'s structures as numpy records, and the numbers of the feature blocks there."""

from __future__ import annotations

import numpy as np

BLOCKS = (
    *("battery", "gyro", "hardware", "sun", "eclipse", "urgent", "priority", "window", "angle", "rate", "claimed"),
    *("storage", "station", "wheels", "cue", "instrument", "cloud", "foretold", "due", "intent"),
)
MAX_BLOCKS, SLOTS = 32, 64

MISSION = np.dtype(
    [
        *((name, "i4") for name in ("satellites", "targets", "fixed", "slots", "downlink", "desat")),
        *((name, "i4") for name in ("blocks", "obs_size", "state_size")),
        ("block", "i4", MAX_BLOCKS),
        ("scale", "f8", MAX_BLOCKS),
        *((name, "i4") for name in ("communication", "intent_bits")),
        *((name, "i4") for name in ("state_storage", "state_station", "state_wheels")),
        *((name, "f8") for name in ("death_penalty", "urgent_above", "near_s", "far_s", "time_scale", "pass_scale")),
        *((name, "f8") for name in ("intent_loss", "due_most_s")),
        *((name, "u8") for name in ("hardware", "needs_light", "scout", "shuffled")),
    ],
    align=True,
)

POINTERS = (
    *("mission", "fleet", "global", "local", "target_P", "priority", "cloud_chance", "clouded", "due", "last_close"),
    *("all_open", "all_close", "all_target", "all_row"),
)
MEMORY = (
    *("x", "deadline_ns", "alive", "asked", "imaged", "saw_clouds", "cued", "left_out", "before"),
    *("anyone", "delivered"),
    *("offered", "offers", "images", "decisions", "charges", "captured_by"),
    *("intent", "intent_s", "sent_bits"),
)
EPISODE = np.dtype(
    [
        *((name, "u8") for name in POINTERS),
        ("all_windows", "i4"),
        ("ended", "i4"),
        *((name, "u8") for name in MEMORY),
        *((name, "i4") for name in ("duplicates", "spoiled", "deaths", "tick")),
        ("captured", "f8"),
        ("random", "u8"),
        ("losses", "u8"),
    ],
    align=True,
)
