"""Turn a checkpoint of another library into one that `uniopt.load` reads."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from uniopt import checkpoints, porting
from uniopt.cli.errors import CommandError, require
from uniopt.errors import UnioptError
from uniopt.porting.torch import read_file

_DESCRIPTION = """\
Turn what torch.save wrote into a checkpoint for uniopt.load: an optimizer's
state_dict(), alone or in a dict beside the model's. It is read with
weights_only=True, so nothing in the file can run. The transformation that goes
on from the state stands in the new file; 'uniopt inspect' shows it.

The state is a tree of dicts by the names of the parameters. An optimizer that
was made from named_parameters() has the names. Otherwise they are those of the
model, if the optimizer has one group of parameters; failing that, they are
positions: 0, 1, 2. The learning rate stays what it was in the file.
"""

_OPTIMIZERS = ("optimizer_state_dict", "optimizer", "optim", "optimizer_states")
_MODELS = ("model_state_dict", "model", "state_dict")
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_OTHERWISE_SHAPED = ("step", "row_var", "col_var", "mu", "eta", "mu_product")
"""Slots of torch that may have another shape than the parameter."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``uniopt convert``."""
    parser.description = _DESCRIPTION
    parser.add_argument("input", metavar="IN", help="the checkpoint to read")
    parser.add_argument("output", metavar="OUT", help="the file to write")
    parser.add_argument("--from", dest="source", required=True, choices=["torch"], help="the library that wrote it")
    parser.add_argument("--model", metavar="FILE", help="a file with the model's state_dict(), for names and shapes")


def run(options: argparse.Namespace) -> int:
    """Convert one file."""
    require("torch", extra="torch", command="uniopt convert")
    content = _read(options.input)
    optimizer = _optimizer(content, options.input)
    model = _model(content)
    if options.model is not None and (model := _model(_read(options.model))) is None:
        raise CommandError(f"{options.model} has no state_dict of a model: a dict of tensors by name.", status=1)
    parameters, named_by = _parameters(optimizer, model, chosen=options.model is not None)
    try:
        tx, state = porting.from_torch(optimizer, parameters, to="numpy")
        checkpoints.save(options.output, state, tx)
    except (UnioptError, OSError) as error:
        raise CommandError(str(error), status=1) from error
    print(f"{options.output}: the state of {len(parameters)} parameters, named by {named_by}")
    return 0


def _read(path: str) -> Any:
    try:
        return read_file(path)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))  # torch's own message tells at length how to run it nevertheless
        raise CommandError(
            f"{path} holds {found[1] if found else 'something'} beside tensors, numbers and containers of them, and is "
            "not read, since that may run code. Save optimizer.state_dict() alone.",
            status=1,
        ) from error
    except OSError as error:
        raise CommandError(str(error), status=1) from error
    except Exception as error:  # torch raises anything for what is none of its files
        raise CommandError(f"{path} cannot be read: {type(error).__name__}: {error}", status=1) from error


def _optimizer(content: Any, path: str) -> Mapping[str, Any]:
    """Return the state_dict of the optimizer in a file."""
    found = [content]
    if isinstance(content, Mapping):
        for key in _OPTIMIZERS:
            value = content.get(key)
            found += value if isinstance(value, list) else [value]
    optimizers = [x for x in found if isinstance(x, Mapping) and {"state", "param_groups"} <= x.keys()]
    if len(optimizers) == 1:
        return optimizers[0]
    has = ", ".join(map(str, content)) if isinstance(content, Mapping) else f"a {type(content).__name__}"
    raise CommandError(
        f"{path} has {len(optimizers) or 'no'} state_dict of an optimizer, expected one: with the keys state and "
        f"param_groups, alone or under one of {', '.join(_OPTIMIZERS)}. It has {has}.",
        status=1,
    )


def _model(content: Any) -> dict[str, Any] | None:
    """Return the state_dict of the model in a file, or None if there is none."""
    candidates = [content, *(content.get(key) for key in _MODELS)] if isinstance(content, Mapping) else []
    for found in candidates:
        if isinstance(found, Mapping) and found and all(hasattr(x, "shape") for x in found.values()):
            return dict(found)
    return None


def _parameters(
    optimizer: Mapping[str, Any], model: dict[str, Any] | None, *, chosen: bool
) -> tuple[dict[str, Any], str]:
    """Return the parameters of an optimizer by name, in its order, and what they were named by."""
    groups = optimizer["param_groups"]
    positions = [i for group in groups for i in group["params"]]
    if all("param_names" in group for group in groups):
        names, named_by = [name for group in groups for name in group["param_names"]], "the optimizer"
    elif model is not None and len(groups) == 1:
        names, named_by = _names(model, len(positions)), "the model"
    elif chosen:
        raise CommandError(
            f"The optimizer has {len(groups)} groups of parameters and no names: their order need not be the model's. "
            "Make it from model.named_parameters(), load its state, and save it again; or leave out --model."
        )
    else:
        names, named_by, model = [str(i) for i in positions], "their positions", None
    slots = [optimizer["state"].get(i, {}) for i in positions]
    return {name: _array(name, model or {}, x) for name, x in zip(names, slots, strict=True)}, named_by


def _names(model: dict[str, Any], count: int) -> list[str]:
    """Return the names of the parameters in a model's state_dict, which has them in order, with buffers in between."""
    names = list(model)
    if len(names) != count:
        names = [name for name in names if name.rpartition(".")[2] not in _BUFFERS]
    if len(names) != count:
        raise CommandError(
            f"The model has {len(names)} tensors, the optimizer {count} parameters: which is which cannot be told. "
            "Make the optimizer from model.named_parameters(), load its state, and save it again.",
            status=1,
        )
    return names


def _array(name: str, model: dict[str, Any], slots: Mapping[str, Any]) -> Any:
    """Return a parameter, or zeros in its shape, which is all that the state needs."""
    if name in model:
        return model[name]
    for slot, x in slots.items():
        if hasattr(x, "shape") and slot not in _OTHERWISE_SHAPED:
            return np.zeros(tuple(x.shape), np.float32 if x.element_size() < 4 else str(x.dtype).rpartition(".")[2])
    raise CommandError(
        f"The file does not say which shape the parameter {name} has. Pass the model's state_dict with --model.",
        status=1,
    )
