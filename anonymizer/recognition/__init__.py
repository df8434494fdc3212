"""Face recognition: networks that judge identity and the protocols that judge them.

- `recognizer`: the common interface, flip fusion and the loader
- `mobilefacenet`, `edgeface`, `iresnet`, `inception`, `sphereface`: published networks
- `openvino_ir`: a network read from OpenVINO's files
- `compact`: our own, for synthetic faces
- `heads`: what teaches a network who is who
- `templates`: revocable templates and the gallery that holds them
- `protocol`: all-pairs verification with intervals over people
- `pairs`: given pairs in folds, as LFW lays down
- `ranking`: searches in a gallery, re-identification
- `linkability`: whether templates under different keys can be linked
- `curves`: rates and operating points of two sets of scores
- `published_metrics`: the formulas of PRO-Face and PRO-Face C
"""

from anonymizer.recognition.compact import CompactRecognizer
from anonymizer.recognition.curves import Curve, Estimate, auc, proportion, roc
from anonymizer.recognition.edgeface import EdgeFace
from anonymizer.recognition.heads import AdaFaceHead, AngularHead, ArcFaceHead, CosFaceHead, Head
from anonymizer.recognition.inception import InceptionResNet
from anonymizer.recognition.iresnet import AdaFace, IResNet50, IResNet100
from anonymizer.recognition.linkability import Linkability, linkability
from anonymizer.recognition.mobilefacenet import (
    MobileFaceNet,
    MobileFaceNetProFace,
    MobileFaceNetRelu6,
)
from anonymizer.recognition.openvino_ir import OpenVinoRecognizer, load_openvino
from anonymizer.recognition.pairs import PairVerification, verify_pairs
from anonymizer.recognition.protocol import Verification, verify, worst_case
from anonymizer.recognition.ranking import Ranking, rank_people, reidentified, search_errors
from anonymizer.recognition.recognizer import (
    FACE_SIZE,
    Recognizer,
    flip_fused,
    load_recognizer,
)
from anonymizer.recognition.sphereface import SphereFace
from anonymizer.recognition.templates import Gallery, RotatedTemplate, SignTemplate, Template

__all__ = [
    "FACE_SIZE",
    "AdaFace",
    "AdaFaceHead",
    "AngularHead",
    "ArcFaceHead",
    "CompactRecognizer",
    "CosFaceHead",
    "Curve",
    "EdgeFace",
    "Estimate",
    "Gallery",
    "Head",
    "IResNet50",
    "IResNet100",
    "InceptionResNet",
    "Linkability",
    "MobileFaceNet",
    "MobileFaceNetProFace",
    "MobileFaceNetRelu6",
    "OpenVinoRecognizer",
    "PairVerification",
    "Ranking",
    "Recognizer",
    "RotatedTemplate",
    "SignTemplate",
    "SphereFace",
    "Template",
    "Verification",
    "auc",
    "flip_fused",
    "linkability",
    "load_openvino",
    "load_recognizer",
    "proportion",
    "rank_people",
    "reidentified",
    "roc",
    "search_errors",
    "verify",
    "verify_pairs",
    "worst_case",
]
