"""`python -m benchmarks.semcache`: measure and write the report; `embed`, `train` do only that."""

import json
import sys
from typing import Any

from benchmarks.semcache import data, measure, report, train

RESULTS = data.HERE / "results.json"


def main(what: str) -> None:
    """Do one of measure, embed, train, report."""
    if what == "embed":
        data.embedded()
    elif what == "train":
        train.write()
    elif what == "report":
        report.write(json.loads(RESULTS.read_text(encoding="utf-8")))
    elif what == "measure":
        found: dict[str, Any] = {"speed": measure.speed(), "gate": measure.gate(), "pairs": measure.pairs()}
        found["streams"] = measure.streams()
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        report.write(found)
    else:
        sys.exit(f"unknown: {what}; known: measure, embed, train, report")


main(sys.argv[1] if len(sys.argv) > 1 else "measure")
