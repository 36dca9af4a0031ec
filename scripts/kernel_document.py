"""docs/kernels.json, what was counted of the kernels, and the tables of docs/kernels.md made of it.

    python scripts/kernel_document.py            # brings the tables up to date
    python scripts/kernel_document.py --check    # exit status 1 where they are stale

kernel_report.py and benchmarks/candidates.py write the JSON. What stands between
``<!-- kernels: NAME -->`` and ``<!-- /kernels -->`` in the document is replaced.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import kernel_tables

ROOT = Path(__file__).resolve().parent.parent
JSON = ROOT / "docs" / "kernels.json"
DOCUMENT = ROOT / "docs" / "kernels.md"
SECTION = re.compile(r"<!-- kernels: ([a-z ]+) -->.*?<!-- /kernels -->", re.DOTALL)


def read() -> dict[str, Any]:
    return json.loads(JSON.read_text(encoding="utf-8")) if JSON.is_file() else {}


def record(part: str, found: dict[str, Any], commit: str, **about: Any) -> None:
    """Merge what was found into a part of the JSON file, with the commit and the date."""
    everything = read()
    old = everything.get(part, {}).get("found", {})
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    everything[part] = {"commit": commit, "date": date, **about, "found": old | found}
    text = json.dumps(everything, indent=1)
    for innermost in (r"\[[^\[\]{}]*\]", r"\{[^\[\]{}]*\}"):  # a line each
        text = re.sub(innermost, lambda match: re.sub(r"\s+", " ", match[0]), text)
    JSON.write_text(text + "\n", encoding="utf-8")


def rendered() -> str:
    """The document with the tables that the JSON file gives."""
    everything = read()

    def section(match: re.Match[str]) -> str:
        name = match.group(1)
        table = kernel_tables.TABLES[name](everything)
        return f"<!-- kernels: {name} -->\n{table}\n<!-- /kernels -->"

    return SECTION.sub(section, DOCUMENT.read_text(encoding="utf-8"))


def write() -> None:
    DOCUMENT.write_text(rendered(), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="The tables of docs/kernels.md.")
    parser.add_argument("--check", action="store_true", help="write nothing, say what is stale")
    if parser.parse_args().check:
        stale = rendered() != DOCUMENT.read_text(encoding="utf-8")
        sys.exit("docs/kernels.md is stale: python scripts/kernel_document.py" if stale else 0)
    write()


if __name__ == "__main__":
    main()
