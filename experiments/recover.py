"""Open the vaults of protected pictures and clips, or check them without a password.

Hash and signature of every vault are checked before a password is tried, with the producer's
public key: the one beside the vaults, or better one that came another way.

    ./lab recover source=runs/protect/latest/protected key_file=my.key
    ./lab recover source=runs/protect/latest/protected verify=true        no password
    ./lab recover rekey source=runs/protect/latest/protected key_file=my.key new_key_file=new.key
"""

import logging
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from anonymizer.vault import (
    PROFILES,
    Header,
    Keyholder,
    VaultError,
    Verifier,
    admit,
    change_recipients,
    open_content,
    payload,
)
from experiments.launch import run_job
from experiments.protect import open_method
from experiments.recovering import Opener, list_vaults, protected_file
from experiments.settings import Settings, SettingsError, build
from experiments.store import (
    ArtifactError,
    append_jsonl,
    atomic_write,
    read_jsonl,
    save_json,
    write_manifest,
)
from experiments.vault_files import (
    PUBLIC_KEY,
    Workshop,
    read_secret,
    read_verifier,
    require_payload,
    verify_file,
)

JOURNAL = "journal.jsonl"

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Recover, verify or lock anew what lies in `source`."""
    vaults = list_vaults(Path(settings["source"]))
    verifier = open_verifier(settings, vaults)
    if settings["verify"] or settings["what"] == "verify":
        verify_all(vaults, verifier, run)
    elif settings["what"] == "rekey":
        rekey_all(vaults, verifier, settings)
    else:
        recover_all(vaults, verifier, settings, run)


def verify_all(vaults: list[Path], verifier: Verifier, run: Path) -> None:
    """Check all vaults and the files they belong to; raise for the first that is not sound."""
    failed: list[tuple[Path, VaultError | ArtifactError]] = []
    for vault in vaults:
        try:
            header = verify_file(vault, verifier)
            with vault.open("rb") as file:
                require_payload(protected_file(vault, header), payload(file))
        except (VaultError, ArtifactError) as error:
            log.warning("%s", error)
            failed.append((vault, error))
    save_json(run / "metrics.json", {"vaults": len(vaults), "vaults_refused": len(failed)})
    if failed:
        kind, first = type(failed[0][1]), failed[0][1]
        raise kind(f"{len(failed)} of {len(vaults)} vaults are not sound; the first: {first}")
    log.info("%d vaults are as their producer signed them", len(vaults))


def recover_all(vaults: list[Path], verifier: Verifier, settings: Settings, run: Path) -> None:
    """Recover everything into the run folder, going on where the journal ends."""
    first = verify_file(vaults[0], verifier)
    method = None if first.mode == "aead" else open_method(settings)
    holder = Keyholder(read_secret(_path(settings["key_file"]), new=False))
    opener = Opener(holder, verifier, method, build(settings["limits"]))
    journal = run / JOURNAL
    done = {entry["vault"] for entry in read_jsonl(journal)} if journal.exists() else set()
    silent = None if settings["progress"] else True
    with (
        logging_redirect_tqdm(),
        tqdm(total=len(vaults), initial=len(done), unit="vault", disable=silent) as bar,
    ):
        for vault in vaults:
            if vault.stem in done:
                continue
            opener.recover(vault, run / "recovered", step=bar.refresh)
            append_jsonl(journal, {"vault": vault.stem})
            bar.update()
    save_json(run / "metrics.json", {"vaults": len(vaults)})
    log.info(
        "%d recovered, %s", len(vaults),
        "each as its original was" if first.mode == "aead" else "as likenesses",
    )  # fmt: skip
    write_manifest(run, exclude=["run.json", "config.json", "recover.log"])


def rekey_all(vaults: list[Path], verifier: Verifier, settings: Settings) -> None:
    """Give the vaults another lock, in place; pictures and boxes keep every byte."""
    old = Keyholder(read_secret(_path(settings["key_file"]), new=False))
    new = read_secret(_path(settings["new_key_file"]), new=True, environment={})
    if not settings["accept_weak"]:
        new.require_strength()
    holder = Keyholder(new)
    with Workshop(Path(settings["producer"])) as workshop:
        if workshop.producer.verifier.name != verifier.name:
            raise ArtifactError(
                f"producer = {settings['producer']}: another producer made these vaults, and only "
                f"he can sign them anew"
            )
        opened = [(vault, _opened(vault, verifier, old)) for vault in vaults]
        for vault, (header, content) in opened:
            locked, _ = admit(
                header, [holder], stretch=PROFILES[settings["stretch"]], content_key=content
            )
            with vault.open("rb") as file:
                atomic_write(
                    vault,
                    lambda out, file=file, head=locked: change_recipients(  # type: ignore[misc]
                        file, out, head, workshop.producer
                    ),
                )
    log.info("%d vaults open with the new key; older copies of them with the old one", len(vaults))


def _opened(vault: Path, verifier: Verifier, holder: Keyholder) -> tuple[Header, bytes]:
    header = verify_file(vault, verifier)
    if header.mode == "decoy":
        raise SettingsError(f"{vault.name} is a decoy: its keys follow from its password for good")
    return header, open_content(header, holder)


def open_verifier(settings: Settings, vaults: list[Path]) -> Verifier:
    """Return the public key that was named, else the one beside the vaults."""
    if settings["public_key"] is not None:
        return read_verifier(Path(settings["public_key"]))
    return read_verifier(vaults[0].with_name(PUBLIC_KEY))


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if settings["what"] not in ("recover", "verify", "rekey"):
        raise SettingsError(f"what = {settings['what']!r}, expected recover, verify or rekey")
    if settings["stretch"] not in PROFILES:
        raise SettingsError(f"stretch = {settings['stretch']!r}, expected {', '.join(PROFILES)}")
    build(settings["limits"])
    list_vaults(Path(settings["source"]))


if __name__ == "__main__":
    run_job("recover", main, check=check)
