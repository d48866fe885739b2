"""Names and arguments of the settings reach the right function, or one line says which is wrong."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgemotion import registry
from edgemotion.errors import EdgemotionError

IMAGES = np.full((2, 4, 4, 1), 100, np.uint8)


def corrupt(name: str, **args: Any) -> np.ndarray:
    return registry.call("corruption", name, IMAGES, np.random.default_rng(0), args=args)


@pytest.fixture
def shout(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An entry with a default, an optional and a list argument, registered for one test."""
    monkeypatch.setitem(registry._entries, "corruption", dict(registry._entries["corruption"]))

    @registry.register("corruption", "shout")
    def entry(text: str, *, seed: int, times: int = 2, mark: str | None = None, skip: list[int] = []) -> str:  # noqa: B006
        skip.append(times)
        return text.upper() * times + (mark or "") + f"{len(skip)}{seed}"

    yield "shout"


def test_every_kind_has_entries_in_stable_order() -> None:
    for kind in ("source", "layout", "corruption"):
        assert (found := registry.names(kind)) == sorted(found)
        assert found
    assert {"archive", "kaggle"} <= set(registry.names("source"))
    assert {"fer2013", "image_folder"} <= set(registry.names("layout"))


def test_arguments_reach_the_entry() -> None:
    assert (corrupt("brightness", factor=2.0) == 200).all()


def test_an_integer_stands_for_a_float_and_defaults_are_filled_afresh(shout: str) -> None:
    assert (corrupt("brightness", factor=2) == 200).all()
    for _ in range(2):
        assert registry.call("corruption", shout, "a", seed=7, args={}) == "AA17"
    assert registry.call("corruption", shout, "a", seed=7, args={"times": 1, "mark": "!", "skip": [0]}) == "A!27"


@pytest.mark.parametrize(
    ("name", "args", "told"),
    [
        ("brightnes", {"factor": 2.0}, ["corruption 'brightnes' does not exist", "brightness", "occlusion"]),
        ("brightness", {"facter": 2.0}, ["corruption brightness has no argument 'facter'", "it takes factor"]),
        ("clean", {"std": 1.0}, ["corruption clean has no argument 'std'", "no arguments"]),
        ("brightness", {}, ["corruption brightness needs the argument 'factor'"]),
        ("brightness", {"factor": "bright"}, ["brightness: factor is 'bright'; it should be a valid number"]),
        ("gaussian_blur", {"kernel": 2.5}, ["gaussian_blur: kernel is 2.5; it should be a valid integer"]),
        ("brightness", {"factor": None}, ["brightness: factor is None"]),
        ("brightness", {"factor": [1.0]}, ["brightness: factor is [1.0]"]),
    ],
)
def test_a_wrong_name_or_argument_is_one_line_that_names_it(name: str, args: dict[str, Any], told: list[str]) -> None:
    with pytest.raises(EdgemotionError) as caught:
        corrupt(name, **args)
    message = str(caught.value)
    assert "\n" not in message
    assert [part for part in told if part not in message] == []


def test_the_users_arguments_cannot_replace_those_of_the_program(shout: str) -> None:
    with pytest.raises(EdgemotionError, match="corruption shout has no argument 'seed'; it takes times, mark, skip"):
        registry.call("corruption", shout, "a", seed=7, args={"seed": 1})
    with pytest.raises(EdgemotionError, match="has no argument 'text'"):
        registry.call("corruption", shout, "a", seed=7, args={"text": "b"})
