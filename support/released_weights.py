"""Reads checkpoints of the authors' released HTNet code, which has other names."""


def is_released(state_dict):
    """Whether a state dict has the names of the authors' released HTNet code."""
    return "to_patch_embedding.1.weight" in state_dict


def load_released_weights(model, state_dict):
    """Loads a state dict with the released code's names and shapes into `model` (HTNet), in place.

    Raises ValueError naming the first parameter that is missing, left over or of another shape.
    """
    names = {"embed": "to_patch_embedding.1", "norm": "mlp_head.0", "head": "mlp_head.2"}
    for i, level in enumerate(model.levels):
        names[f"levels.{i}.position"] = f"layers.{i}.0.pos_emb"
        for j in range(len(level.blocks)):
            ours, theirs = f"levels.{i}.blocks.{j}", f"layers.{i}.0.layers.{j}"
            names |= {
                f"{ours}.attention_norm": f"{theirs}.0.norm",
                f"{ours}.attention.out": f"{theirs}.0.fn.to_out.0",
                f"{ours}.mlp_norm": f"{theirs}.1.norm",
                f"{ours}.mlp.0": f"{theirs}.1.fn.net.0",
                f"{ours}.mlp.3": f"{theirs}.1.fn.net.3",
            }
        names |= {
            f"aggregations.{i}.conv": f"layers.{i}.1.0",
            f"aggregations.{i}.norm": f"layers.{i}.1.1",
        }
    remaining, converted = dict(state_dict), {}

    def take(name):
        if name not in remaining:
            raise ValueError(
                f"the released weights lack '{name}': other settings (num_hierarchies, "
                "block_repeats)?"
            )
        return remaining.pop(name)

    shapes = {name: value.shape for name, value in model.state_dict().items()}
    for name in shapes:
        module, _, kind = name.rpartition(".")
        if module.endswith(("query_key", "value")):
            continue
        if module.endswith("norm"):  # the released layer norms call weight and bias g and b
            kind = {"weight": "g", "bias": "b"}[kind]
        converted[name] = take(names.get(name) or f"{names[module]}.{kind}")
    for i, level in enumerate(model.levels):
        for j in range(len(level.blocks)):
            ours = f"levels.{i}.blocks.{j}.attention"
            inner = shapes[f"{ours}.value.weight"][0]
            qkv = take(f"layers.{i}.0.layers.{j}.0.fn.to_qkv.weight")
            converted[f"{ours}.query_key.weight"] = qkv[: 2 * inner]
            converted[f"{ours}.value.weight"] = qkv[2 * inner :]
    if remaining:
        raise ValueError(
            f"the released weights have '{min(remaining)}', which this network lacks: other "
            "settings?"
        )
    for name, value in converted.items():
        same_rows = value.shape[:1] == shapes[name][:1] or value.shape[0] == 1
        if value.numel() != shapes[name].numel() or not same_rows:
            raise ValueError(
                f"the released weights for '{name}' have shape {tuple(value.shape)} for "
                f"{tuple(shapes[name])}: other settings (dim, patch_size)?"
            )
    state = {name: value.reshape(shapes[name]) for name, value in converted.items()}
    model.load_state_dict(state)
