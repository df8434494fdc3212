"""A small simulated rig, and its agent on a free port."""

import json
import socket
import threading
from contextlib import contextmanager

import numpy as np

from hardware.agent import Agent, AgentServer
from hardware.cameras import SensorMode, SimulatedCamera
from hardware.lights import Channel, SimulatedLight
from hardware.motion import Axis, SimulatedStage
from hardware.rig import Rig

MODE = SensorMode("small", (96, 128), 12, "RGGB", 1.55e-6, 60e-6, 5.0, 16.0, 100.0)
TOKEN = "a-token-for-tests-alone"
CLIENT = "0123456789abcdef"


def small_rig(mode=MODE, speed=0.05):
    """A spot that the lamp lights, in focus where z = 10 mm."""
    stage = SimulatedStage(
        {"x": Axis(0, 0.05, speed), "z": Axis(0, 0.1, speed), "tilt": Axis(-0.1, 0.1, 1.0, "rad")}
    )
    light = SimulatedLight({"led": Channel(wavelength=530e-9), "laser": Channel(laser=True)})
    height, width = mode.shape

    def scene(roi):
        rows, columns = np.mgrid[roi.slices]
        spread = 2 + abs(stage._read().position["z"] - 0.01) * 1e3
        r2 = (rows - 0.4 * height) ** 2 + (columns - 0.6 * width) ** 2
        return 2e4 + 3e7 * light.state["led"] / spread**2 * np.exp(-r2 / (2 * spread**2))

    camera = SimulatedCamera(scene, mode)
    return Rig(camera, {"table": stage}, {"lamps": light}, name="simulated rig")


@contextmanager
def serving(rig=None, *, silence=5.0, port=0, token=TOKEN):
    """Serve an agent while the block runs."""
    rig = rig or small_rig()
    server = AgentServer(Agent(rig, silence=silence), port=port, token=token)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
        rig.close()


def exchange(server, head, body=b"", *, timeout=5.0):
    """Send bytes as they are; return what comes back until the server ends the connection."""
    with socket.create_connection(server.server_address[:2], timeout=timeout) as link:
        try:
            link.sendall(head + body)
            link.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused while it was still sending
        received = b""
        try:
            while part := link.recv(65536):
                received += part
        except ConnectionError:
            pass
        return received


def ask(server, method, path, body=None, *, headers=None, client=CLIENT):
    """Send one request; return its status and its JSON."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = {
        "Host": f"127.0.0.1:{server.server_address[1]}",
        "Authorization": f"Bearer {TOKEN}",
        "Veilens-Client": client,
        "Content-Length": str(len(content)),
        "Connection": "close",
        **(headers or {}),
    }
    head = f"{method} {path} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    answer = exchange(server, head.encode() + b"\r\n", content, timeout=30.0)
    top, _, rest = answer.partition(b"\r\n\r\n")
    status = int(top.split()[1])
    return status, json.loads(rest) if rest[:1] == b"{" else rest
