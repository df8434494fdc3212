"""Readers of pairs: every layout, every refusal, and the recogniser job on a small list."""

import csv
import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from anonymizer.colour import decode_srgb
from experiments.data import DataError
from experiments.data.pairs.folders import FolderPairs
from experiments.data.pairs.listed import ListedPairs
from experiments.data.pairs.packed import PackedPairs, read_plain_pickle


def picture(shade, side=112):
    """Return a PNG file of one shade."""
    out = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), shade, np.uint8)).save(out, "PNG")
    return out.getvalue()


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def listed(folder, side=112):
    """Write two folds of four pairs of four people each, two pictures a person."""
    index, pairs = [], []
    with zipfile.ZipFile(folder / "crops.zip", "w") as archive:
        for p in range(8):
            for k in range(2):
                name = f"P{p}_{k}.png"
                archive.writestr(name, picture(16 * p + k, side))
                index.append(
                    {"identity": f"P{p}", "image": name, "aligned112": f"crops.zip:{name}"}
                )
    for p in range(8):
        other = p - p % 4 + (p + 1) % 4
        for same, b in ((1, p), (0, other)):
            row = {"fold": 1 + p // 4, "same": same, "a": f"P{p}_0.png", "b": f"P{b}_1.png"}
            pairs.append(row)
    write_csv(folder / "pairs.csv", pairs)
    write_csv(folder / "index.csv", index)
    return ListedPairs(folder, pairs="pairs.csv", index="index.csv")


def test_listed_pairs_name_people_folds_and_pictures(tmp_path):
    found = listed(tmp_path).read()
    assert len(found.names) == 16
    assert found.same.tolist() == [True, False] * 8
    assert found.fold.tolist() == [1] * 8 + [2] * 8
    assert ((found.people[:, 0] == found.people[:, 1]) == found.same).all()
    a, b = found.pairs[1]
    assert (found.names[a], found.names[b]) == ("P0_0.png", "P1_1.png")


def test_pictures_come_as_linear_light(tmp_path):
    found = listed(tmp_path).read()
    row = found.names.index("P5_1.png")
    faces = found.faces([row, 0])
    assert faces.shape == (2, 3, 112, 112)
    torch.testing.assert_close(faces[0, 0, 0, 0], decode_srgb(torch.tensor(81 / 255)))


def test_picture_that_is_no_aligned_crop_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"P0_0.png has 100 x 100 px.*112"):
        listed(tmp_path, side=100).read().faces([0])


@pytest.mark.parametrize(
    ("file", "old", "new", "text"),
    [
        ("index.csv", "P3_1.png", "P3_7.png", "lacks 2 pictures"),
        ("pairs.csv", "1,1,", "1,yes,", "same = 'yes'"),
        ("pairs.csv", "2,1,", "two,1,", "fold = 'two'"),
        ("index.csv", "aligned112", "somewhere", "has no aligned112"),
        ("index.csv", "crops.zip:P3", "../crops.zip:P3", "names '../crops.zip'"),
        ("index.csv", "crops.zip:P3", "P3", "names ''"),
    ],
)
def test_lists_that_do_not_fit_are_refused(tmp_path, file, old, new, text):
    layout = listed(tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=text):
        layout.read()


def test_absent_list_says_where_to_name_it(tmp_path):
    with pytest.raises(DataError, match=r"pairs\.root"):
        ListedPairs(tmp_path, pairs="pairs.csv", index="index.csv").read()


def test_folder_pairs_follow_lfws_list(tmp_path):
    lines = ["2\t1", "Ada\t1\t2", "Ada\t2\tBob\t1", "Cid\t1\t2", "Cid\t1\tDee\t1"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    for name, shade in (("Ada", 10), ("Bob", 20)):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}_0001.jpg").write_bytes(picture(shade))
    found = FolderPairs(tmp_path, pairs="pairs.txt").read()
    assert found.same.tolist() == [True, False, True, False]
    assert found.fold.tolist() == [0, 0, 1, 1]
    assert ((found.people[:, 0] == found.people[:, 1]) == found.same).all()
    bob = found.names.index("Bob/Bob_0001.jpg")
    torch.testing.assert_close(found.faces([bob])[0, 0, 0, 0], decode_srgb(torch.tensor(20 / 255)))
    with pytest.raises(DataError, match="Cid"):
        found.faces([found.names.index("Cid/Cid_0001.jpg")])


def packed(folder, content, protocol=4):
    path = folder / "agedb_30.bin"
    path.write_bytes(pickle.dumps(content, protocol))
    return PackedPairs(path)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("outer", [tuple, list])
def test_packed_pairs_of_every_protocol(tmp_path, protocol, outer):
    # two pictures are one object, as a pickle stores what occurs twice once
    pictures = [picture(k // 2) for k in range(48)]
    pictures[7] = pictures[3]
    same = [k % 3 == 0 for k in range(24)]
    found = packed(tmp_path, outer((pictures, same)), protocol).read()
    assert found.same.tolist() == same
    assert [found.encoded(i) for i in range(48)] == pictures
    assert np.bincount(found.fold).tolist() == [3, 2, 3, 2, 2] * 2
    assert ((found.people[:, 0] == found.people[:, 1]) == found.same).all()
    assert not found.named
    assert found.faces([5]).shape == (1, 3, 112, 112)


def test_pickle_of_python_2_is_read():
    """Protocol 2 strings are bytes there: "\\xff" is one byte, not two."""
    text = b"\x80\x02]q\x00(U\x02\xff\x00q\x01U\x01aq\x02e."
    assert read_plain_pickle(text) == [b"\xff\x00", b"a"]


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a test set ran code",))


@pytest.mark.parametrize(
    "content",
    [
        ([Trap()] * 40, [True] * 20),
        ([np.zeros(3)] * 40, [True] * 20),
        ({"a": 1}, []),
        ([b"x"] * 40, [1] * 20),
        ([b"x"] * 39, [True] * 20),
        [b"x"],
    ],
)
def test_pickles_of_anything_else_are_refused_and_never_run(tmp_path, content):
    with pytest.raises(DataError, match=r"agedb_30\.bin"):
        packed(tmp_path, content).read()


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_truncated_pickle_is_refused(tmp_path, cut):
    layout = packed(tmp_path, ([picture(1)] * 40, [True] * 20))
    layout.root.write_bytes(layout.root.read_bytes()[:-cut])
    with pytest.raises(DataError, match="not a packed test set"):
        layout.read()


@pytest.mark.parametrize("data", [b"", b"a.", b"(].e.", b"e.", b"h\x00.", b"0."])
def test_damaged_pickles_never_raise_anything_but_value_errors(data):
    with pytest.raises(ValueError, match=r"damaged|exhausted|opcode|pickle"):
        read_plain_pickle(data)
