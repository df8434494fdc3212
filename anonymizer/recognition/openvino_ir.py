"""Networks stored as OpenVINO's intermediate representation, run by torch with gradients.

Such a network is an XML file of layers and edges and a file of constants. Read are the eleven
kinds of layers that the face recogniser face-reidentification-retail-0095 is made of (Apache-2.0,
Open Model Zoo); any other kind, and any option they do not use, is refused by name.

References
----------
OpenVINO documentation, "Intermediate representation and operation sets", opset1.
"""

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from anonymizer.checkpoints import WeightsError, find_weights
from anonymizer.recognition.recognizer import FACE_SIZE, Recognizer, in_order

_MOST_BYTES = 64 * 2**20  # of the XML file
_TYPES: Mapping[str, np.dtype[Any]] = {"f16": np.dtype("<f2"), "f32": np.dtype("<f4")}
_WIDTH = 96  # columns of the aligned face that 0095 was trained on [px]


@dataclass(frozen=True)
class Step:
    """One layer as it is run.

    Attributes
    ----------
    layer : str
        Its number in the file.
    kind : str
        Which of the kinds in `OPERATIONS`.
    inputs : tuple of str
        Layers whose results it takes, in the order of its ports.
    options : mapping of str
        What the file says of it.
    """

    layer: str
    kind: str
    inputs: tuple[str, ...]
    options: Mapping[str, str]


class IrNetwork(nn.Module):
    """A graph of layers with one input and one result.

    Parameters
    ----------
    steps : sequence of Step
        In an order in which they can be run.
    constants : mapping of str to Tensor
        Values of the layers that hold one, float32; they become parameters.
    source, result : str
        Layer that stands for the input, and layer whose value is returned.
    shape : tuple of int
        Input (C, H, W).
    """

    def __init__(
        self,
        steps: Sequence[Step],
        constants: Mapping[str, Tensor],
        *,
        source: str,
        result: str,
        shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.steps, self.source, self.result, self.shape = tuple(steps), source, result, shape
        self.constants = nn.ParameterDict(dict(constants))
        last = {name: i for i, step in enumerate(self.steps) for name in step.inputs}
        self._done_with = [
            tuple(n for n in set(step.inputs) if last[n] == i and n != result)
            for i, step in enumerate(self.steps)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Return the result for inputs (B, C, H, W) of the shape in the file."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"x is {tuple(x.shape)}, expected (B, {', '.join(map(str, self.shape))})"
            )
        values: dict[str, Tensor] = {self.source: x, **self.constants}
        for step, done in zip(self.steps, self._done_with, strict=True):
            given = [values[name] for name in step.inputs]
            values[step.layer] = OPERATIONS[step.kind](given, step.options)
            for name in done:  # a picture at full size need not outlive its last reader
                del values[name]
        return values[self.result]


class OpenVinoRecognizer(Recognizer):
    """A recogniser whose graph was read from a file: the middle 96 columns, B G R, 0 to 255.

    Parameters
    ----------
    graph : IrNetwork
        Takes three planes of any size, to which the face is stretched.
    """

    def __init__(self, graph: IrNetwork) -> None:
        super().__init__()
        self.graph = graph
        with torch.no_grad():
            self.dimension = self.graph(torch.zeros(1, *graph.shape)).numel()

    def embed(self, faces: Tensor) -> Tensor:
        """Return raw features; the network's own range is 0 to 255."""
        margin = (FACE_SIZE - _WIDTH) // 2
        x = in_order(faces[..., margin : margin + _WIDTH], "BGR")
        x = F.interpolate(x, size=self.graph.shape[1:], mode="bilinear", align_corners=False)
        features: Tensor = self.graph(255 * x).flatten(1)
        return features


def load_openvino(
    *,
    file: str,
    sha256: str,
    constants: str,
    constants_sha256: str,
    search: Sequence[str | Path] = (),
) -> Recognizer:
    """Read a recogniser from its two files, frozen and in evaluation mode.

    Parameters
    ----------
    file, sha256
        The XML, as in `anonymizer.checkpoints.find_weights`.
    constants, constants_sha256
        The file of constants beside it.
    search
        Folders in order of preference.

    Raises
    ------
    WeightsError
        If a file is absent or altered, or holds what is not read here.
    """
    graph = find_weights(file, sha256, search)
    values = find_weights(constants, constants_sha256, search)
    return OpenVinoRecognizer(read_ir(graph, values)).requires_grad_(False).eval()


def read_ir(graph: Path, constants: Path) -> IrNetwork:
    """Read a network from the XML file of its layers and the file of its constants.

    Raises
    ------
    WeightsError
        If either is damaged, or holds what is not read here; the message names the layer.
    """
    try:
        return _Reader(_parse(graph), np.fromfile(constants, np.uint8)).network()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ET.ParseError) as error:
        raise WeightsError(f"weights {graph} with {constants.name}: {error}") from error


def _parse(path: Path) -> ET.Element:
    """Parse XML that defines no entities: those can name files or grow without bound."""
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES >> 20} MiB of XML, expected a description")
    text = path.read_text("utf-8")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("the XML declares a document type, which a network never needs")
    return ET.fromstring(text)


class _Reader:
    """What is known while the layers are read in the order of the file."""

    def __init__(self, root: ET.Element, data: NDArray[np.uint8]) -> None:
        self.root, self.data = root, data
        self.constants: dict[str, Tensor] = {}
        self.known: set[str] = set()
        self.stands_for: dict[str, str] = {}  # a converted constant is the constant
        self.inputs: dict[str, list[tuple[int, str]]] = {}

    def network(self) -> IrNetwork:
        for edge in self.root.iterfind("edges/edge"):
            ports = self.inputs.setdefault(edge.attrib["to-layer"], [])
            ports.append((int(edge.attrib["to-port"]), edge.attrib["from-layer"]))
        source, result = "", ""
        shape: tuple[int, ...] = ()
        steps: list[Step] = []
        for layer in self.root.iterfind("layers/layer"):
            name, kind = layer.attrib["id"], layer.attrib["type"]
            found = layer.find("data")
            options = {} if found is None else dict(found.attrib)
            given = self._given(name)
            if kind == "Parameter" and not source:
                source, shape = name, _numbers(options["shape"])[1:]
            elif kind == "Const":
                self.constants[name] = self._constant(name, options)
            elif kind == "Convert" and given[0] in self.constants:
                self.stands_for[name] = given[0]
            elif kind == "Result" and not result:
                result = given[0]
            elif kind in OPERATIONS and layer.get("version") == "opset1":
                _check(name, kind, options)
                steps.append(Step(name, kind, given, options))
            else:
                raise ValueError(
                    f"layer {name} is {kind} ({layer.get('version')}), expected one input, one "
                    f"result and {', '.join(OPERATIONS)} of opset1"
                )
            self.known.add(name)
        if not source or not result or len(shape) != 3:
            raise ValueError(f"one input (1, C, H, W) and one result are needed, input is {shape}")
        c, h, w = shape
        return IrNetwork(steps, self.constants, source=source, result=result, shape=(c, h, w))

    def _given(self, name: str) -> tuple[str, ...]:
        given = [layer for _, layer in sorted(self.inputs.get(name, []))]
        if late := [layer for layer in given if layer not in self.known]:
            raise ValueError(f"layer {name} takes from layer {late[0]}, which does not come before")
        return tuple(self.stands_for.get(layer, layer) for layer in given)

    def _constant(self, name: str, options: Mapping[str, str]) -> Tensor:
        if options["element_type"] not in _TYPES:
            raise ValueError(
                f"layer {name} holds {options['element_type']}, expected one of {', '.join(_TYPES)}"
            )
        kind, shape = _TYPES[options["element_type"]], _numbers(options["shape"])
        start, size = int(options["offset"]), int(options["size"])
        if size != math.prod(shape) * kind.itemsize or not 0 <= start <= len(self.data) - size:
            raise ValueError(
                f"layer {name}: {size} bytes at {start} for {shape} of {options['element_type']}, "
                f"in a file of {len(self.data)} bytes"
            )
        values = self.data[start : start + size].view(kind).astype(np.float32)
        return torch.from_numpy(values.reshape(shape))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


_REQUIRED = {
    "auto_pad": "explicit",
    "auto_broadcast": "numpy",
    "exclude-pad": "true",
    "rounding_type": "floor",
    "dilations": "1, 1",
}


def _check(name: str, kind: str, options: Mapping[str, str]) -> None:
    for key, value in options.items():
        if key in _REQUIRED and value != _REQUIRED[key]:
            raise ValueError(
                f"layer {name} ({kind}) has {key} = {value}, only {_REQUIRED[key]} is read"
            )
    if options.get("pads_begin") != options.get("pads_end"):
        raise ValueError(f"layer {name} ({kind}) pads one side more than the other")


def _convolve(given: Sequence[Tensor], options: Mapping[str, str]) -> Tensor:
    x, kernel = given
    stride, pad = _numbers(options["strides"]), _numbers(options["pads_begin"])
    return F.conv2d(x, kernel, stride=stride, padding=pad)


def _convolve_groups(given: Sequence[Tensor], options: Mapping[str, str]) -> Tensor:
    x, kernel = given  # (groups, out, in, H, W), out and in of one group
    stride, pad = _numbers(options["strides"]), _numbers(options["pads_begin"])
    return F.conv2d(x, kernel.flatten(0, 1), stride=stride, padding=pad, groups=len(kernel))


def _pool(given: Sequence[Tensor], options: Mapping[str, str]) -> Tensor:
    return F.avg_pool2d(
        given[0],
        _numbers(options["kernel"]),
        _numbers(options["strides"]),
        _numbers(options["pads_begin"]),
        count_include_pad=False,
    )


#: What each kind of layer does with its inputs and its options.
OPERATIONS: Mapping[str, Callable[[Sequence[Tensor], Mapping[str, str]], Tensor]] = {
    "Add": lambda given, _: given[0] + given[1],
    "Multiply": lambda given, _: given[0] * given[1],
    "PReLU": lambda given, _: F.prelu(given[0], given[1].flatten()),
    "Sigmoid": lambda given, _: given[0].sigmoid(),
    "Convolution": _convolve,
    "GroupConvolution": _convolve_groups,
    "AvgPool": _pool,
}
