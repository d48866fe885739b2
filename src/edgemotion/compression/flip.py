"""A variant in; one that answers with the mean of an image's logits and its mirror image's, at twice the cost, out."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgemotion.compression.quantization import Job, Quantized
from edgemotion.errors import EdgemotionError
from edgemotion.registry import register

BOTH = "images_and_mirrored"


@register("quantize")
def flip(job: Job) -> Quantized:
    """Test-time flip inside the graph (Simonyan and Zisserman 2015, arXiv 1409.1556), of a float or an int8 classifier.

    The mirrored images run in the same batch. Raises EdgemotionError for a detector, whose boxes have a side.
    """
    if job.parent.detects:
        raise EdgemotionError(
            f"{job.parent.name} is a detector; flip takes the mean of logits, which is for classifiers"
        )
    model = onnx.load(job.parent.model_path)
    graph = model.graph
    for node in graph.node:
        for number, name in enumerate(node.input):
            node.input[number] = BOTH if name == "images" else name
        for number, name in enumerate(node.output):
            node.output[number] = "logits_of_both" if name == "logits" else name
    bounds = {"mirror_from": -1, "mirror_to": -(2**31), "mirror_axis": 2, "mirror_step": -1}
    graph.initializer.extend(
        numpy_helper.from_array(np.array([value], np.int64), name) for name, value in bounds.items()
    )
    before = [
        helper.make_node("Slice", ["images", *bounds], ["mirrored"], name="mirror"),
        helper.make_node("Concat", ["images", "mirrored"], [BOTH], name=BOTH, axis=0),
    ]
    after = [
        helper.make_node("Split", ["logits_of_both"], ["logits_of_image", "logits_of_mirror"], axis=0, num_outputs=2),
        helper.make_node("Mean", ["logits_of_image", "logits_of_mirror"], ["logits"], name="mean_of_both"),
    ]
    first = next(number for number, node in enumerate(graph.node) if "logits" in node.input)
    nodes = [*before, *graph.node[:first], *after, *graph.node[first:]]
    del graph.node[:]
    graph.node.extend(nodes)
    return Quantized(model, passes=2)
