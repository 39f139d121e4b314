"""Spaces of settings, and the few of them that a method may try: quasi-random points, the same for everyone."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch.quasirandom import SobolEngine

Setting = dict[str, float]
"""A value for each name: "lr", "damping", ..."""


@dataclass(frozen=True)
class LogUniform:
    """Between two positive numbers, every factor as likely as any other of its size."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """The number below which `share` of the draws lie, to three digits."""
        return float(f"{self.low * (self.high / self.low) ** share:.3g}")

    def __str__(self) -> str:
        return f"log-uniform {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class OneOf:
    """A few values, all as likely."""

    values: tuple[float, ...]

    def at(self, share: float) -> float:
        """The value in whose part of [0, 1) the share lies."""
        return self.values[int(share * len(self.values))]

    def __str__(self) -> str:
        return f"one of {', '.join(f'{value:g}' for value in self.values)}"


Space = Mapping[str, LogUniform | OneOf]


def draw(space: Space, trials: int, seed: int = 0) -> list[Setting]:
    """So many settings: a scrambled Sobol sequence, fixed by the seed. A space of one point gives that one."""
    if all(isinstance(each, OneOf) and len(each.values) == 1 for each in space.values()):
        return [{name: each.at(0.0) for name, each in space.items()}]
    points = SobolEngine(len(space), scramble=True, seed=seed).draw(trials).double().clamp(max=1 - 1e-9)
    return [{name: each.at(u) for (name, each), u in zip(space.items(), p, strict=True)} for p in points.tolist()]


def in_words(setting: Mapping[str, float]) -> str:
    """A setting for a table."""
    return ", ".join(f"{name} {value:.3g}" for name, value in setting.items())


def stated(space: Space) -> dict[str, str]:
    """A space for a JSON file."""
    return {name: str(each) for name, each in space.items()}
