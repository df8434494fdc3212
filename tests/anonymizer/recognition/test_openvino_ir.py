"""OpenVINO graphs: arithmetic, gradients, refusals, and the published recogniser."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anonymizer.checkpoints import WeightsError, hash_file
from anonymizer.recognition import OpenVinoRecognizer, auc, load_openvino
from anonymizer.recognition.openvino_ir import read_ir
from tests.anonymizer.published import aligned_pairs, published

EXPLICIT = 'strides="{0}, {0}" dilations="1, 1" pads_begin="{1}, {1}" pads_end="{1}, {1}" '
PADS = EXPLICIT + 'auto_pad="explicit"'


class Graph:
    """Builds the two files of a network layer by layer."""

    def __init__(self, height=10, width=6):
        shape = f"1,3,{height},{width}"
        self.layers = [f'<layer id="0" type="Parameter"><data shape="{shape}"/></layer>']
        self.edges, self.data = [], b""

    def add(self, kind, inputs, data="", version="opset1"):
        name = len(self.layers)
        self.layers.append(
            f'<layer id="{name}" type="{kind}" version="{version}"><data {data}/></layer>'
        )
        # ports in reverse, so that a reader must sort them
        for port, source in reversed(list(enumerate(inputs))):
            self.edges.append(
                f'<edge from-layer="{source}" to-layer="{name}" to-port="{port}" from-port="9"/>'
            )
        return name

    def constant(self, values, kind="f16"):
        raw = np.asarray(values).astype({"f16": "<f2", "f32": "<f4"}[kind]).tobytes()
        shape = ", ".join(map(str, np.shape(values)))
        name = self.add(
            "Const", [],
            f'element_type="{kind}" shape="{shape}" offset="{len(self.data)}" size="{len(raw)}"',
        )  # fmt: skip
        self.data += raw
        return self.add("Convert", [name], 'destination_type="f32"')

    def write(self, folder, result=None):
        if result is not None:
            self.add("Result", [result])
        xml, values = folder / "net.xml", folder / "net.bin"
        text = f"<net><layers>{''.join(self.layers)}</layers><edges>{''.join(self.edges)}</edges>"
        xml.write_text(f'<?xml version="1.0"?>{text}</net>')
        values.write_bytes(self.data)
        return xml, values


def half(shape, seed=0):
    """Random numbers that half precision holds exactly."""
    values = np.random.default_rng(seed).normal(size=shape)
    return values.astype(np.float16).astype(np.float32)


def everything(folder):
    """Return the files of a network with every kind of layer, and the same in plain torch."""
    first, grouped = half((4, 3, 3, 3)), half((2, 3, 2, 3, 1), seed=1)
    slope, bias = half((1,), seed=2), half((1, 6, 1, 1), seed=3)
    g = Graph()
    x = g.add("Convolution", [0, g.constant(first)], PADS.format(2, 1))
    x = g.add("PReLU", [x, g.constant(slope)])
    x = g.add(
        "GroupConvolution", [x, g.constant(grouped, "f32")],
        'strides="1, 1" pads_begin="1, 0" pads_end="1, 0" dilations="1, 1" auto_pad="explicit"',
    )  # fmt: skip
    x = g.add("Add", [x, g.constant(bias)], 'auto_broadcast="numpy"')
    gate = g.add("Sigmoid", [x])
    x = g.add("Multiply", [x, gate], 'auto_broadcast="numpy"')
    x = g.add(
        "AvgPool", [x],
        'kernel="2, 3" strides="2, 1" pads_begin="1, 0" pads_end="1, 0" exclude-pad="true" '
        'auto_pad="explicit" rounding_type="floor"',
    )  # fmt: skip

    def plain(x):
        x = F.prelu(F.conv2d(x, torch.tensor(first), stride=2, padding=1), torch.tensor(slope))
        parts = [
            F.conv2d(part, torch.tensor(k), padding=(1, 0))
            for part, k in zip(x.chunk(2, dim=1), grouped, strict=True)
        ]
        x = torch.cat(parts, dim=1) + torch.tensor(bias)
        return F.avg_pool2d(x * x.sigmoid(), (2, 3), (2, 1), (1, 0), count_include_pad=False)

    return g.write(folder, x), plain


def test_every_kind_of_layer_does_what_torch_does(tmp_path):
    files, plain = everything(tmp_path)
    network = read_ir(*files)
    x = torch.rand(2, 3, 10, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(x), plain(x))


def test_gradients_reach_input_and_constants(tmp_path):
    network = read_ir(*everything(tmp_path)[0]).double()
    x = torch.rand(1, 3, 10, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (x,))
    network(x).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_values_are_forgotten_after_their_last_use_not_before(tmp_path):
    """A value that two later layers share is there for both."""
    g = Graph()
    early = g.add("Sigmoid", [0])
    late = g.add("Sigmoid", [g.add("Sigmoid", [early])])
    files = g.write(tmp_path, g.add("Add", [late, early], 'auto_broadcast="numpy"'))
    x = torch.rand(1, 3, 10, 6)
    expected = x.sigmoid().sigmoid().sigmoid() + x.sigmoid()
    torch.testing.assert_close(read_ir(*files)(x), expected)


def broken(change):
    def write(folder):
        g = Graph()
        return g.write(folder, change(g))

    return write


REFUSED = {
    "another kind of layer": (broken(lambda g: g.add("Softmax", [0])), r"layer 1 is Softmax"),
    "another set of operations": (
        broken(lambda g: g.add("Sigmoid", [0], version="opset8")),
        r"Sigmoid \(opset8\)",
    ),
    "an option that is not read": (
        broken(
            lambda g: g.add(
                "Convolution", [0, g.constant(half((1, 3, 1, 1)))],
                PADS.format(1, 0).replace('dilations="1, 1"', 'dilations="2, 2"'),
            )
        ),
        "dilations = 2, 2",
    ),
    "uneven padding": (
        broken(
            lambda g: g.add(
                "Convolution", [0, g.constant(half((1, 3, 1, 1)))],
                PADS.format(1, 0).replace('pads_end="0, 0"', 'pads_end="1, 1"'),
            )
        ),
        "pads one side",
    ),
    "a layer that takes from a later one": (
        broken(lambda g: g.add("Add", [0, 7])),
        "layer 1 takes from layer 7",
    ),
    "two inputs": (broken(lambda g: g.add("Parameter", [])), "one input"),
    "no result": (lambda folder: Graph().write(folder), "one result"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_read_is_refused_by_name(tmp_path, what):
    write, text = REFUSED[what]
    with pytest.raises(WeightsError, match=text):
        read_ir(*write(tmp_path))


def test_constants_outside_their_file_are_refused(tmp_path):
    (xml, values), _ = everything(tmp_path)
    values.write_bytes(values.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="in a file of"):
        read_ir(xml, values)


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE net [<!ENTITY a "b">]><net>&a;</net>',
        '<!DOCTYPE net SYSTEM "file:///etc/hostname"><net/>',
        "<net><layers>",
        "not XML",
    ],
)
def test_xml_that_defines_entities_or_is_damaged_is_refused(tmp_path, text):
    (xml, values), _ = everything(tmp_path)
    xml.write_text(text)
    with pytest.raises(WeightsError, match=r"net\.xml"):
        read_ir(xml, values)


def test_document_types_hide_in_no_other_encoding(tmp_path):
    (xml, values), _ = everything(tmp_path)
    xml.write_bytes('<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE net><net/>'.encode("utf-16"))
    with pytest.raises(WeightsError, match="utf-8"):
        read_ir(xml, values)


def test_input_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected \(B, 3, 10, 6\)"):
        read_ir(*everything(tmp_path)[0])(torch.rand(1, 3, 6, 10))


def test_recogniser_feeds_the_middle_columns_as_8_bit_blue_green_red(tmp_path):
    """On an image that is constant in each plane: B, G, R times 255, whatever the size."""
    g = Graph(height=16, width=16)
    x = g.add(
        "AvgPool", [0],
        'kernel="16, 16" strides="16, 16" pads_begin="0, 0" pads_end="0, 0" exclude-pad="true" '
        'auto_pad="explicit" rounding_type="floor"',
    )  # fmt: skip
    xml, values = g.write(tmp_path, g.add("Add", [x, g.constant([[[[0.0]]]])]))
    network = load_openvino(
        file=xml.name, sha256=hash_file(xml), constants=values.name,
        constants_sha256=hash_file(values), search=[tmp_path],
    )  # fmt: skip
    assert isinstance(network, OpenVinoRecognizer)
    assert network.dimension == 3
    faces = torch.tensor([0.2, 0.4, 0.6])[None, :, None, None].repeat(1, 1, 112, 112)
    faces[..., :8], faces[..., 104:] = 1.0, 1.0
    torch.testing.assert_close(network.embed(faces), torch.tensor([[153.0, 102.0, 51.0]]))


def test_published_graph_tells_people_apart_and_passes_gradients():
    network = published("recognizer=reid_0095")
    a, b, same, _ = aligned_pairs(step=280)
    a.requires_grad_()
    scores = (network(a) * network(b)).sum(dim=1)
    scores.sum().backward()
    assert torch.isfinite(a.grad).all()
    assert (a.grad[..., 8:104].abs().sum(dim=1) > 0).float().mean() > 0.9
    s = scores.detach().numpy()
    assert auc(s[same], s[~same]) > 0.97  # 15 pairs: none is misjudged
