"""How long messages between processes take: by the latency and the bandwidth of what connects them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from collectives import Message


def received(message: Message, world: int) -> float:
    """Bytes that a process receives, by rings: of a sum twice the others' parts of it, else what others give it."""
    shares = {"all_reduce": 2 / world, "all_gather": 1.0, "all_to_all": 1 / world}
    return shares[message.operation] * (world - 1) * message.size


def rounds(message: Message, world: int) -> int:
    """Messages that wait for each other, by trees: log2 P, and for a sum there and back; in an exchange one by one."""
    if message.operation == "all_to_all":
        return world - 1
    once = math.ceil(math.log2(world)) if world > 1 else 0
    return 2 * once if message.operation == "all_reduce" else once


@dataclass(frozen=True)
class Link:
    """What connects each process to the others.

    Attributes:
        latency: seconds before a round begins to arrive.
        bandwidth: bytes a second that a process receives, by operation.
    """

    latency: float
    bandwidth: Mapping[str, float]

    def seconds(self, messages: Iterable[Message], world: int) -> float:
        """Of messages one after the other."""
        return sum(
            self.latency * rounds(message, world) + received(message, world) / self.bandwidth[message.operation]
            for message in messages
        )


def fitted(measured: Mapping[Message, float], world: int) -> Link:
    """The link by which the seconds of these messages are told best, by least squares of the relative errors."""
    operations = sorted({message.operation for message in measured})
    scaled = torch.tensor(
        [
            [rounds(m, world) / taken, *(received(m, world) / taken * (m.operation == each) for each in operations)]
            for m, taken in measured.items()
        ],
        dtype=torch.float64,
    )
    latency, *per_byte = torch.linalg.lstsq(scaled, scaled.new_ones(len(scaled), 1)).solution.flatten().tolist()
    return Link(latency, {each: 1 / taken for each, taken in zip(operations, per_byte, strict=True)})
