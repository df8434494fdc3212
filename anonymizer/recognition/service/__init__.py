"""Recognition of obfuscated faces by another machine: PRO-Face C over HTTP.

The client holds the faces and sends messages of `anonymizer.protection.compensated`; the server
holds templates and answers who is on them. Both know one token, which never travels.

====================  ============================================================================
`signing`             what proves that a request is the token holder's, whole and new
`requests`            what a request holds, and the limits of it
`store`               templates in SQLite, under a key that lies elsewhere
`app`                 what can be asked
`server`              the listening process: limits, TLS
`client`              the other end
====================  ============================================================================
"""

from anonymizer.recognition.service.app import Service
from anonymizer.recognition.service.client import Match, RecognitionClient, ServiceError
from anonymizer.recognition.service.server import RecognitionServer
from anonymizer.recognition.service.signing import Secrets
from anonymizer.recognition.service.store import StoreError, TemplateStore

__all__ = [
    "Match",
    "RecognitionClient",
    "RecognitionServer",
    "Secrets",
    "Service",
    "ServiceError",
    "StoreError",
    "TemplateStore",
]
