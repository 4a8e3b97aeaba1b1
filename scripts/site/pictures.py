"""The missions' pictures, docs/images/missions: ``python -m scripts.site.pictures`` flies each for one episode."""

from __future__ import annotations

import io

from envs.files import write_whole
from kdmarl_sat.api import Heuristic, compose, fly_rule, plot_flight
from scripts.site.outside import ROOT

MISSIONS = ("imaging_constellation", "walker_cities", "tip_and_cue", "optical_sar", "bskrl_aeos")


def main() -> None:
    folder = ROOT / "docs/images/missions"
    folder.mkdir(parents=True, exist_ok=True)
    for name in MISSIONS:
        config = compose(f"scenario={name}", "evaluation.episodes=1")
        figure = plot_flight(config, fly_rule(config, Heuristic.global_knowledge), "ground_track")
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=110, metadata={"Software": None})
        write_whole(folder / f"{name}.png", drawn.getvalue())


if __name__ == "__main__":
    main()
