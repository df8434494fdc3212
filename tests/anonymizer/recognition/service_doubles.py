"""A service with small untrained networks, for tests."""

from datetime import UTC, datetime, timedelta

import torch
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from anonymizer.protection.compensated import CompensatedRecognizer, Compensation
from anonymizer.protection.obfuscators import GaussianBlur
from anonymizer.recognition import CompactRecognizer
from anonymizer.recognition.service import Secrets, Service, TemplateStore
from anonymizer.recognition.service.requests import model_name

TOKEN = "a token for tests, of no use elsewhere"
KEY = bytes(range(32))


def networks(seed=0):
    """Return the protection of both ends, pruned, and the server's recogniser."""
    torch.manual_seed(seed)
    server = CompactRecognizer().eval()
    protection = Compensation(GaussianBlur(), injections=server.stage_shapes).eval()
    images = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        taps = protection.taps(images, protection.protect(images))
    protection.codec.observe(taps, [gain.detach() for gain in protection.client.gains()])
    protection.codec.prune(0.25)
    return protection.requires_grad_(False), server.requires_grad_(False)


def open_store(path, protection, server, key=KEY):
    """Return the store of a server."""
    model = model_name(protection)
    return TemplateStore(path, key, model=model, dimension=server.dimension)


def service(folder, threshold=0.5):
    """Return a service with an empty store in a folder."""
    protection, server = networks()
    return Service(
        protection,
        CompensatedRecognizer(server, protection.client).eval(),
        open_store(folder / "templates.sqlite", protection, server),
        keys=Secrets(TOKEN),
        threshold=threshold,
    )


def self_signed(folder):
    """Return the files of a certificate for localhost and of its key."""
    key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files
