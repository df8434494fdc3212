"""Readers of data sets on small trees of the same layout."""

import zipfile

import numpy as np
import pytest

from experiments.data.errors import DataError
from experiments.data.layouts.casia import Casia
from experiments.data.layouts.celeba import CelebA
from experiments.data.layouts.celebahq import CelebAHQ
from experiments.data.layouts.ffhq import Ffhq
from experiments.data.layouts.folder import Folder
from experiments.data.layouts.lfw import Lfw, Pair, read_pairs
from experiments.data.layouts.sidecar import read_pts, read_table
from experiments.data.layouts.zip import MemberReader, Zip
from tests.experiments.data.photographs_fakes import encoded, ramp, save
from tests.shared_data import shared


def touch(root, *names):
    for name in names:
        save(root / name, b"x")
    return root


def listed(layout):
    return [(entry.file, entry.person) for entry in layout.entries()]


def archive(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_folder_takes_people_from_sub_folders(tmp_path):
    touch(tmp_path, "Ann/b.png", "Ann/a.jpg", "Ben B/x.webp", "Ben B/notes.txt", ".hidden/a.png")
    touch(tmp_path, "Ann/.DS_Store", "Ann/a.pts", "landmarks.csv")
    assert listed(Folder(tmp_path)) == [
        ("Ann/a.jpg", "Ann"), ("Ann/b.png", "Ann"), ("Ben B/x.webp", "Ben B"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.png", "Ann/a.png"], r"1 files outside any sub-folder \(a\.png\).*data=ffhq"),
        (["notes.txt"], "has no sub-folders"),
        (["all/Ann/a.png", "all/Ben/a.png"], "must be the folder whose sub-folders are people"),
        (["male/a.png", "female/b.png"], "parts of a data set, not people.*data=celebahq"),
    ],
)
def test_folder_explains_other_trees(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        Folder(touch(tmp_path, *files)).entries()


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist; .* data\.root"):
        Folder(tmp_path / "nowhere").entries()


def test_lfw_takes_official_names(tmp_path):
    touch(tmp_path, "Ann_Li/Ann_Li_0002.jpg", "Ann_Li/Ann_Li_0001.jpg", "Bo/Bo_0001.jpg")
    assert listed(Lfw(tmp_path)) == [
        ("Ann_Li/Ann_Li_0001.jpg", "Ann_Li"), ("Ann_Li/Ann_Li_0002.jpg", "Ann_Li"),
        ("Bo/Bo_0001.jpg", "Bo"),
    ]  # fmt: skip


def test_lfw_refuses_a_picture_with_another_name(tmp_path):
    with pytest.raises(DataError, match=r"Ann/Ben_0001\.jpg: LFW names pictures Ann_0001\.jpg"):
        Lfw(touch(tmp_path, "Ann/Ben_0001.jpg")).entries()


def test_lfw_pairs(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("2\t1\nAnn\t1\t4\nAnn\t2\tBo\t1\nBo\t1\t12\nBo\t1\tCy\t3\n")
    assert read_pairs(path) == [
        Pair("Ann/Ann_0001.jpg", "Ann/Ann_0004.jpg", same=True, fold=0),
        Pair("Ann/Ann_0002.jpg", "Bo/Bo_0001.jpg", same=False, fold=0),
        Pair("Bo/Bo_0001.jpg", "Bo/Bo_0012.jpg", same=True, fold=1),
        Pair("Bo/Bo_0001.jpg", "Cy/Cy_0003.jpg", same=False, fold=1),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "line 1"), ("1\nAnn\tx\t2\n", "line 2"), ("2\nAnn 1 2\n", "ends after 1 of 4")],
)
def test_damaged_pairs_name_the_line(tmp_path, text, message):
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_pairs(path)


def test_zip_takes_people_from_member_names(tmp_path):
    path = archive(
        tmp_path / "a.zip",
        {"Ann_Li_0001.jpg": b"x", "deep/007_neutral_front.jpg": b"x", "read.txt": b"x"},
    )
    assert listed(Zip(path)) == [
        ("a.zip:Ann_Li_0001.jpg", "Ann_Li"), ("a.zip:deep/007_neutral_front.jpg", "007"),
    ]  # fmt: skip


def test_zip_reads_all_archives_of_a_folder(tmp_path):
    archive(tmp_path / "b.zip", {"Bo_0001.jpg": b"x"})
    archive(tmp_path / "a.zip", {"Ann_0001.jpg": b"x"})
    assert [person for _, person in listed(Zip(tmp_path))] == ["Ann", "Bo"]


def test_zip_gives_the_five_points_of_aligned_crops(tmp_path):
    path = archive(tmp_path / "a.zip", {"Ann_0001.jpg": b"x"})
    five = Zip(path, aligned=112).entries()[0].five
    np.testing.assert_allclose(five[2], (56.0252, 71.7366), rtol=1e-6)
    assert Zip(path, aligned=0).entries()[0].five is None


def test_zip_names_a_member_without_a_person(tmp_path):
    with pytest.raises(DataError, match=r"a\.zip:face\.jpg: none of the patterns"):
        Zip(archive(tmp_path / "a.zip", {"face.jpg": b"x"})).entries()


@pytest.mark.parametrize("name", ["../Ann_0001.jpg", "/etc/Ann_0001.jpg", "C:/Ann_0001.jpg"])
def test_zip_refuses_members_outside_the_archive(tmp_path, name):
    with pytest.raises(DataError, match="points outside the archive"):
        Zip(archive(tmp_path / "a.zip", {name: b"x"})).entries()


def test_zip_refuses_what_is_no_archive(tmp_path):
    with pytest.raises(DataError, match=r"a\.zip cannot be opened as a ZIP archive"):
        Zip(save(tmp_path / "a.zip", b"<html>")).entries()
    with pytest.raises(DataError, match="no ZIP archive and no folder of them"):
        Zip(tmp_path / "none").entries()


def test_zip_reader_returns_a_member_and_refuses_bombs(tmp_path):
    data = encoded(ramp())
    path = archive(
        tmp_path / "a.zip", {"a.png": data, "bomb.png": bytes(10**6)}, zipfile.ZIP_DEFLATED
    )
    reader = MemberReader()
    assert reader.read(path, "a.png", 10**7) == data
    with pytest.raises(DataError, match="times its size, at most 200"):
        reader.read(path, "bomb.png", 10**7)
    with pytest.raises(DataError, match=r"unpacks to 1\.0 MiB, at most 0 MiB"):
        reader.read(path, "bomb.png", 1000)
    reader.close()


def test_zip_reader_notices_a_changed_byte(tmp_path):
    path = archive(tmp_path / "a.zip", {"a.png": encoded(ramp())})
    data = bytearray(path.read_bytes())
    data[80] ^= 1
    path.write_bytes(data)
    reader = MemberReader()
    with pytest.raises(DataError, match="the archive is damaged here"):
        reader.read(path, "a.png", 10**6)
    reader.close()


def test_a_pattern_without_a_group_is_refused(tmp_path):
    path = archive(tmp_path / "a.zip", {"Ann_0001.jpg": b"x"})
    with pytest.raises(ValueError, match="has no group"):
        Zip(path, people=(".*",)).entries()


@pytest.mark.parametrize("folder", ["", "Anno/"])
def test_celeba_takes_people_and_five_points_from_lists(tmp_path, folder):
    pictures = "Img/img_align_celeba" if folder else "img_align_celeba"
    touch(tmp_path, f"{pictures}/000001.jpg", f"{pictures}/000002.jpg")
    save(tmp_path / f"{folder}identity_CelebA.txt", b"000001.jpg 2880\n000002.jpg 17\n")
    numbers = b"1 2 3 4 5 6 7 8 9 10"
    save(
        tmp_path / f"{folder}list_landmarks_align_celeba.txt",
        b"1\nlefteye_x lefteye_y\n000001.jpg  " + numbers + b"\n",
    )
    first, second = CelebA(tmp_path).entries()
    assert (first.file, first.person) == (f"{pictures}/000001.jpg", "2880")
    np.testing.assert_array_equal(first.five, np.arange(1, 11).reshape(5, 2))
    assert (second.person, second.five) == ("17", None)


def test_celeba_names_what_is_missing_or_damaged(tmp_path):
    with pytest.raises(DataError, match="lacks img_align_celeba/"):
        CelebA(tmp_path).entries()
    touch(tmp_path, "img_align_celeba/1.jpg")
    with pytest.raises(DataError, match=r"lacks identity_CelebA\.txt"):
        CelebA(tmp_path).entries()
    save(tmp_path / "identity_CelebA.txt", b"1.jpg 5\n../../passwd 5\n")
    with pytest.raises(DataError, match="line 2"):
        CelebA(tmp_path).entries()


def test_celebahq_has_domains_and_nobody(tmp_path):
    touch(tmp_path, "female/1.jpg", "male/2.jpg")
    entries = CelebAHQ(tmp_path).entries()
    assert [(e.file, e.person, e.labels["domain"]) for e in entries] == [
        ("female/1.jpg", None, "female"), ("male/2.jpg", None, "male"),
    ]  # fmt: skip


@pytest.mark.parametrize("names", [["1.png", "2.png"], ["00000/1.png", "01000/2.png"]])
def test_ffhq_is_flat_or_numbered(tmp_path, names):
    assert listed(Ffhq(touch(tmp_path, *names))) == [(name, None) for name in names]


def test_ffhq_points_folders_of_people_elsewhere(tmp_path):
    with pytest.raises(DataError, match=r"no numbers \(Ann\).*data=folder"):
        Ffhq(touch(tmp_path, "Ann/1.png")).entries()


def test_casia_takes_numbered_folders(tmp_path):
    touch(tmp_path, "0000045/002.jpg", "0000045/001.jpg", "0000099/001.jpg")
    assert listed(Casia(tmp_path)) == [
        ("0000045/001.jpg", "0000045"), ("0000045/002.jpg", "0000045"),
        ("0000099/001.jpg", "0000099"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="numbers, not 'Ann'"):
        Casia(touch(tmp_path, "Ann/1.png")).entries()


@pytest.mark.parametrize("text", ["a/1.jpg 7\nb/2.jpg 8\n", "1\ta/1.jpg\t7\n1\tb/2.jpg\t8\n\n"])
def test_casia_takes_a_list(tmp_path, text):
    save(tmp_path / "list.lst", text.encode())
    assert listed(Casia(tmp_path, listing="list.lst")) == [("a/1.jpg", "7"), ("b/2.jpg", "8")]


@pytest.mark.parametrize("line", ["a/1.jpg", "../1.jpg 7", "a/1.jpg seven"])
def test_casia_names_the_line_of_a_damaged_list(tmp_path, line):
    save(tmp_path / "list.lst", f"a/0.jpg 1\n{line}\n".encode())
    with pytest.raises(DataError, match="line 2"):
        Casia(tmp_path, listing="list.lst").entries()


def test_a_landmark_table_is_read(tmp_path):
    values = ",".join(str(i / 2) for i in range(136))
    save(tmp_path / "landmarks.csv", f"file,x0,y0\nAnn/a.png,{values}\n".encode())
    points = read_table(tmp_path)["Ann/a.png"]
    np.testing.assert_allclose(points, np.arange(136).reshape(68, 2) / 2)
    assert read_table(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,1,2", "line 2: 2 numbers, expected 136"),
        ("a.png," + ",".join(["1"] * 135 + ["nan"]), "line 2: a coordinate is not finite"),
        ("a.png," + ",".join(["1"] * 135 + ["x"]), "line 2: could not convert"),
        ("a.png" + ",1" * 136 + "\na.png" + ",1" * 136, "line 3: a.png comes a second time"),
    ],
)
def test_a_damaged_landmark_table_names_the_line(tmp_path, row, message):
    save(tmp_path / "landmarks.csv", f"file,x0\n{row}\n".encode())
    with pytest.raises(DataError, match=message):
        read_table(tmp_path)


def test_pts_files_count_from_one(tmp_path):
    body = "\n".join(f"{i + 1} {i + 2}" for i in range(68))
    save(tmp_path / "a.pts", f"version: 1\nn_points: 68\n{{\n{body}\n}}\n".encode())
    points = read_pts(tmp_path / "a.png")
    np.testing.assert_allclose(points[3], (3, 4))
    assert read_pts(tmp_path / "b.png") is None


def test_a_damaged_pts_file_is_named(tmp_path):
    save(tmp_path / "a.pts", b"n_points: 68\n{\n1 2\n}\n")
    with pytest.raises(DataError, match=r"a\.pts: 2 numbers, expected 136"):
        read_pts(tmp_path / "a.png")


def test_the_shared_folders_of_people_are_read():
    entries = Folder(shared("data/faces/dev/lfw")).entries()
    assert (len(entries), len({e.person for e in entries})) == (1293, 431)
    assert listed(Lfw(shared("data/faces/dev/lfw"))) == [(e.file, e.person) for e in entries]
    entries = Folder(shared("data/faces/dev/frll")).entries()
    assert (len(entries), len({e.person for e in entries})) == (720, 72)


def test_the_shared_archives_are_read():
    entries = Zip(shared("data/faces/dev/aligned112")).entries()
    frll = [e for e in entries if e.file.startswith("frll.zip")]
    assert (len(frll), len({e.person for e in frll})) == (432, 72)
    lfw = [e for e in entries if e.file.startswith("lfw_")]
    assert (len(lfw), len({e.person for e in lfw})) == (5681, 2954)


def test_the_shared_domains_are_read_and_not_taken_for_people():
    root = shared("data/celebahq/dev")
    assert {e.labels["domain"] for e in CelebAHQ(root).entries()} == {"female", "male"}
    with pytest.raises(DataError, match="data=celebahq"):
        Folder(root).entries()
    with pytest.raises(DataError, match="data=celebahq"):
        Folder(root.parent).entries()
