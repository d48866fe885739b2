"""The page stands alone: all figures inside, no script, no address, and every number of the summary in words."""

import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json, write_json
from edgemotion.report import figures
from edgemotion.report.html import render
from edgemotion.report.summary import read_results, summarise
from edgemotion.report.training_figures import draw_training
from edgemotion.settings import Settings


class Balance(HTMLParser):
    """Collects the open elements; a closing tag must match the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(settings: Settings) -> str:
    results = read_results(settings.variants)
    summary = summarise(results, settings.data.name, settings.model.name, settings.seed, settings.controls)
    figures.draw(summary, results.robustness, results.profile["variants"])
    draw_training(settings.networks)
    return render(summary, results)


def test_page_is_self_contained(settings: Settings) -> None:
    page = page_of(settings)
    assert page.count("data:image/png;base64,") == len(figures.figure_names(settings.variants)) == 22
    text = re.sub(r"data:image/png;base64,[^\"]*", "", page)
    assert not re.search(r"https?://|<script|<link|@import|url\(", text)
    parser = Balance()
    parser.feed(text)
    assert parser.open == []


def test_page_tells_what_became_of_leaks(settings: Settings) -> None:
    assert "train and val copies of its images were dropped" in page_of(settings)
    path = "data/prepared/data_report.json"
    write_json(path, read_json(path) | {"drop_leaks": False})
    page = page_of(settings)
    assert "the training split kept the copies of test images" in page and "were dropped" in page


def test_page_tells_results_and_reasons(settings: Settings) -> None:
    settings.controls = {"int8_static": "int8_dynamic"}
    page = page_of(settings)
    for words in (
        "<li>Against int8_dynamic, int8_static gains ",
        "pruned_int8 wins on synthetic",
        "int8 instructions: avx2, avx512_vnni",
        "int8_dynamic is slower than fp32",
        "passes, but slower than pruned_int8 (0.31 against 0.22 ms)",
        "groups whose labels contradict each other</th><td>5</td>",
        "unreadable images</th><td>2</td>",
        "drawn from the test split because this dataset has no recorded sequences",
        "p &lt; 0.001",
        "top-1 lost on val at most 0.01",
        "pruned_int8: Top-1 is ",
        '<td class="wrap">1<small>stem</small></td>',
        'trained on</th><td class="text">Example GPU</td>',
        "<td>44</td><td>0</td><td>44</td>",
    ):
        assert words in page, words


def test_page_tells_how_each_variant_was_made(settings: Settings) -> None:
    section = page_of(settings).split('id="compression"')[1].split('id="selection"')[0]
    rows = [re.sub(r"<[^>]+>|\s+", " ", row).split() for row in section.split("<tr")[2:]]
    minus, dash = "\N{MINUS SIGN}", "&ndash;"
    assert rows[0][1:] == ["fp32", "train", "training", dash, dash, "reference", "100.00", "0.0001"]
    assert rows[2][2:7] == ["dynamic_int8", "fp32", dash, dash, f"{minus}5.5"]
    assert "<p>int8_static: a layer in float is not enough.</p>" in section
    # The other variants are compared with fp32, this one with the pruned network.
    made = ["static_int8", "pruned", "entropy", "a", "scale", "a", "channel", "none", "+0.0"]
    assert [word for word in rows[4] if word != "champion"][2:11] == made


def test_page_and_figures_are_the_same_bytes_again(settings: Settings) -> None:
    assert page_of(settings) == page_of(settings)


def test_dataset_without_leak_free_images(settings: Settings) -> None:
    report = read_json("reports/evaluate/pruned.json")
    write_json("reports/evaluate/pruned.json", report | {"leak_free": {"n": 0, "top1": None, "top1_ci": None}})
    assert "<td>none<small></small></td>" in page_of(settings)


def test_missing_figure_is_named(settings: Settings) -> None:
    (figures.FOLDER / "gradcam.png").unlink()
    with pytest.raises(EdgemotionError, match=r"gradcam\.png is missing"):
        page_of(settings)


def test_figures_show_every_variant(settings: Settings) -> None:
    page_of(settings)
    for name in ("tradeoff", "latency", "robustness"):
        picture = cv2.imread(str(figures.FOLDER / f"{name}.png"))
        colours = set(map(tuple, picture.reshape(-1, 3)[:, ::-1].tolist()))
        wanted = [
            tuple(int(code[i : i + 2], 16) for i in (1, 3, 5)) for code in figures.COLOURS[: len(settings.variants)]
        ]
        assert set(wanted) <= colours, name
        assert np.all(picture[0, 0] == 255)
