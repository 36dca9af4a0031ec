"""The compiled library as it is shipped: what it asks for, and which instructions stand where."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import fastdist

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = Path(fastdist.__file__).parent / "_extension.so"

if os.environ.get("FASTDIST_REQUIRE_EXTENSION") != "1":
    needs_library = pytest.mark.skipif(not LIBRARY.exists(), reason="no compiled library")
else:
    needs_library = pytest.mark.skipif(False, reason="")

# x86-64 without a level has none of these; beyond them, AVX and all that followed it begin with v
# (k for the mask registers).
LATER_INTEGER = re.compile(
    "(andn|bextr|blsi|blsmsk|blsr|bzhi|lzcnt|movbe|mulx|pdep|pext|popcnt|rorx|sarx|shlx|shrx)[lqw]?"
)


@cache
def functions() -> dict[str, list[str]]:
    """The library's instructions, as text, by the demangled name of the function."""
    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    command = ["objdump", "--disassemble", "--demangle", "--no-show-raw-insn", str(LIBRARY)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "x86-64" not in listing[:200]:
        pytest.skip("not a library for x86-64")
    found: dict[str, list[str]] = defaultdict(list)
    name = ""
    for line in listing.splitlines():
        if heading := re.fullmatch(r"[0-9a-f]+ <(.*)>:", line):
            name = heading.group(1)
        elif instruction := re.match(r"\s+[0-9a-f]+:\t(.*)", line):
            found[name].append(instruction.group(1))
    return found


def level(function: str) -> str:
    """The level a function belongs to, by its namespace."""
    for name in ("v4", "v3"):
        if f"fastdist::{name}::" in function:
            return name
    return "baseline"


def needs(instruction: str) -> str:
    """The least of the levels that has the instruction."""
    mnemonic = instruction.split()[0]
    if re.search(r"%(zmm|[xy]mm(1[6-9]|[23]\d)|k[0-7])\b|\{evex\}", instruction):
        return "v4"
    if mnemonic.startswith("v") or "%ymm" in instruction or LATER_INTEGER.fullmatch(mnemonic):
        return "v3"
    return "baseline"


@needs_library
def test_baseline_code_runs_on_every_x86_64():
    wrong = {
        name: found
        for name, body in functions().items()
        if level(name) == "baseline" and (found := [i for i in body if needs(i) != "baseline"])
    }
    assert not wrong


@needs_library
def test_v3_code_has_no_avx512():
    wrong = {
        name: found
        for name, body in functions().items()
        if level(name) == "v3" and (found := [i for i in body if needs(i) == "v4"])
    }
    assert not wrong


@needs_library
@pytest.mark.parametrize(("wanted", "register"), [("v3", "%ymm"), ("v4", "%zmm")])
def test_most_code_of_a_level_works_in_its_own_registers(wanted, register):
    sizes = {True: 0, False: 0}
    for name, body in functions().items():
        if level(name) == wanted:
            sizes[any(register in instruction for instruction in body)] += len(body)
    assert sizes[True] > 0, f"no function of fastdist::{wanted} uses {register}"
    assert sizes[True] > sizes[False]


@needs_library
def test_no_path_of_the_building_machine_is_in_the_library():
    import torch

    held = LIBRARY.read_bytes()
    for path in (ROOT, Path(torch.__path__[0]), Path.home(), "site-packages"):
        text = str(path).encode()
        found = [held[at : at + 120].split(b"\0")[0] for at in positions(held, text)]
        assert not found, path


def positions(held: bytes, text: bytes) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(text + b"/"), held)]


@needs_library
def test_the_library_asks_for_nothing_that_torch_2_10_does_not_have():
    if shutil.which("readelf") is None:
        pytest.skip("no readelf")
    scripts = ROOT / "scripts"
    if not scripts.is_dir():
        pytest.skip("not in a source checkout")
    code = f"from abi_audit import *; print(*audit(Path({str(LIBRARY)!r})), sep='\\n')"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(scripts)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == ""


def test_pkg_resources_is_never_imported():
    code = "import sys, fastdist; sys.exit('pkg_resources' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for source in (ROOT / "setup.py", *ROOT.glob("scripts/*.py"), *ROOT.glob("fastdist/**/*.py")):
        if source.exists():
            assert "pkg_resources" not in source.read_text(encoding="utf-8"), source
