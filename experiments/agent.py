"""Own the devices of a rig and serve them: a live page, captures and moves from other machines.

The page is at the address that is printed; Ctrl-C stops everything and ends it. Over a network
that others use, listen on 127.0.0.1 and come through ssh -L 8765:localhost:8765 <this machine>.

    ./lab agent rig=raspberry_pi
    ./lab agent rig=raspberry_pi host=0.0.0.0 key_file=token     with a token of your own
    ./lab capture rig=remote                                     from the other machine
"""

import logging
import sys
import threading
import time
from pathlib import Path

from experiments.launch import run_job
from experiments.rigs import open_rig
from experiments.settings import Settings, SettingsError
from experiments.store import save_json
from hardware.agent import Agent, AgentServer
from hardware.web import read_token

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Serve until Ctrl-C or SIGTERM; leave the rig dark and still."""
    token = _token(settings)
    begun = time.monotonic()
    with open_rig(settings["rig"]) as rig:
        agent = Agent(rig, silence=settings["silence"])
        server = AgentServer(agent, host=settings["host"], port=settings["port"], token=token)
        thread = threading.Thread(target=server.serve_forever, name="server")
        thread.start()
        try:
            with rig.safety.on_signal():
                _tell(server, chosen=bool(token))
                while True:
                    time.sleep(3600)
        except KeyboardInterrupt as reason:
            log.info("%s", reason)
        finally:
            server.close()
            thread.join()
    metrics = {
        "seconds": time.monotonic() - begun,
        "frames": agent.frames_taken,
        "stops": agent.stops,
    }
    save_json(run / "metrics.json", metrics)


def _tell(server: AgentServer, *, chosen: bool) -> None:
    """Print the address, once; a token that was made goes to the terminal and nowhere else."""
    log.info("serving %s on %s; Ctrl-C ends it", server.agent.rig.name, server.url)
    shown = server.url if chosen else f"{server.url}/#token={server.token}"
    sys.stdout.write(f"{shown}\n")
    sys.stdout.flush()


def _token(settings: Settings) -> str:
    key_file = settings["key_file"]
    return read_token(None if key_file is None else Path(key_file))


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is opened."""
    if settings["what"] != "serve":
        raise SettingsError(f"what = {settings['what']!r}: an agent does nothing but serve")
    if not 0 <= settings["port"] <= 65535:
        raise SettingsError(f"port = {settings['port']}, expected 0 to 65535")
    if not 0.5 <= settings["silence"] <= 60:
        raise SettingsError(f"silence = {settings['silence']:g} s, expected 0.5 s to 60 s")
    _token(settings)


if __name__ == "__main__":
    run_job("agent", main, check=check)
