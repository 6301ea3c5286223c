"""Weights that ship: the networks of many folds in one safetensors file.

Keys are <held-out subject>/<parameter>; the metadata's `record` is the run's settings and hash of
its data, as in settings.json, and the names of its classes. Parameters that never get a gradient
(queries and keys of attention over one token) are left out.
"""

import json
from collections import defaultdict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from support.files import BadInput, replace_file
from support.records import UNREADABLE, fill_record

ENDING = ".safetensors"


def write_shipped(path, network, states, record, half=False, **more):
    """{name: state dict} -> a file; network: one of their kind, which says what is trained; half:
    in half precision; more: further tensors, by name.
    """
    untrained = {name for name, value in network.named_parameters() if not value.requires_grad}
    tensors = {
        f"{name}/{parameter}": value.half() if half and value.is_floating_point() else value
        for name, state in states.items()
        for parameter, value in state.items()
        if parameter not in untrained
    }
    tensors = {name: value.contiguous() for name, value in (tensors | more).items()}
    metadata = {"record": json.dumps(record)}
    replace_file(path, lambda temporary: save_file(tensors, temporary, metadata))


def read_shipped(path):
    """-> ({name: state dict in float32}, the run's record, further tensors); raises BadInput."""
    try:
        with safe_open(path, "pt", device="cpu") as file:
            record = json.loads(file.metadata()["record"])
            record = record | fill_record(record)
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        states, more = defaultdict(dict), {}
        for key, value in tensors.items():
            if not value.isfinite().all():
                raise ValueError(f"'{key}' is not finite")
            value = value.float() if value.is_floating_point() else value
            name, _, parameter = key.partition("/")
            if parameter:
                states[name][parameter] = value
            else:
                more[name] = value
    except (*UNREADABLE, SafetensorError) as error:
        raise BadInput(
            f"{path} cannot be used, it is damaged or holds other things than weights "
            f"({' '.join(str(error).split())[:200]}): replace it."
        ) from None
    return dict(states), record, more


def load_state(model, state, path):
    """Loads a state dict of `read_shipped` into `model`, in place; raises BadInput."""
    try:
        result = model.load_state_dict(state, strict=False)
        untrained = {name: p for name, p in model.named_parameters() if not p.requires_grad}
        wrong = [name for name in result.missing_keys if name not in untrained]
        if wrong := wrong + result.unexpected_keys:
            raise ValueError(f"'{wrong[0]}' is missing or left over")
        for parameter in untrained.values():
            torch.nn.init.zeros_(parameter)  # they count for nothing, but must be numbers
    except (RuntimeError, ValueError) as error:
        raise BadInput(
            f"{path} holds the weights of another network ({' '.join(str(error).split())[:200]}): "
            "replace it."
        ) from None
