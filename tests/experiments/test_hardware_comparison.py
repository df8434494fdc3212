"""Masks of exported files in the place of the design's own."""

import pytest
import torch

from experiments.exporting import design_of, write_files
from experiments.hardware_comparison import exported_camera
from experiments.store import ArtifactError, save_json
from hardware.errors import HardwareError
from hardware.fabrication.findings import Report
from hardware.fabrication.sag import Sag
from tests.calibration.bench_stacks import small_design


@pytest.mark.parametrize("faces", ["object", "sensor"])
def test_a_mask_that_was_exported_shows_what_its_design_shows(tmp_path, faces):
    pytest.importorskip("h5py")
    design = small_design()
    save_json(tmp_path / "run.json", {"job": "export", "state": "finished"})
    save_json(tmp_path / "config.json", {"target": {"_target_": "hardware.fabrication.sag.Sag"}})
    drawn = design_of(design, name="mask")
    write_files(Sag(), drawn, Report(()), tmp_path / "mask", faces=faces, force=False)
    camera = exported_camera(str(tmp_path), design)
    with torch.no_grad():
        torch.testing.assert_close(camera.psf([0.3]), design.psf([0.3]), rtol=0, atol=1e-6)
    next((tmp_path / "mask").glob("*.h5")).write_bytes(b"another")
    with pytest.raises((ArtifactError, HardwareError)):
        exported_camera(str(tmp_path), design)
