"""The agent: the process on the laboratory's computer that owns the devices, and its clients.

========================  ========================================================================
`hardware.agent.agent`    a rig with one client in control (`Agent`); `lease`, `preview`, `live`
`hardware.agent.server`   the same over HTTP, with the live page (`AgentServer`); `api`
`hardware.agent.wire`     what travels; its version
`hardware.agent.remote`   the rig seen from the other end (`open_remote`); `client`
========================  ========================================================================
"""

from hardware.agent.agent import Agent
from hardware.agent.client import AgentClient
from hardware.agent.remote import RemoteCamera, RemoteLight, RemoteStage, connect, open_remote
from hardware.agent.server import AgentServer

__all__ = [
    "Agent",
    "AgentClient",
    "AgentServer",
    "RemoteCamera",
    "RemoteLight",
    "RemoteStage",
    "connect",
    "open_remote",
]
