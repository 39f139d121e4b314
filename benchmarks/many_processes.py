"""What does each of P processes compute, hold and send in a step, and how long would a step take?

    python benchmarks/many_processes.py [--processes 2] [--plot docs] [--out runs/benchmarks]

RevMLP(784, 10, 2 blocks, h 8192), float32, one output for Moore-Penrose. Each process has some of 1024 rows
(`GaussNewton(..., group=)`) or some of their features (`revgn.parallel.parallelize`). Beside them the gradient of SGD:
summed up over processes that have rows; that of the same network with its features sharded.

Counted, for 1 to 1024 processes that have rows and to 4096 that have features: one of them runs on its own in a group
whose others are not there (torch's fake process group: a sum stays as it is, what is gathered is one's own part P
times, what is exchanged is zero). What it computes, sends and holds is that of a process among P: rows are all alike,
so that what is gathered is right, and damping is so heavy that no step is exact, whatever a sum should have been.
`operations` are those of products and of factorisations; `memory` is the peak of a step beyond parameters, in a process
of its own; `received` counts bytes as rings send them.

Measured, with gloo, in groups of `--processes` on this machine, one thread each: the messages of a step, sent again by
themselves, beside what latency and bandwidths say that were fitted to plain messages of six sizes; and the
operations of the processes are those of the fake group (a check). A step's seconds beside the time of one process
alone, its operations divided as counted, and its messages. More processes than cores share the cores.

On paper: the seconds of a step by operations, latency and bandwidth of a machine that nobody here has seen, which the
JSON file states. It leaves out memory traffic, Python, and whatever overlaps.
"""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

import fresh
import measure
from collectives import Message
from figures import many_processes_figure
from links import Link, fitted, received
from results import Benchmark, Check, Column, Result, Row, at_least, at_most
from revgn.linear.sharded import part
from sharded_steps import WAYS, Sizes, Way, step_of
from work import Work

FULL = {"rows": Sizes(1024, 784, 8192, 1024), "features": Sizes(1024, 784, 8192, 4096)}
TINY = {"rows": Sizes(16, 12, 64, 4), "features": Sizes(16, 12, 64, 4)}
PAPER_RATE = 2e13  # operations a second
OPERATIONS = ("all_reduce", "all_gather", "all_to_all")
PAPER = Link(1e-5, dict.fromkeys(OPERATIONS, 2.5e10))  # 10 us, 25 GB/s
PLAIN = [Message(operation, 16**power) for operation in OPERATIONS for power in (1, 2, 3, 4, 5, 6)]
REPEATS = 3

BENCHMARK = Benchmark(
    __file__,
    __doc__,
    [
        Column("sharded", "sharded", width=8),
        Column("method", "step", width=13),
        Column("world", "P", "d", 4),
        Column("operations", "Gflop", ".2f"),
        Column("share", "of P = 1", ".4f", 8),
        Column("held", "params/MB", ".2f"),
        Column("memory", "memory/MB", ".1f"),
        Column("messages", "messages", "d", 8),
        Column("received", "MB recvd", ".2f"),
        Column("of_gradient", "of SGD's", ".2f", 8),
        Column("paper", "paper/ms", ".2f"),
        Column("sent_again", "gloo/ms", ".2f"),
        Column("predicted", "told/ms", ".2f"),
        Column("step", "step/ms", ".1f"),
        Column("predicted_step", "told/ms", ".1f"),
    ],
    many_processes_figure,
)


def counts(sharded: str, method: str, sizes: Mapping[str, int], world: int) -> Row:
    """What one process of so many computes, holds and sends; to be called in a fresh process."""
    torch.set_num_threads(1)
    dist.init_process_group("fake", rank=0, world_size=world, store=FakeStore())
    small = Sizes(2 * world, 12, 64, world) if sharded == "rows" else Sizes(16, 12, 2 * max(32, world), world)
    step_of((sharded, method), small, world)[1]()  # libraries load and make their buffers
    model, step = step_of((sharded, method), Sizes(**sizes), world)
    memory = measure.peak_memory(step)
    with Work() as work:
        step()
    dist.destroy_process_group()
    return {
        "operations": work.operations / 1e9,
        "held": sum(part(p).nbytes for p in model.parameters()) / 1e6,
        "memory": memory / 1e6,
        "messages": len(work.messages),
        "received": sum(received(message, world) for message in work.messages) / 1e6,
        "sent": [asdict(message) for message in work.messages],
    }


@dataclass(frozen=True)
class Seen:
    """What a process of a gloo group saw: seconds of plain messages, and of each way its operations and times."""

    plain: Mapping[Message, float]
    ways: Mapping[Way, Row]


def in_world(index: int, world: int, folder: str, sizes: Mapping[str, Sizes]) -> Seen:
    """In one of so many processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=index, world_size=world)
    plain = {message: seconds_of([message] * 10, world) / 10 for message in PLAIN}
    ways: dict[Way, Row] = {}
    for way in WAYS:
        _, step = step_of(way, sizes[way[0]], world)
        step()
        with Work() as work:
            step()
        ways[way] = {
            "operations_by_gloo": work.operations / 1e9,
            "step": 1e3 * median_seconds(step),
            "sent_again": 1e3 * seconds_of(work.messages, world),
        }
    dist.barrier()
    dist.destroy_process_group()
    return Seen(plain, ways)


def seconds_of(messages: Sequence[Message], world: int) -> float:
    """What messages of these sizes take, one after the other."""
    longest = max((message.size for message in messages), default=0)
    own, gathered = torch.zeros(longest, dtype=torch.uint8), torch.zeros(world, longest, dtype=torch.uint8)

    def send() -> None:
        for message in messages:
            if message.operation == "all_reduce":
                dist.all_reduce(own[: message.size])
            elif message.operation == "all_to_all":
                even = message.size // world * world
                dist.all_to_all_single(gathered.view(-1)[:even], own[:even])
            else:
                dist.all_gather(list(gathered[:, : message.size]), own[: message.size])

    send()
    return median_seconds(send)


def median_seconds(step: Callable[[], object]) -> float:
    """Of some calls, in which all processes begin together."""
    taken: list[float] = []
    for _ in range(REPEATS):
        dist.barrier()
        taken.append(measure.seconds(step))
    return statistics.median(taken)


def by_gloo(world: int, sizes: Mapping[str, Sizes]) -> Seen:
    """The slowest of so many processes of this machine."""
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(world, get_context("spawn")) as pool:
        told = list(pool.map(in_world, range(world), [world] * world, [folder] * world, [sizes] * world))
    return Seen(
        {message: max(each.plain[message] for each in told) for message in PLAIN},
        {way: {key: max(each.ways[way][key] for each in told) for key in told[0].ways[way]} for way in WAYS},
    )


def measured(sizes: Mapping[str, Sizes], gloo_worlds: Sequence[int]) -> tuple[list[Row], dict[int, Link]]:
    """A row for each way and number of processes, and the links between processes of this machine."""
    seen = {world: by_gloo(world, sizes) for world in sorted({1, *gloo_worlds} if gloo_worlds else ())}
    links = {world: fitted(each.plain, world) for world, each in seen.items() if world > 1}
    rows: dict[tuple[Way, int], Row] = {}
    for way in WAYS:
        sharded, method = way
        for world in (2**power for power in range(sizes[sharded].most.bit_length())):
            arguments = {"sharded": sharded, "method": method, "world": world}
            found = fresh.call("many_processes", "counts", mapped=True, sizes=asdict(sizes[sharded]), **arguments)
            row = rows[way, world] = arguments | found
            messages, one = [Message(**each) for each in row["sent"]], rows[way, 1]
            row["share"] = row["operations"] / one["operations"]
            row["paper"] = 1e3 * (1e9 * row["operations"] / PAPER_RATE + PAPER.seconds(messages, world))
            if world in seen:
                row |= seen[world].ways[way]
            if world > 1:
                row["of_gradient"] = row["received"] / rows[(sharded, "gradient"), world]["received"]
            if world in links:
                row["predicted"] = 1e3 * links[world].seconds(messages, world)
                row["predicted_step"] = one["step"] * row["share"] + row["predicted"]
            BENCHMARK.show([row])
    return list(rows.values()), links


def checks(rows: Sequence[Row]) -> list[Check]:
    """What is sharded falls as 1 / P, counts are those of real groups, and the messages' times are told."""
    real = [row for row in rows if "operations_by_gloo" in row]
    told = [row["predicted"] / row["sent_again"] for row in rows if "predicted" in row]
    features = [row for row in rows if (row["sharded"], row["method"]) == ("features", "reversible")]
    eight = {(row["sharded"], row["method"]): row["of_gradient"] for row in rows if row["world"] == 8}
    off = max(abs(row["operations_by_gloo"] / row["operations"] - 1) for row in real)
    return [
        # Rows that are certified lie with one process or the other.
        at_most("operations of a process in a gloo group, off those in a group of fakes", off, 0.02),
        at_least("time of a step's messages by latency and bandwidth, of that measured: least", min(told), 0.5),
        at_most("the same: most", max(told), 2.0),
        at_most("features: parameters held by one of 64, times 64, of one's", _times(features, 64), 1.1),
        *(
            at_most(f"{sharded}, {method}: bytes received by one of 8, of SGD's", eight.get((sharded, method)), 1.1)
            for sharded, method in WAYS
            if method != "gradient"
        ),
    ]


def _times(rows: Sequence[Row], world: int) -> float | None:
    held = {row["world"]: row["held"] for row in rows}
    return held[world] * world / held[1] if world in held else None


def in_words(link: Link) -> str:
    """Latency and bandwidths."""
    speeds = (f"{speed / 1e9:.2g} GB/s {operation}" for operation, speed in link.bandwidth.items())
    return f"{1e6 * link.latency:.0f} us a round, {', '.join(speeds)}"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON."""
    parser = BENCHMARK.parser()
    add = parser.add_argument
    add(
        "--processes",
        type=int,
        nargs="*",
        default=[2],
        metavar="P",
        help="of gloo groups; default: 2; without any it only counts",
    )
    arguments = parser.parse_args(argv)
    sizes = TINY if arguments.tiny else FULL
    most = sizes["rows"].most
    if any(world not in (2**power for power in range(1, most.bit_length())) for world in arguments.processes):
        parser.error(f"--processes: expected powers of two from 2 to {most}, got {arguments.processes}")

    def measure_all() -> Result:
        rows, links = measured(sizes, arguments.processes)
        notes = [f"gloo, {world} processes: {in_words(link)}." for world, link in links.items()]
        notes.append(f"On paper: {PAPER_RATE / 1e12:g} Tflop/s, {in_words(PAPER)}.")
        return Result(rows, [] if arguments.tiny else checks(rows), notes)

    BENCHMARK.run(arguments, measure_all)


if __name__ == "__main__":
    main()
