"""Face recognition: networks that judge identity and the protocol that judges them.

- `recognizer`: the common interface and the loader
- `mobilefacenet`, `edgeface`: published networks
- `compact`: our own, for synthetic faces
- `protocol`: all-pairs verification with intervals over people
"""

from anonymizer.recognition.compact import CompactRecognizer
from anonymizer.recognition.edgeface import EdgeFace
from anonymizer.recognition.mobilefacenet import MobileFaceNet, MobileFaceNetRelu6
from anonymizer.recognition.protocol import Estimate, Verification, auc, verify, worst_case
from anonymizer.recognition.recognizer import FACE_SIZE, Recognizer, load_recognizer

__all__ = [
    "FACE_SIZE",
    "CompactRecognizer",
    "EdgeFace",
    "Estimate",
    "MobileFaceNet",
    "MobileFaceNetRelu6",
    "Recognizer",
    "Verification",
    "auc",
    "load_recognizer",
    "verify",
    "worst_case",
]
