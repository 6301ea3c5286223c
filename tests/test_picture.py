"""What is written on the page about a clip."""

import dataclasses
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_clips import APEX, ONSET, hold, make_frames, move_expression, portrait
from matplotlib.text import Text

from recognition.clip import COLUMNS, Recognition, recognize
from recognition.frames import open_pair
from recognition.picture import draw_recognition, make_page

pytest.importorskip("skimage", reason="scikit-image has the portrait")
GIVEN = "onset and apex were given"


def read_texts(result):
    """All that can be read on the page, one text a line."""
    texts = [text for text in make_page(result).findobj(Text) if text.get_text()]
    return "\n".join(text.get_text() for text in texts if is_seen(text))


def is_seen(text):
    axes = text.axes
    hidden = axes and not (axes.get_visible() and (axes.axison or text in axes.get_children()))
    return text.get_visible() and not hidden


@pytest.fixture(scope="module")
def spotted(ensemble):
    field = move_expression(portrait(), "positive", 2.5)
    return recognize(hold(make_frames(field)), ensemble, explain=True)


def test_an_answer_with_its_figures(spotted):
    row, said = spotted.row, read_texts(spotted)
    for text in (
        f"positive\nprobability {row['p_positive']:.2f},  agreement {row['agreement']:.0%}",
        f"motion {row['motion']:.2f} px,  noise floor {row['noise_floor']:.2f} px",
        f"onset  frame {row['onset']},  {row['onset_time']:.2f} s",
        f"apex  frame {row['apex']},  {row['apex_time']:.2f} s",
        "what speaks for positive",
        f"{row['contribution_left_lip']:+.2f}".replace("-", "\u2212"),
        "motion since the onset, pixels",
    ):
        assert text in said, said
    assert GIVEN not in said


def test_the_curve_carries_no_mark_of_another_measure(spotted):
    """The noise floor is the areas' motion in pixels, the curve the cells' of the search."""
    assert "\nnoise floor" not in read_texts(spotted)


def test_onset_and_apex_that_were_given(ensemble):
    frames = hold(make_frames(move_expression(portrait(), "positive", 2.5)))
    assert GIVEN in read_texts(recognize(frames, ensemble, onset=ONSET, apex=APEX))


def test_clips_without_an_answer_say_why_and_nothing_else(ensemble):
    unreadable = Recognition(dict.fromkeys(COLUMNS) | {"input": "a.mp4", "model": "small"})
    unreadable.end("unreadable", "a.mp4 is not a readable video.")
    results = {
        "unreadable": unreadable,
        "no face": recognize(hold(np.full((5, 90, 90, 3), 99, np.uint8)), ensemble),
        "too short": recognize(hold(make_frames(None, 1)), ensemble),
    }
    for status, result in results.items():
        said = read_texts(result)
        assert f"no answer: {status}" in said and result.row["warning"][:30] in said
        assert GIVEN not in said and "probability" not in said and "motion" not in said, said


def test_titles_of_paths_with_spaces(ensemble, tmp_path):
    folder = tmp_path / "two words"
    folder.mkdir()
    frames = list(make_frames(None, 2))
    for name, frame in zip(("an onset.png", "an apex.png"), frames):
        assert cv2.imwrite(str(folder / name), frame)
    pair = open_pair(folder / "an onset.png", folder / "an apex.png")
    said = read_texts(recognize(pair, ensemble, onset=0, apex=1))
    assert "\nan onset.png and an apex.png\n" in said
    clip = dataclasses.replace(hold(frames), path=Path("two words/my clip.mp4"))
    assert "\nmy clip.mp4\n" in read_texts(recognize(clip, ensemble))


def test_names_are_no_formulas_and_need_no_glyph(tmp_path):
    """Two dollar signs were read as mathematics; a name in another script was a warning."""
    name = "a$b_{$ \U00012000.mp4"
    row = dict.fromkeys(COLUMNS) | {"input": name, "model": "$x_{$", "status": "unreadable"}
    result = Recognition(row, title=name)
    result.warn(f"{name} is not a readable video.")
    with warnings.catch_warnings(action="error"):
        draw_recognition(tmp_path / "page.png", result)
    assert (tmp_path / "page.png").stat().st_size > 10_000
