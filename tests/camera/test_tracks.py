import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemotion.camera.tracks import Box, Tracker, area, iou
from edgemotion.runtime.smoothing import KalmanSmoother


def new_tracker(patience: int = 2) -> Tracker:
    return Tracker(lambda: KalmanSmoother(3, 0.005, 0.05), overlap=0.3, patience=patience)


def box(left: float, top: float = 0, side: float = 100) -> Box:
    return (left, top, left + side, top + side)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y, width, height = (draw(st.floats(0, 500)) for _ in range(4))
    return (x, y, x + width, y + height)


@given(boxes(), boxes())
def test_iou_is_a_symmetric_share(first: Box, second: Box) -> None:
    assert iou(first, second) == iou(second, first)
    assert 0 <= iou(first, second) <= 1 + 1e-9
    if area(first) > 1e-6:
        assert iou(first, first) == pytest.approx(1)


def test_iou_by_hand() -> None:
    assert iou(box(0), box(50)) == pytest.approx(5000 / 15000)
    assert iou(box(0), box(100)) == 0


@settings(max_examples=40)
@given(st.lists(st.lists(boxes(), max_size=4), max_size=8))
def test_each_box_of_a_search_is_one_visible_person(searches: list[list[Box]]) -> None:
    tracker = new_tracker()
    for found in searches:
        tracker.update(found)
        visible = tracker.visible()
        assert sorted(track.box for track in visible) == sorted(found)
        assert len({track.number for track in tracker.tracks}) == len(tracker.tracks)
        assert [area(track.box) for track in visible] == sorted((area(one) for one in found), reverse=True)


def test_two_who_walk_keep_their_numbers_whatever_the_order() -> None:
    tracker = new_tracker()
    for step in range(20):
        near, far = box(5.0 * step), box(600 - 5.0 * step, side=80)
        tracker.update([near, far] if step % 2 else [far, near])
    assert {track.box[0]: track.number for track in tracker.visible()} == {95.0: 1, 505.0: 0}


def test_a_short_miss_keeps_the_filter_and_a_long_one_forgets_it() -> None:
    tracker = new_tracker(patience=2)
    tracker.update([box(0)])
    smoother = tracker.tracks[0].smoother
    for _ in range(2):
        tracker.update([])
        assert tracker.visible() == []
    tracker.update([box(10)])
    assert tracker.visible()[0].smoother is smoother
    for _ in range(3):
        tracker.update([])
    tracker.update([box(10)])
    assert tracker.visible()[0].number == 1 and tracker.visible()[0].smoother is not smoother


def test_the_greater_overlap_wins() -> None:
    tracker = new_tracker()
    tracker.update([box(0)])
    tracker.update([box(40), box(10)])
    assert {track.number: track.box[0] for track in tracker.visible()} == {0: 10, 1: 40}
