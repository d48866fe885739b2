"""A variant in; one that answers with the mean logits over views of an image, at as many times the cost, out."""

from itertools import product
from typing import Annotated

import numpy as np
import onnx
from onnx import helper, numpy_helper
from pydantic import Field

from edgemotion.compression.quantization import Job, Quantized
from edgemotion.errors import EdgemotionError
from edgemotion.registry import register

VIEWS = "views"


@register("quantize")
def flip(job: Job, *, shift: Annotated[int, Field(ge=0)]) -> Quantized:
    """Test-time augmentation inside the graph, of a float or an int8 classifier: all views run in one batch.

    The views are the image and its mirror image (Simonyan and Zisserman 2015, arXiv 1409.1556); with a `shift` of some
    pixels also both moved towards each corner, edges repeated: ten views (Krizhevsky et al. 2012, section 4.1).
    Raises EdgemotionError for a detector, whose boxes have a place.
    """
    if job.parent.detects:
        raise EdgemotionError(
            f"{job.parent.name} is a detector; flip takes the mean of logits, which is for classifiers"
        )
    model = onnx.load(job.parent.model_path)
    graph = model.graph
    for node in graph.node:
        for number, name in enumerate(node.input):
            node.input[number] = VIEWS if name == "images" else name
        for number, name in enumerate(node.output):
            node.output[number] = "logits_of_views" if name == "logits" else name

    def constant(name: str, *values: int) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    before, upright = [], ["images"]
    if shift:
        _, height, width, _ = (axis.dim_value for axis in graph.input[0].type.tensor_type.shape.dim)
        sides = constant("shift_sides", 0, shift, shift, 0, 0, shift, shift, 0)
        before.append(helper.make_node("Pad", ["images", sides], ["padded"], name="pad", mode="edge"))
        axes = constant("shift_axes", 1, 2)
        for top, left in product((0, 2 * shift), repeat=2):
            view = f"shifted_{top}_{left}"
            bounds = [constant(f"{view}_from", top, left), constant(f"{view}_to", top + height, left + width)]
            before.append(helper.make_node("Slice", ["padded", *bounds, axes], [view], name=view))
            upright.append(view)
    mirror = [constant("mirror_from", -1), constant("mirror_to", -(2**31)), constant("mirror_axis", 2)]
    step = constant("mirror_step", -1)
    for view in upright:
        before.append(helper.make_node("Slice", [view, *mirror, step], [f"{view}_mirrored"], name=f"mirror_{view}"))
    views = [*upright, *(f"{view}_mirrored" for view in upright)]
    before.append(helper.make_node("Concat", views, [VIEWS], name=VIEWS, axis=0))
    answers = [f"logits_of_{view}" for view in views]
    after = [
        helper.make_node("Split", ["logits_of_views"], answers, name="answers", axis=0, num_outputs=len(views)),
        helper.make_node("Mean", answers, ["logits"], name="mean_of_views"),
    ]
    first = next(number for number, node in enumerate(graph.node) if "logits" in node.input)
    nodes = [*before, *graph.node[:first], *after, *graph.node[first:]]
    del graph.node[:]
    graph.node.extend(nodes)
    return Quantized(model, passes=len(views))
