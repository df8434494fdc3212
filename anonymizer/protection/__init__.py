"""Protection of photographs that were already taken: the digital stack.

- `method`: what every method can be asked for; `training`: what its training needs
- `obfuscators`: what hides a face without a key; `obfuscation`: that alone, as a method;
  `swapping`: published networks for it
- `proface`: recognisable obfuscation; `embedder`, `triplets`, `pose_crops`
- `secure_flow`: obfuscation undone with a key; `flow`, `wavelets`, `key_maps`,
  `secure_flow_training`, `resemblance`, `utility`
- `compensated`, `compensation`, `compensation_training`: obfuscation beside features for a server;
  `feature_codec`, `feature_shuffle`
- `identity_transformer`: another identity for each password; `identity_networks`,
  `identity_training`
"""

from anonymizer.protection.compensated import CompensatedRecognizer, Compensation
from anonymizer.protection.compensation_training import CompensationTraining
from anonymizer.protection.identity_training import IdentityTraining
from anonymizer.protection.identity_transformer import IdentityTransformer, search_seconds
from anonymizer.protection.method import Capabilities, Protection, load_protection
from anonymizer.protection.proface import ProFace, ProFaceTraining
from anonymizer.protection.secure_flow import ProFaceS
from anonymizer.protection.secure_flow_training import (
    CoverRecovery,
    NoiseRecovery,
    ProFaceSTraining,
)
from anonymizer.protection.training import FaceBatch, Trainable
from anonymizer.protection.utility import AttributeHead, AttributeUtility, IdentityUtility

__all__ = [
    "AttributeHead",
    "AttributeUtility",
    "Capabilities",
    "CompensatedRecognizer",
    "Compensation",
    "CompensationTraining",
    "CoverRecovery",
    "FaceBatch",
    "IdentityTraining",
    "IdentityTransformer",
    "IdentityUtility",
    "NoiseRecovery",
    "ProFace",
    "ProFaceS",
    "ProFaceSTraining",
    "ProFaceTraining",
    "Protection",
    "Trainable",
    "load_protection",
    "search_seconds",
]
