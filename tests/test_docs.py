"""The examples in the documentation run and give what they say."""

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

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


def texts():
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")]
    return [path for path in sorted(found) if ">>> " in path.read_text()]


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


@pytest.mark.parametrize("path", texts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_of_the_text(path, capsys):
    result = doctest.testfile(str(path), module_relative=False, optionflags=FLAGS)
    assert result.failed == 0, capsys.readouterr().out


def public_objects():
    for module in (fastdist, fastdist.losses, fastdist.functional):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                yield name, value


@pytest.mark.parametrize(
    ("name", "value"), list(public_objects()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_everything_public_is_described_with_an_example(name, value):
    text = inspect.getdoc(value)
    assert text
    assert ">>> " in text, f"{name} has no example"


def test_the_public_names_are_there():
    expected = {
        "distance_transform_edt", "edt", "edt_labels", "signed_distance", "signed_distance_maps",
        "check_labels", "check_spacing", "losses", "functional",
    }  # fmt: skip
    assert expected <= set(dir(fastdist))
    assert {"BoundaryLoss", "RebalanceSchedule", "IncreaseSchedule", "ConstantSchedule"} <= set(
        dir(fastdist.losses)
    )
    assert callable(fastdist.functional.boundary_loss)
    importlib.import_module("fastdist.info")
