"""What satellites know of one another's images, and what an image earns: BSK-RL's data store and rewarder."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from bsk_rl import data
from bsk_rl.data.unique_image_data import UniqueImageData, UniqueImageStore
from bsk_rl.scene.targets import Target

from envs.basilisk.deliveries import Delivery, RewardRule, earned
from scenarios.mission import RewardAt

IMAGE_BITS = 8e6  # BSK-RL's default
ROUNDING = 1e-3  # of an image: Basilisk rounds what leaves the buffer in a tick to whole bits


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a satellite's buffer."""

    target: Target
    taken_s: float


class ImageData(UniqueImageData):  # type: ignore[misc]  # bsk_rl is untyped
    """Upstream's record of images, without copying the set of known targets at every addition, and what else
    satellites tell one another: which targets they saw under clouds, and which their scouts flag.

    ``delivered`` (what is rewarded) and ``sent`` (to the ground) are news of one satellite's step, not knowledge, and
    are not added up.
    """

    def __init__(
        self,
        imaged: set[Target] | None = None,
        duplicates: int = 0,
        known: set[Target] | None = None,
        clouded: set[Target] | None = None,
        cued: set[Target] | None = None,
        delivered: tuple[Image, ...] = (),
        sent: tuple[Image, ...] = (),
    ) -> None:
        self.imaged = set() if imaged is None else set(imaged)
        self.duplicates = duplicates
        self.known = set() if known is None else known
        self.clouded = set() if clouded is None else clouded
        self.cued = set() if cued is None else cued
        self.delivered = delivered
        self.sent = sent

    def __add__(self, other: ImageData) -> ImageData:
        imaged = self.imaged | other.imaged
        repeated = len(self.imaged) + len(other.imaged) - len(imaged)
        return ImageData(
            imaged,
            self.duplicates + other.duplicates + repeated,
            self.known or other.known,
            self.clouded | other.clouded,
            self.cued | other.cued,
        )


class ImageStore(UniqueImageStore):  # type: ignore[misc]
    """Upstream's store, which tells images by the level of the satellite's buffer, and the buffer's content.

    The buffer is first in, first out: an image has been delivered when all its bits and those before have left.
    """

    data_type = ImageData

    def __init__(self, *args: Any, at: RewardAt, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._at = at
        self.buffer: list[Image] = []  # oldest first
        self.spoiled = 0  # images that showed nothing but clouds

    def compare_log_states(self, old_state: float, new_state: float) -> ImageData:
        """What a step has brought; levels in bits. A satellite does not downlink while it takes images."""
        if new_state > old_state:
            return self._taken(Image(self.satellite.latest_target, float(self.satellite.simulator.sim_time)))
        if new_state < old_state:
            left = math.ceil(new_state / IMAGE_BITS - ROUNDING)
            sent, self.buffer = self.buffer[: len(self.buffer) - left], self.buffer[len(self.buffer) - left :]
            shown = tuple(image for image in sent if self.shows(image.target))
            return ImageData(delivered=shown if self._at is RewardAt.downlink else (), sent=shown)
        return ImageData()

    def _taken(self, image: Image) -> ImageData:
        self.buffer.append(image)
        if not self.shows(image.target):
            self.spoiled += 1
            return ImageData(clouded={image.target})
        return ImageData(imaged={image.target}, delivered=(image,) if self._at is RewardAt.image else ())

    def shows(self, target: Target) -> bool:
        """Whether no clouds are between the satellite and the target."""
        return not (self.satellite.hardware.needs_clear_view and target.clouded)

    @property
    def on_board(self) -> set[Target]:
        """The targets that the images in the buffer show."""
        return {image.target for image in self.buffer if self.shows(image.target)}


class ImageReward(data.UniqueImageReward):  # type: ignore[misc]
    """Rewards deliveries by a rule."""

    data_store_type = ImageStore

    def __init__(self, rule: RewardRule, at: RewardAt) -> None:
        super().__init__()
        self._rule = rule
        self.data_store_kwargs = {"at": at}

    def reset_overwrite_previous(self) -> None:
        super().reset_overwrite_previous()
        self._delivered: Counter[Target] = Counter()
        self.first_delivery: dict[Target, tuple[str, float]] = {}  # satellite, and when: of what is rewarded
        self.first_sent: dict[Target, tuple[str, float]] = {}  # likewise: of what has reached the ground

    def calculate_reward(self, new_data_dict: dict[str, ImageData]) -> dict[str, float]:
        """What each satellite's deliveries of a step earn; they count as delivered at its end."""
        together = Counter(image.target for new in new_data_dict.values() for image in new.delivered)
        rewards = {
            name: sum((self._earned(name, image, together[image.target]) for image in new.delivered), 0.0)
            for name, new in new_data_dict.items()
        }
        self._delivered += together
        for name, new in new_data_dict.items():
            for image in new.delivered:
                self.first_delivery.setdefault(image.target, (name, self._now_s))
            for image in new.sent:
                self.first_sent.setdefault(image.target, (name, self._now_s))
        return rewards

    def undelivered(self, on_board: set[Target]) -> float:
        """The priorities of those targets of which no image has been delivered yet."""
        return math.fsum(target.priority for target in on_board if not self._delivered[target])

    @property
    def _now_s(self) -> float:
        return float(self.scenario.satellites[0].simulator.sim_time)

    def _earned(self, name: str, image: Image, together: int) -> float:
        target = image.target
        delivery = Delivery(
            satellite=name,
            target=target.name,
            priority=target.priority,
            r_LP_P=target.r_LP_P.copy(),
            taken_s=image.taken_s,
            delivered_s=self._now_s,
            earlier=self._delivered[target],
            together=together,
        )
        return earned(self._rule, delivery)
