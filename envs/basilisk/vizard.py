"""An episode as a file for Vizard, Basilisk's viewer: frames of its VizMessage protocol, written while it is flown.

Not by BSK-RL's ``vizard_dir``: that is one switch for the whole process, names its targets by scene, and draws each
frame a tick late. Vizard 2.3.1 or later plays the file (https://avslab.github.io/basilisk/Vizard/Vizard.html).
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from Basilisk.architecture import messaging
from Basilisk.simulation import vizInterface
from Basilisk.utilities import macros, vizSupport
from bsk_rl.scene.targets import Target
from matplotlib import colormaps

from envs.basilisk.satellites import Imager

_SATELLITES, _PRIORITIES = colormaps["tab10"], colormaps["YlOrRd"]
_SPOILED = [150, 158, 170, 255]
_STEPS = 10  # simulation steps from frame to frame; a capture has a frame of its own
_SETTINGS = {
    "orbitLinesOn": 1,
    "showSpacecraftLabels": 1,
    "showLocationLabels": -1,
    "showLocationCones": -1,
    "showLocationCommLines": -1,
    "mainCameraTarget": "earth",
}


class Film:
    """Writes one episode; it changes nothing of what is flown."""

    def __init__(self, step_s: float, satellites: Sequence[Imager], targets: Sequence[Target]) -> None:
        """Call when the models are built and not yet initialised (BSK-RL's ``reset_during_sim_init``)."""
        self._folder = Path(tempfile.mkdtemp(prefix="kdmarl-film-"))
        path = self._folder / "flight.bin"  # Vizard's ending, which Basilisk insists on
        self._satellites = satellites
        self._colours = {s.name: _rgba(_SATELLITES(n % _SATELLITES.N)) for n, s in enumerate(satellites)}
        self._marks = {target: f"{index} {target.name}" for index, target in enumerate(targets)}  # names may repeat
        self._captured: set[Target] = set()
        # Basilisk keeps bare pointers to these: whoever made them must hold them.
        self._sensors = [self._sensor(satellite) for satellite in satellites]
        self._batteries = [_battery(satellite) for satellite in satellites]
        simulator = satellites[0].simulator
        process = simulator.CreateNewProcess("film", priority=-1)  # after all else, so that a frame shows its instant
        process.addTask(simulator.CreateNewTask("film", macros.sec2nano(_STEPS * step_s)))
        self._viz = vizSupport.enableUnityVisualization(
            simulator,
            "film",
            [s.dynamics.scObject for s in satellites],
            saveFile=str(path),
            spriteList=[vizSupport.setSprite("SQUARE", color=self._colours[s.name]) for s in satellites],
            genericSensorList=[[sensor] for sensor in self._sensors],
            genericStorageList=[[battery] for battery in self._batteries],
            rwEffectorList=[s.dynamics.rwStateEffector for s in satellites],
        )
        self._viz.epochInMsg.subscribeTo(simulator.world.gravFactory.epochMsg)
        for name, value in _SETTINGS.items():
            setattr(self._viz.settings, name, value)
        for target in targets:
            self._mark(target, _rgba(_PRIORITIES(0.1 + 0.9 * target.priority)))
        for station in getattr(simulator.world, "groundStations", []):
            vizSupport.addLocation(
                self._viz,
                station.ModelTag,
                "earth",
                np.ravel(station.r_LP_P_Init).tolist(),
                color="cyan",
                fieldOfView=np.pi - 2 * station.minimumElevation,
                markerScale=2.0,
            )

    def develop(self) -> None:
        """Take the file out of its folder; call when the simulation is initialised, and Basilisk has opened it. So
        nothing is left of it when the process ends, however it ends."""
        self._file = (self._folder / "flight.bin").open("rb")
        shutil.rmtree(self._folder)
        weakref.finalize(self, self._file.close)

    def pursue(self) -> None:
        """Draw a line from each satellite to the target it is after, until the next call."""
        lines = []
        for satellite in self._satellites:
            if satellite.imaging:
                line = vizInterface.PointLine()
                line.fromBodyName, line.toBodyName = satellite.name, self._marks[satellite.running]
                line.lineColor = self._colours[satellite.name]
                lines.append(line)
        self._viz.liveSettings.targetLineList = vizInterface.PointLineConfig(lines)

    def capture(self, satellites: Sequence[Imager], now_ns: int) -> None:
        """Colour the targets that these satellites have just imaged, as the first."""
        first = [s for s in satellites if s.latest_target not in self._captured]
        for satellite in first:
            target = satellite.latest_target
            spoiled = not satellite.data_store.shows(target)
            if not spoiled:
                self._captured.add(target)
            self._mark(target, _SPOILED if spoiled else self._colours[satellite.name])
        if first:
            self._viz.UpdateState(now_ns + 1)  # this instant may have its frame already, and times must rise

    def read(self) -> bytes:
        """What there is of it by now."""
        self._file.seek(0)
        return self._file.read()

    def _mark(self, target: Target, colour: list[int]) -> None:
        """Draw a target, or draw it anew; sent once, with the next frame."""
        mark = vizInterface.LocationPbMsg()
        mark.stationName, mark.parentBodyName, mark.label = self._marks[target], "earth", target.name
        mark.r_GP_P = list(target.r_LP_P)
        mark.gHat_P = list(target.r_LP_P / np.linalg.norm(target.r_LP_P))
        mark.color, mark.markerScale = colour, 0.5 + target.priority
        self._viz.locations.append(mark)

    def _sensor(self, satellite: Imager) -> Any:
        sensor = vizInterface.GenericSensor()
        sensor.label, sensor.r_SB_B = "imager", [0.0, 0.0, 0.0]
        sensor.normalVector = list(satellite.fsw.locPoint.pHat_B)
        half_angle = 4 * np.arctan(satellite.fsw.insControl.attErrTolerance)  # of an MRP: tan(angle / 4)
        sensor.fieldOfView.push_back(2 * half_angle)
        sensor.color = vizInterface.IntVector([*self._colours[satellite.name][:3], 128])
        command = messaging.DeviceCmdMsgReader()  # subscribing the member itself would subscribe a copy of it
        command.subscribeTo(satellite.fsw.insControl.deviceCmdOutMsg)
        sensor.genericSensorCmdInMsg = command
        return sensor


def _battery(satellite: Imager) -> Any:
    battery = vizInterface.GenericStorage()
    battery.label, battery.units = "battery", "J"
    battery.color = vizInterface.IntVector(vizSupport.toRGBA255("red") + vizSupport.toRGBA255("green"))
    battery.thresholds = vizInterface.IntVector([25])
    level = messaging.PowerStorageStatusMsgReader()
    level.subscribeTo(satellite.dynamics.powerMonitor.batPowerOutMsg)
    battery.batteryStateInMsg = level
    return battery


def _rgba(colour: Sequence[float]) -> list[int]:
    return [round(255 * part) for part in colour]
