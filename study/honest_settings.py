"""The settings among which the honest recipe was chosen: a list frozen before the first was run."""

BASE = dict(  # the settings that the other trials change, one or a few at a time
    inputs="areas",  # or "whole" map, or "both": six channels
    dim=16,
    block_repeats=(2, 2, 2),
    num_hierarchies=3,
    dropout=0.0,
    flip=True,
    jitter=1,
    gain=0.2,
    class_weights=True,
    label_smoothing=0.1,
    learning_rate=1e-3,
    weight_decay=0.05,
    epochs=30,
    averaged=0.0,  # share of the epochs, from the end, whose weights are averaged
    mixup=0.0,  # the Beta distribution's parameter
    warp=0.0,  # of the whole map: standard deviation of scaling and shear
    magnitude=False,  # a fourth channel, the flow's magnitude
    left_out="",  # "eyes" or "lips"
    teacher="",  # "soft": a support vector machine's probabilities as labels; "mse": its decisions
    mixtures=4000,  # of training maps, labelled by the teacher
    hard=0.0,  # the weight of the true labels beside the teacher's
)
BOTH = dict(inputs="both")
TAUGHT = dict(teacher="soft", epochs=12)
SETTINGS = {
    "base": {},
    "whole": dict(inputs="whole"),
    "both": BOTH,
    "dim 32": dict(dim=32),
    "dim 64": dict(dim=64),
    "repeats 1,1,1": dict(block_repeats=(1, 1, 1)),
    "repeats 2,2,10": dict(block_repeats=(2, 2, 10)),
    "two hierarchies": dict(num_hierarchies=2, block_repeats=(2, 2)),
    "no flip": dict(flip=False),
    "no jitter": dict(jitter=0),
    "no gain": dict(gain=0.0),
    "no class weights": dict(class_weights=False),
    "no smoothing": dict(label_smoothing=0.0),
    "smoothing 0.2": dict(label_smoothing=0.2),
    "rate 5e-4": dict(learning_rate=5e-4),
    "rate 2e-3": dict(learning_rate=2e-3),
    "decay 0.3": dict(weight_decay=0.3),
    "decay 0": dict(weight_decay=0.0),
    "15 epochs": dict(epochs=15),
    "60 epochs": dict(epochs=60),
    "dropout 0.2": dict(dropout=0.2),
    "weights averaged": dict(averaged=1 / 3),
    "mixup 0.4": dict(mixup=0.4),
    "magnitude": dict(magnitude=True),
    "both, warped": dict(**BOTH, warp=0.1),
    "eyes alone": dict(left_out="lips"),
    "lips alone": dict(left_out="eyes"),
    "taught, areas": TAUGHT,
    "taught, whole": dict(**TAUGHT, inputs="whole"),
    "taught, both": dict(**TAUGHT, **BOTH),
    "taught decisions, both": dict(**BOTH, teacher="mse", epochs=12),
    "taught without mixtures, both": dict(**BOTH, teacher="soft", mixtures=0, epochs=60),
    "taught and true labels, both": dict(**TAUGHT, **BOTH, hard=0.5),
    "taught, both, magnitude": dict(**TAUGHT, **BOTH, magnitude=True),
    "taught, both, two hierarchies": dict(
        **TAUGHT, **BOTH, num_hierarchies=2, block_repeats=(2, 2)
    ),
    "taught 24 epochs, both": dict(**BOTH, teacher="soft", epochs=24),
    "taught, both, dim 32": dict(**TAUGHT, **BOTH, dim=32),
}
AVERAGES = {  # of the above, without a training of their own
    "areas and whole": ("base", "whole"),
    "both and taught": ("both", "taught, both"),
    "all four": ("base", "whole", "both", "taught, both"),
}
