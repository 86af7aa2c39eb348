"""Loud channels kept out of int8, so that the quiet ones keep their levels.

Dynamic int8 gives a whole tensor one scale, and in BERT a few channels reach ten times as far as all others (Bondarenko
et al. 2021, "Understanding and Overcoming the Challenges of Efficient Transformer Quantization"), which leaves the
others a tenth of the levels. As in LLM.int8() (Dettmers et al. 2022, section 3) those few go apart, in fp32; here only
with what they have beyond the rest, so that the int8 weights stay whole:
y = int8(clip(x)) W + (x - clip(x)) W, the second product over the loud channels alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from .onnx_backend import session

LOUD = 8  # channels set apart: four lose a little, sixteen gain nothing (bench/LOG.md)
WORTH = 2.0  # how much louder than the rest the loudest must be


def products(model: ModelProto) -> dict[str, np.ndarray]:
    """Name to weights [in, out] of every product by a constant."""
    held = {i.name: i for i in model.graph.initializer}
    nodes = (n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in held)
    return {n.name: numpy_helper.to_array(held[n.input[1]]) for n in nodes}


def reach(path: Path, inputs: Sequence[np.ndarray], scratch: Path) -> dict[str, np.ndarray]:
    """Name of every product by a constant to the largest absolute value of each of its input's channels.

    `inputs` are token ids [T], of texts as they will be served; `scratch` is a file that may be written.
    """
    model = onnx.load(str(path))
    weighed = products(model)
    read = {n.name: n.input[0] for n in model.graph.node if n.name in weighed}
    seen = list(dict.fromkeys(read.values()))
    model.graph.output.extend(helper.make_tensor_value_info(x, TensorProto.FLOAT, None) for x in seen)
    onnx.save(model, str(scratch))
    run = session(scratch).run
    most = {x: np.zeros(1, np.float32) for x in seen}
    for ids in inputs:
        for x, value in zip(seen, run(seen, {"input_ids": np.asarray(ids, np.int64)[None]}), strict=True):
            most[x] = np.maximum(most[x], np.abs(value).max((0, 1)))
    return {name: most[x] for name, x in read.items()}


def apart(source: Path, target: Path, inputs: Sequence[np.ndarray]) -> list[str]:
    """Write the graph with its loud channels set apart; returns the products that have to stay in fp32."""
    most = reach(source, inputs, target)
    model = onnx.load(str(source))
    weights, nodes, kept = products(model), [], []
    for node in model.graph.node:
        far = most.get(node.name, np.zeros(0))
        order = np.argsort(-far)
        if len(order) <= LOUD or far[order[0]] < WORTH * far[order[LOUD]]:
            nodes.append(node)
            continue
        loud, limit = np.sort(order[:LOUD]), far[order[LOUD]]
        given = {"low": -limit, "high": limit, "loud": loud.astype(np.int64), "rows": weights[node.name][loud]}
        held = {k: f"{node.name}/{k}" for k in given}
        model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), held[k]) for k, v in given.items())
        nodes += split(node, held)
        kept.append(f"{node.name}/beyond")
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(target))
    return kept


def split(node: NodeProto, held: dict[str, str]) -> Iterator[NodeProto]:
    """The nodes that stand for the product `node`, over the constants `held`: low, high, loud, rows."""
    name, (x, weight) = node.name, node.input
    within, own, some, cut, rest, more = (f"{name}/{k}" for k in ("within", "own", "some", "cut", "rest", "more"))
    bounds = [held["low"], held["high"]]
    yield helper.make_node("Clip", [x, *bounds], [within], within)
    yield helper.make_node("MatMul", [within, weight], [own], name)
    yield helper.make_node("Gather", [x, held["loud"]], [some], some, axis=-1)
    yield helper.make_node("Clip", [some, *bounds], [cut], cut)
    yield helper.make_node("Sub", [some, cut], [rest], rest)
    yield helper.make_node("MatMul", [rest, held["rows"]], [more], f"{name}/beyond")
    yield helper.make_node("Add", [own, more], node.output, f"{name}/sum")
