"""The rendered archive: same bytes, honest splits, the shares it promises."""

import hashlib
import time
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgemotion import registry
from edgemotion.datasets import rendering, synthetic
from edgemotion.datasets.facs import EMOTIONS, NEUTRAL_BELOW
from edgemotion.datasets.synthetic import SHARES, WEIGHTS, apportion
from edgemotion.errors import EdgemotionError

SIZES = {"images": 400, "streams": 3, "frames": 40, "seed": 7}


def make(target: Path, **changes: int) -> Path:
    registry.call("source", "synthetic", target, args=SIZES | changes)
    return target


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with zipfile.ZipFile(make(tmp_path_factory.mktemp("synthetic") / "faces.zip")) as zipped:
        return {info.filename: zipped.read(info) for info in zipped.infolist()}


def test_archive_is_byte_identical_for_a_seed_only(tmp_path: Path) -> None:
    small = {"images": 100, "streams": 1, "frames": 5}
    first, again, other = (make(tmp_path / f"{n}.zip", seed=s, **small).read_bytes() for n, s in enumerate((1, 1, 2)))
    assert first == again
    assert first != other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.zip", "1.zip", "2.zip"]


def test_members_are_sorted_stored_gray_pngs_without_dates(tmp_path: Path) -> None:
    with zipfile.ZipFile(make(tmp_path / "faces.zip", images=100, streams=2, frames=5)) as zipped:
        found = zipped.infolist()
        assert [info.filename for info in found] == sorted(info.filename for info in found)
        assert {info.compress_type for info in found} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in found} == {(1980, 1, 1, 0, 0, 0)}
        image = cv2.imdecode(np.frombuffer(zipped.read(found[0]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape == (48, 48) and image.dtype == np.uint8


def test_splits_and_classes_have_their_shares(members: dict[str, bytes]) -> None:
    counts = Counter(tuple(name.split("/")[:2]) for name in members if not name.startswith("streams/"))
    sizes = Counter(split for split, _ in counts.elements())
    assert sizes == {"train": 280, "val": 60, "test": 60}
    assert {emotion for _, emotion in counts} == set(EMOTIONS)
    # Six classes of weight 1 and disgust of 1/3: 280 * 3/19 = 44.2 and 280 * 1/19 = 14.7.
    assert counts["train", "disgust"] == 15
    assert {counts["train", emotion] for emotion in EMOTIONS if emotion != "disgust"} == {44, 45}


@pytest.mark.parametrize("weights", [SHARES, WEIGHTS])
def test_counts_add_up_for_any_size(weights: dict[str, float]) -> None:
    assert all(sum(apportion(images, weights).values()) == images for images in range(500))


def test_every_image_that_was_asked_for_is_rendered(tmp_path: Path) -> None:
    # 15 % of 110 are 16.5 in val and in test.
    with zipfile.ZipFile(make(tmp_path / "faces.zip", images=110, streams=0, frames=0)) as zipped:
        assert len(zipped.namelist()) == 110


def test_no_two_images_are_the_same_and_names_are_unique(members: dict[str, bytes]) -> None:
    digests = {hashlib.sha256(content).digest() for content in members.values()}
    assert len(digests) == len(members) == 400 + 3 * 40


def test_streams_are_numbered_and_labelled(members: dict[str, bytes]) -> None:
    names = [name.split("/") for name in members if name.startswith("streams/")]
    assert Counter(stream for _, stream, _ in names) == {"000": 40, "001": 40, "002": 40}
    frames = [frame.removesuffix(".png").split("_") for _, stream, frame in names if stream == "001"]
    assert [int(number) for number, _ in frames] == list(range(40))
    labels = {label for _, label in frames}
    assert labels <= set(EMOTIONS) and "neutral" in labels and len(labels) > 1


def test_people_of_a_split_stay_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Record who is drawn: the people of the splits and of the streams are disjoint, most pose several times."""
    drawn: list[object] = []

    def watched(identity, units, view, *, rng):  # type: ignore[no-untyped-def]
        drawn.append(identity)
        return np.zeros((48, 48), np.uint8)

    monkeypatch.setattr(rendering, "render", watched)
    monkeypatch.setattr(synthetic, "render", watched)
    make(tmp_path / "faces.zip")
    # Members are written in the order of their names: streams, test, train, val.
    groups = [set(part) for part in (drawn[:120], drawn[120:180], drawn[180:460], drawn[460:])]
    # 8 images a person: 60 / 8 and 280 / 8 rounded up.
    assert [len(group) for group in groups] == [3, 8, 35, 8]
    assert len(set().union(*groups)) == 3 + 8 + 35 + 8


def test_every_person_poses_several_emotions(members: dict[str, bytes]) -> None:
    shown = defaultdict(set)
    for split, emotion, number in (name.split("/") for name in members if not name.startswith("streams/")):
        shown[split, int(number.removesuffix(".png")) // 8].add(emotion)
    assert len(shown) == 35 + 8 + 8 and min(len(emotions) for emotions in shown.values()) > 1


def test_an_image_shows_its_emotion_and_a_face_at_rest_stirs_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def watched(identity, units, view, *, rng):  # type: ignore[no-untyped-def]
        drawn.append(max(units.values(), default=0))
        return np.zeros((48, 48), np.uint8)

    monkeypatch.setattr(synthetic, "render", watched)
    for emotion in ("happy", "neutral"):
        for number in range(100):
            synthetic.render_image(emotion, seed=0, place=1, number=number)
    # An action unit is up to a quarter weaker than its expression.
    assert min(drawn[:100]) >= 0.75 * NEUTRAL_BELOW
    assert 0 < max(drawn[100:]) < NEUTRAL_BELOW


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 40}, "images=40 leaves a class of a split empty"),
        ({"images": -5}, "images=-5"),
        ({"seed": -1}, "seed=-1 is negative"),
        ({"streams": -1}, "streams=-1"),
        ({"frames": -1}, "frames=-1"),
    ],
)
def test_impossible_numbers_are_refused_and_leave_no_file(
    tmp_path: Path, changes: dict[str, int], message: str
) -> None:
    with pytest.raises(EdgemotionError, match=message):
        make(tmp_path / "faces.zip", **changes)
    assert list(tmp_path.iterdir()) == []


def test_rendering_is_fast(tmp_path: Path) -> None:
    started = time.process_time()
    make(tmp_path / "faces.zip", images=300, streams=0)
    # About 2 ms an image; 30 s for 6,000 images would be 5.
    assert (time.process_time() - started) / 300 < 0.015
