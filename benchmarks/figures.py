"""The pictures of the benchmarks, one function each: what the JSON file holds in, figure out."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from revgn_lab.report.figures.palette import Style, styles

Content = Mapping[str, Any]

_GRID = "#e3e3e3"
_SMALLEST = 1e-16  # a logarithmic axis has no zero
_SWEEPS = {
    "L": ("blocks", "blocks L"),
    "n": ("rows", "rows n"),
    "h": ("hidden", "features h"),
    "d": ("state", "width d, h = 8 d"),
}


def scaling_figure(content: Content) -> Figure:
    """Time and memory by L, n, h and d, a column each, with theory's curves through the last point."""
    rows = content["rows"]
    shown = [sweep for sweep in _SWEEPS if any(row["sweep"] == sweep for row in rows)]
    figure = Figure(figsize=(3.2 * len(shown), 5.6), layout="constrained")
    axes = figure.subplots(2, len(shown), squeeze=False)
    looks = list(styles(["GaussNewton", "Adam"]).values())
    for column, sweep in enumerate(shown):
        key, label = _SWEEPS[sweep]
        chosen = [row for row in rows if row["sweep"] == sweep]
        _with_theory(axes[0][column], chosen, key, "seconds", "time of a step", looks[0])
        _with_theory(axes[1][column], chosen, key, "memory_kept", "features kept", looks[0])
        _with_theory(axes[1][column], chosen, key, "memory_rebuilt", "features rebuilt", looks[1])
        for each in axes[:, column]:
            _log_log(each, label, [row[key] for row in chosen])
    axes[0][0].set_ylabel("seconds a step")
    axes[1][0].set_ylabel("MB beyond parameters and step")
    axes[0][0].legend(frameon=False, fontsize="small")
    axes[1][0].legend(frameon=False, fontsize="small")
    return figure


def _with_theory(axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, value: str, label: str, look: Style) -> None:
    """Measured points, and the predicted ones scaled to meet them at the largest size, dotted."""
    sizes = [row[key] for row in rows]
    measured = [row[value] for row in rows]
    predicted = [row[f"predicted_{value}"] for row in rows]
    scale = measured[-1] / predicted[-1]
    theory = [scale * each for each in predicted]
    axes.plot(sizes, measured, label=label, color=look.colour, marker=look.marker, linestyle="none")
    axes.plot(sizes, theory, label=f"theory's slope, {label}", color=look.colour, linestyle="dotted")


def _log_log(axes: Axes, label: str, sizes: Sequence[int]) -> None:
    axes.set(xscale="log", yscale="log", xlabel=label)
    axes.set_xticks(sizes[:: max(1, len(sizes) // 4)], minor=False)
    axes.set_xticklabels([str(size) for size in sizes[:: max(1, len(sizes) // 4)]])
    axes.minorticks_off()
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(color=_GRID)
    axes.spines[["top", "right"]].set_visible(False)


def dense_figure(content: Content) -> Figure:
    """Seconds a step, seconds to the target loss and memory by rows, a panel each; below, where each ended."""
    rows = content["rows"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    looks = dict(zip(methods, styles(["GaussNewton", "Adam", "SGD", "AdamW"]).values(), strict=True))
    panels = {"seconds": "seconds a step", "time": "seconds to a loss of 1e-6", "memory": "memory of a step, MB"}
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, (key, label) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for method in methods:
            ran = [row for row in rows if row["method"] == method and row.get(key)]
            _line(axes, [row["rows"] for row in ran], [row[key] for row in ran], method, looks[method])
        axes.set_ylabel(label)
        _log_log(axes, "rows n", sorted({row["rows"] for row in rows}))
    ends = [f"{row['method']}: {row['failure']} at n = {row['rows']}" for row in rows if row["failure"]]
    figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, ncols=4, loc="outside upper center")
    figure.supxlabel("; ".join(ends), fontsize="small")
    return figure


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], label: str, look: Style) -> None:
    dash, marker = look.dash, look.marker
    axes.plot(x, y, label=label, color=look.colour, linestyle=dash, marker=marker, markersize=5)


def time_to_loss_figure(content: Content) -> Figure:
    """The smallest loss so far by seconds of training, a panel for each loss, a line for each method."""
    rows = content["rows"]
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    figure = Figure(figsize=(5.6 * len(losses), 5), layout="constrained")
    for axes, loss in zip(figure.subplots(1, len(losses), squeeze=False)[0], losses, strict=True):
        chosen = [row for row in rows if row["loss"] == loss]
        looks = styles([row["method"] for row in chosen])
        for row in chosen:
            # A logarithmic axis has no zero: the start is drawn at a tenth of a step.
            seconds = [max(point[0], row["pace"] / 10) for point in row["curve"]]
            label = f"{row['method']}, {row['setting']}"
            _curve(axes, seconds, [point[1] for point in row["curve"]], label, looks[row["method"]])
        for target in (1e-1, 1e-2, 1e-3, 1e-6):
            axes.axhline(target, color=_GRID, linewidth=1, zorder=0)
        axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel=f"smallest training loss, {loss}")
        axes.set_ylim(bottom=1e-7)
        axes.legend(frameon=False, fontsize="small", ncols=2, loc="upper left", bbox_to_anchor=(0, -0.16))
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def mini_batch_figure(content: Content) -> Figure:
    """Test accuracy by epochs and by their cost in epochs of Adam: a row for each network, a band for its seeds."""
    rows = content["rows"]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    alike = {"Adjoint": "GaussNewton", "AdamW-averaged": "AdamW"}  # as other figures have them
    methods = [alike.get(name, name) for name in dict.fromkeys(row["method"] for row in rows)]
    looks = styles(methods)
    figure = Figure(figsize=(11, 4.6 * len(networks)), layout="constrained")
    for axes, network in zip(figure.subplots(len(networks), 2, squeeze=False), networks, strict=True):
        chosen = [row for row in rows if row["network"] == network]
        for row in chosen:
            look = looks[alike.get(row["method"], row["method"])]
            _by_marks(axes[0], row, 1.0, look)
            _by_marks(axes[1], row, row["ratio"], look)
        highest = max(point["test"] for row in chosen for curve in row["curves"] for point in curve)
        for each, label in zip(axes, ("epochs", "time, in epochs of Adam with batches of 1024"), strict=True):
            each.set(xlabel=label, ylim=(highest - 0.1, highest + 0.005), xscale="log")
            _plain(each)
            each.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            each.xaxis.set_major_formatter("{x:g}")
            each.minorticks_off()
        axes[0].set_ylabel(f"test accuracy, {network}")
        axes[1].legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _by_marks(axes: Axes, row: Mapping[str, Any], cost: float, look: Style) -> None:
    """The mean over seeds at each mark, whose epochs cost so much each, and a band from the lowest to the highest."""
    marks = list(zip(*row["curves"], strict=True))
    x = [cost * points[0]["epochs"] for points in marks]
    seeds = [[point["test"] for point in points] for points in marks]
    label = f"{row['method']}, {row['epochs']} epochs"
    _line(axes, x, [statistics.fmean(each) for each in seeds], label, look)
    lowest, highest = [min(each) for each in seeds], [max(each) for each in seeds]
    axes.fill_between(x, lowest, highest, color=look.colour, alpha=0.12, linewidth=0)


def _curve(axes: Axes, x: Sequence[float], y: Sequence[float], label: str, look: Style) -> None:
    axes.plot(
        x,
        y,
        label=label,
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        markersize=4,
        markevery=max(1, len(x) // 10),
    )


def right_inverses_figure(content: Content) -> Figure:
    """Test accuracy by training loss as training goes on, a line for each method, with the range over seeds.

    Beside it what a step of each costs, where it was measured.
    """
    rows = [row for row in content["rows"] if row["part"] == "generalise"]
    figure = Figure(figsize=(11, 5), layout="constrained")
    course, cost = figure.subplots(1, 2, width_ratios=(3, 2))
    alike = {"reversible": "GN exact", "truncated": "GN as released"}  # as other figures have them
    looks = styles([alike.get(row["method"], row["method"]) for row in rows])
    for row, look in zip(rows, looks.values(), strict=True):
        _course(course, row, look)
    course.set(xscale="log", xlabel="training loss: training goes to the right", ylabel="test accuracy")
    course.invert_xaxis()
    if rows:
        course.legend(frameon=False)
    _plain(course)
    ratios = [row["ratio"] for row in rows]
    bars = cost.barh([row["method"] for row in rows], ratios, color=[look.colour for look in looks.values()])
    cost.bar_label(bars, [f" {ratio:.2g}" for ratio in ratios])
    cost.set(xlabel="time of a step, as a multiple of SGD's", xlim=(0, 1.1 * max(ratios, default=1.0)))
    cost.set_axisbelow(True)
    cost.invert_yaxis()
    _plain(cost)
    return figure


def _course(axes: Axes, row: Mapping[str, Any], look: Style) -> None:
    """The mean over seeds after each step that all of them took, bars from the lowest to the highest accuracy."""
    points = list(zip(*row["runs"], strict=False))[1:]  # a run ends early where its loss is gone
    losses = [statistics.geometric_mean(max(p["loss"], _SMALLEST) for p in each) for each in points]
    seeds = [[p["accuracy"] for p in each] for each in points]
    means = [statistics.mean(each) for each in seeds]
    lows = [mean - min(each) for mean, each in zip(means, seeds, strict=True)]
    highs = [max(each) - mean for mean, each in zip(means, seeds, strict=True)]
    dash, marker = look.dash, look.marker
    axes.errorbar(
        losses,
        means,
        (lows, highs),
        color=look.colour,
        linestyle=dash,
        marker=marker,
        markersize=6,
        capsize=3,
        label=row["method"],
    )


def generalisation_figure(content: Content) -> Figure:
    """Test accuracy by the norm that the step makes small; the talk's right inverse and Adam as lines across."""
    rows = [row for row in content["rows"] if row["part"] == "norm"]
    family = [row for row in rows if row["power"] is not None]
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    looks = styles(["GaussNewton", "Adam"])
    powers, means = [row["power"] for row in family], [100 * row["accuracy"] for row in family]
    spread = (
        [100 * (row["accuracy"] - row["lowest"]) for row in family],
        [100 * (row["highest"] - row["accuracy"]) for row in family],
    )
    axes.errorbar(powers, means, spread, color=looks["GaussNewton"].colour, marker="o", capsize=4, linewidth=2)
    named = {"reversible": ("the talk's right inverse", "#666666"), "Adam": ("Adam, 200 steps", looks["Adam"].colour)}
    for row in (row for row in rows if row["setting"] in named):
        label, colour = named[row["setting"]]
        level = 100 * row["accuracy"]
        axes.axhline(level, color=colour, linestyle="dashed", linewidth=1.5)
        axes.annotate(label, (0.8, level), xytext=(0, -4), textcoords="offset points", ha="center", va="top")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_xticklabels(
        [
            "Moore-Penrose:\nleast change\nof the weights",
            "s = ¼",
            "½",
            "¾",
            "adjoint: least\nchange of what\neach layer gives",
        ]
    )
    axes.set(xlabel="what the Gauss-Newton step makes small", ylabel="test rows classified right, %")
    axes.margins(y=0.12)
    axes.set_title("Every point is exact Gauss-Newton, and has fitted the training rows", fontsize="medium")
    _plain(axes)
    return figure


def many_processes_figure(content: Content) -> Figure:
    """What a process computes and holds, by the number of processes, and on paper the seconds of a step."""
    rows = content["rows"]
    ways = list(dict.fromkeys((row["sharded"], row["method"]) for row in rows))
    looks = dict(zip(ways, styles(["SGD", "GaussNewton", "Adam", "Muon", "AdamW", "LBFGS"]).values(), strict=True))
    panels = {
        "operations": "billion operations of a process",
        "memory": "MB of a process beyond parameters",
        "received": "MB that a process receives",
        "paper": "milliseconds of a step, on paper",
    }
    figure = Figure(figsize=(12.8, 4), layout="constrained")
    for axes, (value, label) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for way in ways:
            chosen = [row for row in rows if (row["sharded"], row["method"]) == way and row[value] > 0]
            x, y = [row["world"] for row in chosen], [row[value] for row in chosen]
            _line(axes, x, y, f"{way[0]}: {way[1]}", looks[way])
        axes.set_ylabel(label)
        _log_log(axes, "processes P", sorted({row["world"] for row in rows}))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, ncols=6, loc="outside upper center")
    return figure


def saturation_figure(content: Content) -> Figure:
    """Training loss by epochs: each change by itself, and all but each, between the talk's step and all four."""
    rows = content["rows"]
    changes = list(dict.fromkeys(change for row in rows for change in row["changed"]))
    looks = dict(zip(changes, styles(["GaussNewton", "Adam", "SGD", "AdamW"]).values(), strict=True))
    ends = {0: ("none: the talk's", "#666666"), len(changes): ("all four", "#000000")}
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, size, title in zip(panels, (1, len(changes) - 1), ("one change", "all changes but one"), strict=True):
        for row in rows:
            x, losses = (
                [p["epochs"] for p in row["curves"][0]],
                [statistics.fmean(p["training_loss"] for p in points) for points in zip(*row["curves"], strict=True)],
            )
            if len(row["changed"]) == size:
                odd = row["changed"] if size == 1 else [c for c in changes if c not in row["changed"]]
                _line(axes, x, losses, odd[0] if size == 1 else f"all but {odd[0]}", looks[odd[0]])
            elif len(row["changed"]) in ends:
                label, colour = ends[len(row["changed"])]
                axes.plot(x, losses, label=label, color=colour, linewidth=2.5)
        axes.set(title=title, xlabel="epochs", yscale="log")
        axes.legend(frameon=False, fontsize="small")
        _plain(axes)
    panels[0].set_ylabel("cross-entropy on training rows")
    return figure
