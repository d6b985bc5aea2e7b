"""Writes what was measured: tables between two marks of README.md, and a plot."""

from pathlib import Path
from typing import Any

from benchmarks.semcache.data import HERE, SETS, STREAMS

START, END = "<!-- measured -->", "<!-- /measured -->"


def write(found: dict[str, Any]) -> None:
    """Write tables and plot."""
    readme = HERE / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    parts = [_streams(found["streams"]), _pairs(found["pairs"]), _gate(found["gate"]), _speed(found["speed"])]
    readme.write_text(before + START + "\n" + "\n".join(parts) + "\n" + END + after, encoding="utf-8")
    plot(found["streams"], HERE / "streams.svg")


def _streams(rows: list[dict[str, Any]]) -> str:
    lines = ["\n### Streams (percent of all requests, 95 % interval of the share)\n"]
    lines.append("| stream | policy | max_error | correct | wrong | worst seed | worst 1,500 | judge calls |")
    lines.append("|" + " --- |" * 8)
    for row in rows:
        bound = "-" if row["setup"].startswith("fixed") else f"{row['max_error']:.0%}"
        correct, wrong = (_with_interval(row, key) for key in ("correct", "wrong"))
        worst = f"{max(row['wrong_of_each_seed']):.2%} | {row['worst_window']:.2%} | {row['judged']:.1%}"
        lines.append(f"| {row['stream']} | {row['setup']} | {bound} | {correct} | {wrong} | {worst} |")
    return "\n".join([*lines, "\n" + _best_fixed(rows)])


def _with_interval(row: dict[str, Any], key: str) -> str:
    low, high = row[f"{key}_95"]
    return f"{row[key]:.2%} ({low:.2%}-{high:.2%})"


def _best_fixed(rows: list[dict[str, Any]]) -> str:
    """Say which fixed threshold keeps each bound on every stream, chosen in hindsight."""
    lines = ["Best fixed threshold that keeps the bound on all three streams, in hindsight:\n"]
    fixed = sorted({row["setup"] for row in rows if row["setup"].startswith("fixed")})
    for bound in (0.01, 0.02, 0.05):
        by_name = {name: {row["stream"]: row for row in rows if row["setup"] == name} for name in fixed}
        keeps = [name for name in fixed if all(row["wrong"] <= bound for row in by_name[name].values())]
        if not keeps:
            lines.append(f"- {bound:.0%}: none of those tried")
            continue
        best = max(keeps, key=lambda name: sum(row["correct"] for row in by_name[name].values()))
        told = ", ".join(f"{name} {by_name[best][name]['correct']:.1%}" for name in STREAMS)
        lines.append(f"- {bound:.0%}: {best.removeprefix('fixed ')} (correct: {told})")
    return "\n".join(lines)


def _pairs(found: dict[str, dict[str, float]]) -> str:
    lines = ["\n### Pairs (ROC-AUC, cross-validated)\n"]
    lines += ["| by | all | recall at 95 % precision | " + " | ".join(SETS) + " |", "|" + " --- |" * 8]
    for name, row in found.items():
        told = " | ".join(f"{row[one]:.3f}" for one in SETS)
        lines.append(f"| {name} | {row['auc']:.3f} | {row['recall_at_95']:.1%} | {told} |")
    return "\n".join(lines)


def _gate(found: dict[str, float]) -> str:
    lines = ["\n### Gate (share held back, cross-validated)\n", "| prompts | held back |", "| --- | --- |"]
    return "\n".join(lines + [f"| {name} | {share:.1%} |" for name, share in found.items()])


def _speed(found: list[dict[str, float]]) -> str:
    lines = ["\n### look() without embedding, and what entries weigh\n"]
    lines += ["| entries | p50 | p95 | memory added |", "| --- | --- | --- | --- |"]
    told = [f"| {r['entries']:,} | {r['p50_ms']:.2f} ms | {r['p95_ms']:.2f} ms | {r['mb']:.0f} MB |" for r in found]
    return "\n".join(lines + told)


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw correct against wrong shares, one panel per stream."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "semcache"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(STREAMS), figsize=(13, 4.2))
    for panel, name in zip(panels, STREAMS, strict=True):
        for kind, mark in (("fixed", "x--"), ("vCache", "s-"), ("vote", "o-")):
            here = [row for row in rows if row["stream"] == name]
            mine = [row for row in here if row["setup"] == kind or row["setup"].startswith(f"{kind} 0")]
            points = sorted((100 * row["wrong"], 100 * row["correct"]) for row in mine)
            panel.plot(*zip(*points, strict=True), mark, label=kind)
        for bound in (1, 2, 5):
            panel.axvline(bound, color="grey", linewidth=0.5)
        panel.set(title=name, xlabel="wrong, % of requests", xlim=(0, 8))
    panels[0].set_ylabel("correct from the cache, % of requests")
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
