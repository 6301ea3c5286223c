"""Streams of frames: each kind of clip, and what is none."""

import wave
from dataclasses import replace

import cv2
import numpy as np
import pytest
from made_clips import turn_mp4, vary_frame_rate, write_frames, write_video

from clips import list_frames, list_video_frames, open_video, read_frame
from recognition.frames import find_clips, open_clip, open_pair
from support.files import BadInput


def draw_corner(count=5, height=94, width=121):
    """Frames with a bright corner, above left; the frame's number is its brightness."""
    for number in range(count):
        frame = np.full((height, width, 3), 20 + 10 * number, np.uint8)
        frame[:20, :20] = 250
        yield frame


def draw_number(count, bits=7):
    """Frames with their number in black and white bars, which survive any compression."""
    for number in range(count):
        bars = [255 * (number >> bit & 1) for bit in range(bits)]
        yield np.repeat(np.repeat(np.uint8([bars]), 12, axis=1), 64, axis=0)[..., None].repeat(3, 2)


def read_number(frame, bits=7):
    return sum(
        int(frame[8:56, 12 * bit + 3 : 12 * bit + 9].mean() > 127) << bit for bit in range(bits)
    )


def test_a_video_is_read_in_order_and_only_where_wanted(tmp_path):
    stream = open_clip(write_video(tmp_path / "a.mp4", draw_corner(12), fps=50))
    assert (stream.fps, stream.count) == (50, 12)
    frames = dict(stream.read())
    assert list(frames) == list(range(12))
    some = dict(stream.read({3, 7, 9}.__contains__, last=8))
    assert list(some) == [3, 7]
    np.testing.assert_array_equal(some[7], frames[7])
    assert frames[7].mean() > frames[3].mean() + 20


def test_frames_of_a_video_in_any_order(tmp_path):
    path = write_video(tmp_path / "clip.avi", draw_number(12), code="MJPG")
    frames = list_video_frames(path)
    assert list(frames) == list(range(12))
    for number in (11, 0, 7, 7, 3, 11):  # the last one comes first: reading the count ends there
        assert read_number(read_frame(frames[number])) == number
    with pytest.raises(BadInput, match="clip.avi, frame 12 cannot be read"):
        read_frame(replace(frames[11], number=12))
    assert read_number(read_frame(frames[11])) == 11
    path.write_bytes(b"no video")
    with pytest.raises(BadInput, match="clip.avi is not a readable video"):
        list_video_frames(path)


def test_frames_are_counted_from_0_where_the_frame_rate_varies(tmp_path):
    """A player's clock is no guide: seeking to frame 36 gives frame 52 here."""
    path = write_video(tmp_path / "a.mp4", draw_number(80))
    vary_frame_rate(path, [(40, 64), (40, 192)])
    frames = list_video_frames(path)
    assert [read_number(read_frame(frames[i])) for i in (0, 36, 60, 79, 5)] == [0, 36, 60, 79, 5]


def test_frames_are_counted_where_the_header_is_wrong(tmp_path):
    path = write_video(tmp_path / "a.mpg", draw_number(80), fps=25, code="MPG1")
    assert open_clip(path).count != 80
    assert list(list_video_frames(path)) == list(range(80))


def test_reading_in_rising_order_opens_a_video_once(tmp_path, monkeypatch):
    """Finding an apex asks for many frames of one video."""
    opened = []
    monkeypatch.setattr("clips.open_video", lambda path: opened.append(path) or open_video(path))
    frames = list_video_frames(write_video(tmp_path / "a.mp4", draw_number(40)))
    for numbers, times in (([3, 3, 9, 39], 2), ([20, 21, 22], 3)):
        assert [read_number(read_frame(frames[i])) for i in numbers] == numbers
        assert len(opened) == times


def test_a_frame_rate_that_is_given_counts_more(tmp_path):
    path = write_video(tmp_path / "a.mp4", draw_corner(), fps=50)
    assert open_clip(path, 200).fps == 200


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_frames_of_odd_size_are_turned_as_the_file_says(tmp_path, degrees):
    path = write_video(tmp_path / "a.mp4", draw_corner())
    plain = next(iter(open_clip(path).read()))[1]
    turn_mp4(path, degrees)
    turned = next(iter(open_clip(path).read()))[1]
    np.testing.assert_array_equal(turned, np.rot90(plain, -degrees // 90))
    bright = np.argwhere(turned[..., 0] > 200).mean(0) / turned.shape[:2]
    assert tuple(np.round(bright)) == {90: (0, 1), 180: (1, 1), 270: (1, 0)}[degrees]


def test_a_folder_counts_as_its_names_do(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in zip((9, 10, 100), draw_corner()):
        assert cv2.imwrite(str(folder / f"img{number}.png"), frame)
    (folder / "notes.txt").write_text("no frame")
    stream = open_clip(folder, 200)
    assert [number for number, _ in stream.read()] == [9, 10, 100] == list(list_frames(folder))
    assert (stream.fps, stream.count) == (200, 3)


def test_frames_of_two_sizes_are_refused(tmp_path):
    frames = [*draw_corner(2), *draw_corner(1, width=50)]
    with pytest.raises(BadInput, match="img0002.png differs in size"):
        list(open_clip(write_frames(tmp_path / "frames", frames)).read())


def test_two_images_are_a_clip(tmp_path):
    write_frames(tmp_path / "frames", draw_corner(2))
    pair = open_pair(*sorted((tmp_path / "frames").iterdir()))
    assert [number for number, _ in pair.read()] == [0, 1] and pair.fps is None


def test_a_truncated_video_gives_what_is_there(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 96, 96, 3)).astype(np.uint8)
    path = write_video(tmp_path / "a.avi", noise, code="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 5 < len(list(open_clip(path).read())) < 40
    path = write_video(tmp_path / "b.mp4", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # its index is at the end
    with pytest.raises(BadInput, match="b.mp4 is not a readable video"):
        open_clip(path)


def test_what_is_no_clip_is_refused(tmp_path, capfd):
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    (tmp_path / "sound.wav").rename(tmp_path / "sound.mp4")
    (tmp_path / "text.mp4").write_text("This is not a video.\n" * 100)
    (tmp_path / "empty.avi").write_bytes(b"")
    for name in ("sound.mp4", "text.mp4", "empty.avi"):
        with pytest.raises(BadInput, match=f"{name} is not a readable video"):
            open_clip(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no frames"):
        open_clip(tmp_path / "empty")
    with pytest.raises(BadInput, match="does not exist"):
        open_clip(tmp_path / "nothing.mp4")
    assert cv2.imwrite(str(tmp_path / "one1.png"), next(draw_corner()))
    with pytest.raises(BadInput, match="is one image: give two"):
        open_clip(tmp_path / "one1.png")
    assert capfd.readouterr().err == ""  # no words of FFmpeg's own


def test_a_folder_of_clips_stands_for_each_of_them(tmp_path):
    for name in ("clip10", "clip2"):
        write_frames(tmp_path / "all" / name, draw_corner(2))
    write_video(tmp_path / "all" / "b.mp4", draw_corner())
    (tmp_path / "all" / "readme.txt").write_text("no clip")
    found = find_clips([tmp_path / "all", tmp_path / "missing.mp4"])
    assert [path.name for path in found] == ["b.mp4", "clip2", "clip10", "missing.mp4"]
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match="neither frames"):
        find_clips([tmp_path / "none"])


def test_frames_of_two_clips_are_not_one(tmp_path):
    for name in ("a_01.png", "a_02.png", "b_1.png"):
        assert cv2.imwrite(str(tmp_path / name), next(draw_corner()))
    with pytest.raises(BadInput, match="a_01.png and b_1.png end with the same number"):
        open_clip(tmp_path)
    assert find_clips([tmp_path]) == [tmp_path]  # one clip of a batch that cannot be read


def test_pages_of_an_earlier_run_hide_no_clip(tmp_path):
    """They lie beside the folders of frames and end with a number, as the clips do."""
    for name in ("001", "002"):
        write_frames(tmp_path / name, draw_corner(2))
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), next(draw_corner()))
    (tmp_path / "001" / "notes").mkdir()  # which makes the frames no folder of clips
    notes = []
    found = find_clips([tmp_path], notes.append)
    assert [path.name for path in found] == ["001", "002"]
    assert notes == [f"the 2 images in {tmp_path}, beside clips, are not a clip."]


def test_copies_and_telephones_names(tmp_path):
    for name in ("img (2).png", "img (10).PNG"):
        (tmp_path / name).touch()
    assert list(list_frames(tmp_path)) == [2, 10]
    (tmp_path / "clips").mkdir()
    for name in ("a.3gp", "b.MTS"):
        (tmp_path / "clips" / name).touch()
    assert [path.name for path in find_clips([tmp_path / "clips"])] == ["a.3gp", "b.MTS"]


def test_names_that_are_not_utf8(tmp_path):
    """OpenCV would end the process."""
    write_frames(tmp_path / "a", draw_corner(2)).rename(tmp_path / "\udcff")
    (tmp_path / "\udcff.mp4").touch()
    for path in find_clips([tmp_path]):
        with pytest.raises(BadInput, match="its name must be UTF-8"):
            open_clip(path)
    with pytest.raises(BadInput, match="its name must be UTF-8"):
        open_pair(tmp_path / "a.png", tmp_path / "\udcff.png")


def test_what_is_no_clip_hides_none(tmp_path):
    """Pictures that were written beside videos, a folder of notes, a name that cannot be read."""
    (tmp_path / "all" / "notes").mkdir(parents=True)
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / "all" / name, draw_corner())
    for name in ("a1.png", "b1.png"):  # of one number
        assert cv2.imwrite(str(tmp_path / "all" / name), next(draw_corner()))
    notes, too_long = [], tmp_path / ("x" * 300)
    found = find_clips([tmp_path / "all", too_long], notes.append)
    assert [path.name for path in found] == ["a.mp4", "b.mp4", too_long.name]
    assert "the 2 images" in notes[0] and "notes holds no clips" in notes[1]
    with pytest.raises(BadInput, match="cannot be read"):
        open_clip(too_long)
