"""./lab protect and ./lab recover: what comes back, what never leaves, and what is refused."""

import copy
import io
import os

import numpy as np
import pytest
from PIL import Image

from anonymizer.vault import VaultError, WrongKey, generate_passphrase, key_file
from experiments import protect, recover
from experiments.composing import compose
from experiments.data.errors import DataError
from experiments.data.pictures import PictureLimits
from experiments.picture_sources import read_picture
from experiments.protecting import Guard
from experiments.settings import Settings, SettingsError, to_si
from experiments.store import ArtifactError, read_json, read_jsonl, verify
from experiments.vault_files import write_private
from tests.experiments.calling import caller
from tests.experiments.protecting_doubles import picture, with_canaries

LIMITS = PictureLimits()


@pytest.fixture(scope="module")
def composed():
    """The settings of both jobs, composed once."""
    return {job: to_si(compose(job, [*MORE[job], "progress=false", "device=cpu"])) for job in MORE}


MORE = {"protect": [], "recover": ["source=out/protected"]}
MODULES = {"protect": protect, "recover": recover}


@pytest.fixture
def run(tmp_path, monkeypatch, composed):
    """A function that checks and runs a job as its command does, in a folder with a key."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").mkdir()
    write_private(tmp_path / "my.key", key_file().encode())

    def call(job, folder, **changes):
        settings = Settings(copy.deepcopy(composed[job]) | {"key_file": "my.key"} | changes)
        MODULES[job].check(settings)
        MODULES[job].main(settings, tmp_path / folder)

    return call


def save(folder, *names):
    for seed, name in enumerate(names):
        Image.fromarray(picture(seed, (40 + 8 * seed, 56))).save(folder / "source" / name)


def protected(run, **changes):
    """Protect the sources, each of which is a face, into the folder `out`."""
    run("protect", "out", **({"source": "source", "whole": True} | changes))


def test_commands_protect_recover_and_refuse(tmp_path, monkeypatch, capsys):
    """From the command line: exit codes, one sentence for a mistake, the names of files."""
    lab = {
        job: caller(job, module, tmp_path, monkeypatch, capsys, "progress=false", "device=cpu")
        for job, module in MODULES.items()
    }
    (tmp_path / "source").mkdir()
    save(tmp_path, "Anna.png", "Bob.png", "c.png")
    for name in ("my.key", "other.key"):
        assert lab["protect"]("what=key", f"key_file={name}")[0] == 0
    words = ("source=source", "whole=true", "key_file=my.key", "hydra.run.dir=out")
    assert lab["protect"](*words)[0] == 0
    code, _, error = lab["recover"](
        "source=out/protected", "key_file=other.key", "hydra.run.dir=wrong"
    )
    assert (code, error.count("\n")) == (4, 1)
    assert "opens none of the 1 locks" in error
    assert not (tmp_path / "wrong/recovered").exists()
    assert lab["recover"]("source=out/protected", "key_file=my.key", "hydra.run.dir=back")[0] == 0
    for number, name in enumerate(("Anna", "Bob", "c"), start=1):
        back = tmp_path / f"back/recovered/{number:05d}_{name}.png"
        original = picture(number - 1, (32 + 8 * number, 56))
        np.testing.assert_array_equal(read_picture(back, LIMITS), original)
        shown = read_picture(tmp_path / f"out/protected/{number:05d}.png", LIMITS)
        # noise over coarse pixels is far from the original everywhere but on the rim
        assert np.abs(shown.astype(int) - original).mean() > 30
    metrics = read_json(tmp_path / "out/metrics.json")
    assert (metrics["files"], metrics["faces"], metrics["files_refused"]) == (3, 3, 0)
    sizes = sum(p.stat().st_size for p in (tmp_path / "out/protected").glob("0*"))
    assert metrics["bytes_sent"] == sizes
    verify(tmp_path / "out")


def test_an_interrupted_folder_goes_on_and_repeats_nothing(tmp_path, monkeypatch, capsys):
    lab = caller("protect", protect, tmp_path, monkeypatch, capsys)
    (tmp_path / "source").mkdir()
    save(tmp_path, "a.png", "b.png", "c.png", "d.png")
    write_private(tmp_path / "my.key", key_file().encode())
    whole, calls = Guard.picture, []

    def interrupted(self, pixels, name, target):
        calls.append(name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(self, pixels, name, target)

    monkeypatch.setattr(Guard, "picture", interrupted)
    words = ("progress=false", "source=source", "whole=true", "key_file=my.key")
    code, out, _ = lab(*words, "hydra.run.dir=out")
    assert code == 130
    assert "resume=true" in out
    first = (tmp_path / "out/protected/00001.veil").read_bytes()
    assert lab("run=out", "resume=true")[0] == 0
    assert calls == ["a.png", "b.png", "c.png", "c.png", "d.png"]
    assert (tmp_path / "out/protected/00001.veil").read_bytes() == first
    assert [entry["number"] for entry in read_jsonl(tmp_path / "out/journal.jsonl")] == [1, 2, 3, 4]
    journal = (tmp_path / "keys/nonces").read_bytes()
    starts = {journal[i : i + 16] for i in range(0, len(journal), 16)}
    assert len(starts) == len(journal) // 16 == 4


def test_no_metadata_of_the_source_survive(run, tmp_path):
    words = with_canaries(tmp_path / "source")
    sources = list((tmp_path / "source").iterdir())
    before = b"".join(path.read_bytes() + path.name.encode() for path in sources)
    before += b"".join(
        Image.open(io.BytesIO(path.read_bytes())).info.get("icc_profile", b"") for path in sources
    )
    assert [word for word in words if word not in before] == []
    protected(run)
    out = list((tmp_path / "out/protected").iterdir())
    assert len(out) == 7
    after = b"".join(path.read_bytes() + path.name.encode() for path in out)
    assert [word for word in words if word in after] == []
    for path in out:
        if path.suffix == ".png":
            assert Image.open(io.BytesIO(path.read_bytes())).info == {}


def test_a_password_is_found_in_no_file_and_no_output(tmp_path, monkeypatch, capsys):
    lab = {
        job: caller(job, module, tmp_path, monkeypatch, capsys) for job, module in MODULES.items()
    }
    (tmp_path / "source").mkdir()
    save(tmp_path, "a.png")
    password = generate_passphrase()
    monkeypatch.setenv("VEILENS_PASSWORD", password)
    said = [lab["protect"]("source=source", "whole=true", "hydra.run.dir=out")]
    monkeypatch.setenv("VEILENS_PASSWORD", "wrong " + password)
    said.append(lab["recover"]("source=out/protected", "hydra.run.dir=wrong"))
    assert [code for code, *_ in said] == [0, 4]
    hay = "".join(out + err for _, out, err in said).encode()
    for path in tmp_path.rglob("*"):
        hay += (path.read_bytes() if path.is_file() else b"") + path.name.encode()
    for word in (password, *password.split("-")):
        assert word.encode() not in hay


def swap_vaults(folder):
    first, second = folder / "00001.veil", folder / "00002.veil"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def change(name, how):
    def apply(folder):
        path = folder / name
        path.write_bytes(how(path.read_bytes()))

    return apply


def resaved(content):
    pixels = np.asarray(Image.open(io.BytesIO(content))).copy()
    pixels[0, 0] ^= 1
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


TROUBLES = {
    "altered vault": (change("00001.veil", lambda c: c[:-500] + b"!" + c[-499:]), "was altered"),
    "truncated vault": (change("00001.veil", lambda c: c[:-1]), "altered|cut short"),
    "empty vault": (change("00001.veil", lambda c: b""), "not a vault"),
    "other version": (change("00001.veil", lambda c: c[:9] + b"\7" + c[10:]), "version 7"),
    "altered picture": (change("00001.png", resaved), "is not the protected file"),
    "missing picture": (lambda folder: (folder / "00001.png").unlink(), "beside its vault"),
    "swapped vaults": (swap_vaults, "is not the protected file"),
    "other producer": (change("producer.pub", lambda c: c[:60] + b"AAAA" + c[64:]), "public key"),
    "no public key": (lambda folder: (folder / "producer.pub").unlink(), "producer.pub"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("verifying", [True, False], ids=["verify", "recover"])
def test_each_trouble_is_one_clear_error_and_nothing_half_written(
    run, tmp_path, trouble, verifying
):
    save(tmp_path, "a.png", "b.png")
    protected(run)
    alter, expected = TROUBLES[trouble]
    alter(tmp_path / "out/protected")
    with pytest.raises((VaultError, ArtifactError), match=expected) as error:
        run("recover", "back", verify=verifying)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "back").rglob("00001*"))


def test_vaults_are_verified_without_any_secret(run, tmp_path, monkeypatch, caplog):
    save(tmp_path, "a.png", "b.png")
    protected(run)
    monkeypatch.setattr(recover, "read_secret", None)
    run("recover", "back", verify=True)
    assert read_json(tmp_path / "back/metrics.json") == {"vaults": 2, "vaults_refused": 0}


def test_another_key_can_take_over_without_touching_a_picture(run, tmp_path):
    save(tmp_path, "a.png")
    protected(run)
    write_private(tmp_path / "new.key", key_file().encode())
    before = (tmp_path / "out/protected/00001.png").read_bytes()
    run("recover", "rekeyed", what="rekey", new_key_file="new.key")
    assert (tmp_path / "out/protected/00001.png").read_bytes() == before
    with pytest.raises(WrongKey):
        run("recover", "back")
    run("recover", "back", key_file="new.key")
    back = read_picture(tmp_path / "back/recovered/00001_a.png", LIMITS)
    np.testing.assert_array_equal(back, picture(0, (40, 56)))


def test_all_recipients_open(run, tmp_path):
    save(tmp_path, "a.png")
    write_private(tmp_path / "other.key", key_file(128).encode())
    protected(run, recipients=["other.key"])
    for number, key in enumerate(("my.key", "other.key")):
        run("recover", f"back{number}", key_file=key)
        assert (tmp_path / f"back{number}/recovered/00001_a.png").exists()


def test_pictures_without_a_face_and_other_files_are_not_passed_on(run, tmp_path, monkeypatch):
    save(tmp_path, "a.png", "b.png")
    (tmp_path / "source/notes.txt").write_text("no picture")
    finder = protect.WholePicture()
    monkeypatch.setattr(
        protect, "open_finder", lambda *_: lambda p: finder(p) if p.shape[0] == 40 else []
    )
    protected(run)
    assert sorted(p.name for p in (tmp_path / "out/protected").iterdir()) == [
        "00001.png", "00001.veil", "producer.pub",
    ]  # fmt: skip
    metrics = read_json(tmp_path / "out/metrics.json")
    assert (metrics["files_refused"], metrics["faces"]) == (2, 1)
    refused = [entry.get("refused") for entry in read_jsonl(tmp_path / "out/journal.jsonl")]
    assert refused == [None, "no face", "not a picture"]


def test_a_single_file_without_a_face_is_an_error(run, tmp_path, monkeypatch):
    save(tmp_path, "a.png")
    monkeypatch.setattr(protect, "open_finder", lambda *_: lambda p: [])
    with pytest.raises(DataError, match="may have been overlooked"):
        protected(run, source="source/a.png")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"vault": "flow"}, "recovers nothing by itself"),
        ({"vault": "safe"}, "expected aead, flow, decoy"),
        ({"source": "nowhere"}, "no such file or folder"),
        ({"source": None}, "name a picture"),
        ({"what": "key", "key_file": None}, "name the file"),
        ({"what": "key"}, "exists"),
        ({"key_file": "none.key"}, "none.key cannot be read"),
        ({"stretch": "low"}, "expected default, high"),
        ({"face_size": 8}, "32 to 1024 px"),
        ({"what": "anything"}, "expected apply"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(run, tmp_path, changes, expected):
    save(tmp_path, "a.png")
    with pytest.raises((ValueError, DataError, ArtifactError), match=expected):
        protected(run, **changes)
    assert not (tmp_path / "out").exists()


def test_passwords_are_no_settings():
    with pytest.raises(SettingsError, match="is not a setting"):
        compose("protect", ["password=secret"])


def test_weak_passwords_are_refused_unless_accepted(run, tmp_path, monkeypatch):
    save(tmp_path, "a.png")
    monkeypatch.setenv("VEILENS_PASSWORD", "sunshine7")
    with pytest.raises(ValueError, match="accept_weak=true") as error:
        protected(run, key_file=None)
    assert "sunshine7" not in str(error.value)
    protected(run, key_file=None, accept_weak=True)
    assert (tmp_path / "out/protected/00001.veil").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_keys_are_private_and_open_ones_are_refused(run, tmp_path):
    save(tmp_path, "a.png")
    assert (tmp_path / "my.key").stat().st_mode & 0o077 == 0
    (tmp_path / "my.key").chmod(0o644)
    with pytest.raises(ArtifactError, match="chmod 600"):
        protected(run)
