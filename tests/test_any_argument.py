"""Any argument of any type: an answer, or an error of ours that names it, with nothing written."""

import random
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from strange_values import ALL, PLAUSIBLE

import fastdist
from fastdist import conventions, providers
from fastdist.functional import boundary_loss
from fastdist.losses import BoundaryLoss, ConstantSchedule, IncreaseSchedule, RebalanceSchedule


def labels():
    values = torch.zeros(2, 6, 7, dtype=torch.int64)
    values[:, 2:4, 3:5] = 2
    return values


def out(*shape, dtype=torch.float32):
    return torch.full(shape, 7, dtype=dtype)


SIGNED = {
    "zero": "unit", "normalize": "max", "clip": 3.0, "empty": 1.0, "full": "diagonal",
    "border": True, "dtype": torch.float32,
}  # fmt: skip
LOSS = {
    "include_background": False, "sigmoid": False, "softmax": True, "other_act": None,
    "reduction": "none", "batch": True, "spacing": (1.0, 2.0), "ignore_index": 255,
    "zero": "unit", "normalize": "max", "clip": 3.0, "empty": 1.0, "full": "diagonal",
    "border": True, "offset": True,
}  # fmt: skip
Make = Callable[[], dict[str, Any]]


def _in_two_steps(settings: dict[str, Any]) -> Callable[..., Any]:
    return lambda **call: BoundaryLoss(**settings)(**call)


#: name: the function and how to make arguments that it takes, its outputs filled with 7.
FUNCTIONS: dict[str, tuple[Callable[..., Any], Make]] = {
    "edt": (fastdist.edt, lambda: {
        "mask": labels(), "sampling": (1.0, 2.0), "ndim": 2, "squared": True, "border": True,
        "return_indices": False, "dtype": torch.float32, "out": out(2, 6, 7),
    }),
    "edt with indices": (fastdist.edt, lambda: {
        "mask": labels(), "sampling": None, "ndim": 2, "squared": True, "border": False,
        "return_indices": True, "dtype": None,
        "out": (out(2, 6, 7), out(2, 2, 6, 7, dtype=torch.int32)),
    }),
    "edt_labels": (fastdist.edt_labels, lambda: {
        "labels": labels(), "sampling": torch.ones(2, 2), "ndim": 2, "squared": False,
        "border": True, "dtype": None, "out": out(2, 6, 7),
    }),
    "signed_distance": (fastdist.signed_distance, lambda: {
        "mask": labels(), "sampling": 2, "ndim": 2, **SIGNED, "out": out(2, 6, 7),
    }),
    "signed_distance_maps": (fastdist.signed_distance_maps, lambda: {
        "labels": labels(), "num_classes": 3, "sampling": [1, 2], "onehot": False,
        "ignore_index": 255, **SIGNED, "out": out(2, 3, 6, 7),
    }),
    "signed_distance_maps of channels": (fastdist.signed_distance_maps, lambda: {
        "labels": torch.ones(2, 3, 6, 7), "num_classes": 3, "sampling": None, "onehot": True,
        "ignore_index": None, **SIGNED, "out": out(2, 3, 6, 7),
    }),
    "distance_transform_edt": (fastdist.distance_transform_edt, lambda: {
        "input": labels(), "sampling": (1, 1, 2), "return_distances": True, "return_indices": True,
        "distances": out(2, 6, 7, dtype=torch.float64),
        "indices": out(3, 2, 6, 7, dtype=torch.int32),
    }),
    "distance_transform_edt of an array": (fastdist.distance_transform_edt, lambda: {
        "input": labels().numpy(), "sampling": 2.0, "return_distances": True,
        "return_indices": True, "distances": np.full((2, 6, 7), 7.0),
        "indices": np.full((3, 2, 6, 7), 7, np.int32),
    }),
    "check_labels": (fastdist.check_labels, lambda: {
        "labels": labels(), "num_classes": 3, "ignore_index": 255,
    }),
    "check_spacing": (fastdist.check_spacing, lambda: {"spacing": (1.0, 2.0)}),
    "boundary_loss": (boundary_loss, lambda: {
        "input": torch.zeros(2, 3, 6, 7), "target": labels(), "mask": torch.ones(2, 6, 7),
        "dist_map": None, **LOSS,
    }),
    "boundary_loss of channels": (boundary_loss, lambda: {
        "input": torch.zeros(2, 3, 6, 7), "target": torch.ones(2, 3, 6, 7),
        "mask": torch.ones(2, 1, 6, 7), "dist_map": torch.ones(2, 2, 6, 7),
        **LOSS, "softmax": False, "ignore_index": None, "other_act": torch.tanh,
    }),
    "BoundaryLoss, made": (BoundaryLoss, lambda: {**LOSS, "to_onehot_y": True}),
    "BoundaryLoss, called": (_in_two_steps({"softmax": True}), lambda: {
        "input": torch.zeros(2, 3, 6, 7), "target": labels(), "spacing": torch.ones(2, 2),
        "mask": None, "dist_map": None,
    }),
    "BoundaryLoss, made and called": (
        lambda **made: BoundaryLoss(**made)(torch.zeros(2, 3, 6, 7), labels()),
        lambda: {**LOSS, "to_onehot_y": True},
    ),
    "RebalanceSchedule": (RebalanceSchedule, lambda: {"epochs": 9, "start": 0.9, "floor": 0.1}),
    "IncreaseSchedule": (IncreaseSchedule, lambda: {"epochs": 9, "start": 0.1, "stop": 0.9}),
    "ConstantSchedule": (ConstantSchedule, lambda: {"alpha": 0.5}),
    "combine": (ConstantSchedule(0.5).combine, lambda: {
        "regional": torch.tensor(1.0), "boundary": torch.tensor(2.0),
    }),
    "combine of RebalanceSchedule": (RebalanceSchedule(3).combine, lambda: {
        "regional": torch.tensor(1.0), "boundary": torch.tensor(2.0),
    }),
    "resolve": (conventions.resolve, lambda: {
        name: SIGNED[name] for name in ("zero", "normalize", "clip", "empty", "full")
    }),
    "providers.current": (providers.current, lambda: {"device": "cpu"}),
    "providers.select": (providers.select, lambda: {"name": providers.current()}),
    "providers.module": (providers.module, lambda: {"name": "reference"}),
}  # fmt: skip
for _title, (_function, _make) in list(FUNCTIONS.items()):
    if {"out", "distances"} & _make().keys():  # the same where the outputs are new
        FUNCTIONS[f"{_title}, new"] = (
            _function,
            lambda make=_make: {
                name: value
                for name, value in make().items()
                if name not in ("out", "distances", "indices")
            },
        )
# What an error calls an argument where its own name would not tell.
ALSO = {"name": ("provider",), "target": ("labels",), "out": ("dtype",)}
# What the wishes of distance_transform_edt have to do with each other, in SciPy's words.
RULES = re.compile("at least one of return_distances|return_(distances|indices) must be True")
# Where SciPy raises RuntimeError.
LIKE_SCIPY = "distance_transform_edt"


def outputs(arguments: dict[str, Any]) -> list[Any]:
    found = [arguments.get(name) for name in ("distances", "indices")]
    given = arguments.get("out")
    found += given if isinstance(given, tuple) else [given]
    return [array for array in found if array is not None]


def is_answered_or_refused(title: str, chosen: dict[str, str]) -> None:
    """The call with these values, by their labels, in place of arguments that are right."""
    replaced = {name: ALL[label] for name, label in chosen.items()}
    labels_of = chosen.values()
    function, make = FUNCTIONS[title]
    arguments = make()
    written = outputs({name: arguments[name] for name in arguments if name not in replaced})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is new in torch, or old
        arguments |= {name: value() for name, value in replaced.items()}
    kinds: tuple[type[Exception], ...] = (TypeError, ValueError)
    if title.startswith(LIKE_SCIPY):
        kinds = (*kinds, RuntimeError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(**arguments)
    except kinds as error:
        text = str(error)
        # A value that would do by itself may not agree with another argument: the error names one.
        suspects = arguments if any(label in PLAUSIBLE for label in labels_of) else replaced
        names = [known for name in suspects for known in (name, *ALSO.get(name, ()))]
        assert re.match(rf"({'|'.join(names)})(\[\d\])?\b", text) or RULES.match(text), text
        assert len(text) < 600, text
        assert not re.search(r"\.(cpp|cu|h)\b|dispatch|aten::|Boxed", text), text
        for array in written:
            assert (array == 7).all(), f"written before: {text}"


ONE_BY_ONE = [(title, name) for title, (_, make) in FUNCTIONS.items() for name in make()]


@pytest.mark.parametrize(("title", "name"), ONE_BY_ONE, ids=lambda value: value)
def test_one_argument_of_any_type(title, name):
    for label in ALL:
        try:
            is_answered_or_refused(title, {name: label})
        except Exception as error:
            raise AssertionError(f"{name} = {label}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("title", FUNCTIONS, ids=str)
def test_several_arguments_of_any_type(title):
    rng = random.Random(title)
    names = list(FUNCTIONS[title][1]())
    for _ in range(150):
        some = rng.sample(names, min(len(names), rng.choice((2, 2, 3))))
        chosen = {name: rng.choice(list(ALL)) for name in some}
        try:
            is_answered_or_refused(title, chosen)
        except Exception as error:
            raise AssertionError(f"{chosen}: {type(error).__name__}: {error}") from error


def test_the_arguments_are_taken_where_they_are_right():
    for function, make in FUNCTIONS.values():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(**make())
