"""The summary joins reports of one run, compares on the same images, and says when int8 loses."""

import numpy as np
import pytest

from edgemotion.errors import EdgemotionError
from edgemotion.files import read_json, write_json
from edgemotion.report.summary import (
    accuracy_verdict,
    compare,
    control_verdicts,
    leak_verdict,
    p_value,
    read_results,
    speed_verdict,
    summarise,
    verdicts,
)
from edgemotion.settings import Settings


def summary_of(settings: Settings) -> dict:
    return summarise(
        read_results(settings.variants), settings.data.name, settings.model.name, settings.seed, settings.controls
    )


def test_summary_holds_what_was_measured(settings: Settings) -> None:
    summary = summary_of(settings)
    assert list(summary["variants"]) == settings.variants
    assert summary["champion"] == "pruned_int8"
    entry = summary["variants"]["pruned_int8"]
    evaluation = read_json("reports/evaluate/pruned_int8.json")
    assert entry["top1"] == evaluation["top1"]
    assert entry["top1_leak_free_ci"] == evaluation["leak_free"]["top1_ci"]
    assert (
        entry["robust"]["blur_k5"] == read_json("reports/robustness/pruned_int8.json")["scenarios"]["blur_k5"]["top1"]
    )
    assert entry["temporal"]["smoothed"] == {"top1": 0.85, "flips_per_frame": 0.06}
    assert (entry["n_leaked"], entry["top1_leaked"]) == (67, evaluation["leaked"]["top1"])
    assert entry["gates"] == dict.fromkeys(
        ("size_mb", "p95_ratio", "speedup", "accuracy_drop", "worst_class_drop", "agreement"), True
    )
    assert entry["drop"]["top1"] == pytest.approx(summary["variants"]["fp32"]["top1"] - entry["top1"], abs=1e-6)
    assert entry["drop"]["ci"][0] <= entry["drop"]["top1"] <= entry["drop"]["ci"][1]


def test_reference_equals_itself(settings: Settings) -> None:
    assert summary_of(settings)["variants"]["fp32"]["drop"] == {"top1": 0.0, "ci": [0.0, 0.0], "mcnemar_p": 1.0}


def test_only_a_measured_parent_beside_fp32_is_compared_with(settings: Settings) -> None:
    predictions = np.load("reports/predictions/pruned_int8.npy")
    labels = np.arange(800) % 7
    right = np.flatnonzero(predictions == labels)[:20]
    predictions[right] = (labels[right] + 1) % 7
    np.save("reports/predictions/pruned_int8.npy", predictions)
    evaluation = read_json("reports/evaluate/pruned_int8.json")
    write_json("reports/evaluate/pruned_int8.json", evaluation | {"top1": float((predictions == labels).mean())})
    variants = summary_of(settings)["variants"]
    assert [name for name, entry in variants.items() if "drop_parent" in entry] == ["pruned_int8"]
    # 20 of 800 images that only the parent has right: the exact p-value is 2 * 0.5**20 = 1.9e-6.
    assert variants["pruned_int8"]["drop_parent"]["top1"] == 0.025
    assert variants["pruned_int8"]["drop_parent"]["mcnemar_p"] == 2e-06
    assert variants["pruned_int8"]["drop"]["top1"] > 0.025
    settings.variants.remove("pruned")
    assert "drop_parent" not in summary_of(settings)["variants"]["pruned_int8"]


def test_a_variant_is_compared_with_its_control(settings: Settings) -> None:
    assert control_verdicts(summary_of(settings)) == []
    settings.controls = {"pruned": "int8_dynamic", "int8_dynamic": "pruned"}
    results, summary = read_results(settings.variants), summary_of(settings)
    gained, lost = summary["controls"]["pruned"], summary["controls"]["int8_dynamic"]
    assert gained["control"] == "int8_dynamic" and lost["control"] == "pruned"
    by_hand = results.correct("pruned").mean() - results.correct("int8_dynamic").mean()
    assert -gained["top1"] == lost["top1"] == pytest.approx(by_hand, abs=1e-6) and by_hand > 0
    gains, loses = control_verdicts(summary)
    assert gains.startswith("Against int8_dynamic, pruned gains ")
    assert loses.startswith("Against pruned, int8_dynamic loses ")


def test_leak_verdict_claims_only_what_training_saw() -> None:
    evaluation = {
        "n": 3589,
        "top1": 0.692,
        "leaked": {"n": 288, "top1": 0.885, "top1_ci": [0.843, 0.917]},
        "leak_free": {"n": 3301, "top1": 0.675, "top1_ci": [0.659, 0.691]},
    }
    told = (
        "Top-1 is 88.5 % [84.3, 91.7] on the 288 test images that also stand in the training split before any is "
        "dropped and 67.5 % [65.9, 69.1] on the other 3301; "
    )
    seen, dropped = leak_verdict(evaluation, False), leak_verdict(evaluation, True)
    assert seen == told + "training saw their copies, and that is worth up to +1.7 points of top-1 on the whole split."
    assert dropped.startswith(told + "training did without their copies, so the +1.7 points ")
    nothing = {"n": 0, "top1": None, "top1_ci": None}
    assert leak_verdict(evaluation | {"leaked": nothing}, True).startswith("None of the 3589 test images stand in")
    assert leak_verdict(evaluation | {"leak_free": nothing}, True).startswith("All of the 3589 test images stand in")


def test_compare_counts_lost_images() -> None:
    # 10 of 100 images only the reference has right: the exact p-value is 2 * 0.5**10 = 0.001953125.
    reference, other = np.ones(100, bool), np.arange(100) >= 10
    found = compare(reference, other, seed=1)
    assert found["top1"] == 0.1
    assert found["mcnemar_p"] == 0.001953
    assert 0.03 < found["ci"][0] < 0.1 < found["ci"][1] < 0.18


def test_reports_of_different_runs_are_refused(settings: Settings) -> None:
    predictions = np.load("reports/predictions/pruned.npy")
    predictions[:40] = (predictions[:40] + 1) % 7
    np.save("reports/predictions/pruned.npy", predictions)
    with pytest.raises(EdgemotionError, match=r"predictions/pruned\.npy gives a top-1 of .* are of different runs"):
        read_results(settings.variants)


def test_missing_reports_are_named(settings: Settings) -> None:
    profile = read_json("reports/profile.json")
    del profile["variants"]["sparse"]
    write_json("reports/profile.json", profile)
    with pytest.raises(EdgemotionError, match=r"profile\.json has no variant 'sparse'"):
        read_results(settings.variants)
    np.save("reports/predictions/sparse.npy", np.zeros(3, np.int16))
    with pytest.raises(EdgemotionError, match=r"sparse\.npy has 3 predictions for 800 labels"):
        read_results(settings.variants)


def test_verdicts_say_when_int8_loses(settings: Settings) -> None:
    sentences = {sentence.split()[0]: sentence for sentence in verdicts(summary_of(settings))}
    assert list(sentences) == ["int8_static", "int8_dynamic", "pruned", "pruned_int8", "sparse"]
    assert all(sentence.endswith(" MB under gzip.") for sentence in sentences.values())
    assert "is slower than fp32: 0.24 times its speed" in sentences["int8_dynamic"]
    assert "loses 5.5 points of top-1" in sentences["int8_dynamic"]
    assert "is 2.26 times as fast as fp32" in sentences["int8_static"]


def test_verdicts_claim_nothing_inside_the_noise() -> None:
    speed = speed_verdict({"speedup": 1.01, "speedup_ci": [0.98, 1.04]})
    assert speed.startswith("is not measurably faster than fp32: 1.01 times")
    same = accuracy_verdict({"top1": 0.002, "ci": [-0.001, 0.005], "mcnemar_p": 0.2})
    change = "(\N{MINUS SIGN}0.2 points, 95 % interval \N{MINUS SIGN}0.5 to +0.1, McNemar p = 0.200)"
    assert f"no measurable difference in top-1 {change}" in same
    none = accuracy_verdict({"top1": 0.0004, "ci": [-0.0004, 0.0004], "mcnemar_p": 1.0})
    assert "(+0.0 points, 95 % interval +0.0 to +0.0, McNemar p = 1.000)" in none
    gain = accuracy_verdict({"top1": -0.02, "ci": [-0.03, -0.01], "mcnemar_p": 0.0001})
    assert gain == "gains 2.0 points of top-1 (95 % interval 1.0 to 3.0, McNemar p < 0.001)"
    assert p_value(0.0004) == "< 0.001"


def test_four_lost_images_of_four_changed_are_no_loss_yet() -> None:
    reference = np.ones(480, bool)
    four, six = (compare(reference, np.arange(480) >= lost, seed=1) for lost in (4, 6))
    # Both intervals leave out zero: resampling images that all changed one way never finds one that changed the other.
    assert four["ci"][0] > 0 and six["ci"][0] > 0
    assert "no measurable difference" in accuracy_verdict(four) and "McNemar p = 0.125" in accuracy_verdict(four)
    assert "loses 1.2 points" in accuracy_verdict(six)
