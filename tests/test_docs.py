"""The examples in the documentation run and give what they say."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import fastdist

ROOT = Path(__file__).parent.parent
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules():
    names = ["fastdist"]
    for found in pkgutil.walk_packages(fastdist.__path__, "fastdist."):
        if not found.name.rpartition(".")[2].startswith("_"):
            names.append(found.name)
    return names


BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
TEXTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")]
TEXTS = [path for path in sorted(TEXTS) if BLOCK.search(path.read_text())]


@pytest.mark.parametrize("name", modules())
def test_examples_of_the_module(name, capsys):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if "fastdist" in str(error):
            raise
        pytest.skip(str(error))
    torch.manual_seed(0)
    result = doctest.testmod(module, optionflags=FLAGS)
    assert result.failed == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_blocks_of_the_text_run(path):
    mask = np.ones((6, 7, 8))
    mask[2, 3, 4] = 0
    names = {"mask": mask}  # what a reader has at hand
    for block in BLOCK.findall(path.read_text()):
        exec(compile(block, str(path), "exec"), names)


LOSSES = ("BoundaryLoss", "RebalanceSchedule", "IncreaseSchedule", "ConstantSchedule")
PUBLIC = {
    **{name: getattr(fastdist, name) for name in fastdist.__all__},
    **{name: getattr(fastdist.losses, name) for name in LOSSES},
    "boundary_loss": fastdist.functional.boundary_loss,
}
PUBLIC = {name: value for name, value in PUBLIC.items() if not inspect.ismodule(value)}


@pytest.mark.parametrize(("name", "value"), PUBLIC.items(), ids=PUBLIC.keys())
def test_everything_public_is_described_with_an_example(name, value):
    text = inspect.getdoc(value)
    assert text
    assert ">>> " in text, f"{name} has no example"


def test_the_public_names_are_there():
    assert set(fastdist.__all__) >= {
        "distance_transform_edt", "edt", "edt_labels", "signed_distance", "signed_distance_maps",
        "check_labels", "check_spacing", "losses", "functional",
    }  # fmt: skip
    assert set(fastdist.__all__) <= set(dir(fastdist))
    importlib.import_module("fastdist.info")
