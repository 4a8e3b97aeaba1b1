"""``pytest -p tests.engine.instrumented``: tests of the C engine call the library at $KD_LIBRARY."""

from __future__ import annotations

import os
from pathlib import Path

from onboard import build

build.shared_library = lambda: Path(os.environ["KD_LIBRARY"])  # type: ignore[assignment]
