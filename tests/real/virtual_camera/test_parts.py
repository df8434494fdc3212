"""The parts of the check that can be had without libcamera: they compile and agree."""

import re
import shutil
import subprocess
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.real.virtual_camera import scene, surface

HERE = Path(__file__).parent


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_shim_gives_memory_for_heaps_and_leaves_files_alone(tmp_path):
    shim = tmp_path / "dmashim.so"
    build = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(shim)]
    subprocess.run([*build, str(HERE / "dmashim.c"), "-ldl"], check=True)
    plain = tmp_path / "file"
    code = f"""
import fcntl, os, struct
heap = os.open("/dev/dma_heap/system", os.O_RDWR)
asked = bytearray(struct.pack("QIIQ", 12345, 0, os.O_RDWR, 0))
fcntl.ioctl(heap, 0xC0184800, asked)
buffer = struct.unpack("QIIQ", asked)[1]
assert os.fstat(buffer).st_size == 12345
fcntl.ioctl(buffer, 0x40086200, struct.pack("Q", 1))
made = os.open({str(plain)!r}, os.O_CREAT | os.O_WRONLY, 0o640)
assert os.fstat(made).st_mode & 0o777 == 0o640
try:
    fcntl.ioctl(made, 0x40086299, 0)
except OSError:
    pass
else:
    raise SystemExit("an ioctl that is not ours was swallowed")
"""
    subprocess.run(
        [shutil.which("python3") or "python3", "-c", f"import os; os.umask(0)\n{code}"],
        env={"LD_PRELOAD": str(shim)},
        check=True,
    )


def test_scene_and_camera_have_the_same_size_and_file():
    text = (HERE / "virtual.yaml").read_text()
    width, height = (int(re.search(rf"{n}: (\d+)", text)[1]) for n in ("width", "height"))
    assert (width, height) == scene.SIZE
    assert width * height // 2 % 4096 == 0  # the smaller plane of NV12 is whole pages
    work = re.search(r"^work=(\S+)", (HERE / "run").read_text(), re.MULTILINE)[1]
    assert f'path: "{work}/scene.jpg"' in text


def test_peak_of_the_scene_survives_the_jpeg_and_tells_every_flip(tmp_path):
    scene.write(tmp_path / "scene.jpg")
    picture = scene.shown(tmp_path / "scene.jpg")
    height, width = picture.shape
    row, column = scene.PEAK
    assert (width, height) == scene.SIZE
    assert np.argwhere(picture == picture.max()).tolist() == [[row, column]]
    others = {(height - 1 - row, column), (row, width - 1 - column), (column, row)}
    assert scene.PEAK not in others


def test_script_is_valid_bash():
    subprocess.run(["bash", "-n", str(HERE / "run")], check=True)


def test_surface_tells_what_is_missing_and_what_differs():
    class Status(IntEnum):
        Ready = 1

    class Camera:
        def start(self, controls):
            """start(self: libcamera.Camera, controls: dict[Id, int] = {}) -> None"""

        def stop(self):
            """stop(self: libcamera.Camera) -> None"""

    identity = SimpleNamespace(type=SimpleNamespace(name="Float"))
    library = SimpleNamespace(Status=Status, Camera=Camera, Gain=identity)
    described = {
        "Status": {},
        "Status.Ready": {"value": 1},
        "Status.Gone": {"value": 2},
        "Camera": {},
        "Camera.start": {"takes": [0, 1]},
        "Camera.stop": {"takes": [0, 0]},
        "Gain": {"type": "Float"},
    }
    found = dict(surface.differences(described, library))
    assert found == {"Status.Gone": "is not in libcamera"}
    wrong = {
        "Status.Ready": {"value": 2},
        "Camera.start": {"takes": [1, 2]},
        "Camera.stop": {"takes": [1, 1]},
        "Gain": {"type": "Bool"},
    }
    assert set(dict(surface.differences(described | wrong, library))) == {"Status.Gone", *wrong}
