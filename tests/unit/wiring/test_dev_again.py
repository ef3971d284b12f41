"""Does a development node that stands there already go on, and is it left alone by what cannot be?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from sealpress.errors import ConfigError
from sealpress.wiring import dev
from sealpress.wiring.certificates import issue, make_authority, write_authority

DAY = timedelta(days=1)
NAMES = ("server", "builder", "stranger")
ADDRESS = '[[listen]]\naddress = "127.0.0.1:7443"\nservices = ["signing"]\n'


def node(directory: Path, lifetime: timedelta, authority: str = "sealpress development CA") -> None:
    """As much of one as has to do with certificates and addresses."""
    (directory / "tls").mkdir()
    (directory / "token").mkdir()
    (directory / "sealpress.toml").write_text(ADDRESS)
    made = make_authority(datetime.now(UTC), authority)
    write_authority(made, directory / "tls" / "ca.pem")
    for name in NAMES:
        issue(made, directory / "tls", name, now=datetime.now(UTC), lifetime=lifetime, server=name == "server")


def read(path: Path) -> x509.Certificate:
    """A certificate."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_node_of_last_year_goes_on(tmp_path: Path) -> None:
    """Its certificates last 90 days, and nobody has its CA's key: they are made anew, for the same names."""
    node(tmp_path, -DAY)

    assert not dev.provision(tmp_path)

    authority = read(tmp_path / "tls" / "ca.pem")
    for name in NAMES:
        found = read(tmp_path / "tls" / f"{name}.pem")
        found.verify_directly_issued_by(authority)
        assert found.not_valid_after_utc > datetime.now(UTC) + DAY
    uris = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert uris.get_values_for_type(x509.UniformResourceIdentifier) == [dev.STRANGER]


@pytest.mark.parametrize(("lifetime", "authority"), [(DAY, "sealpress development CA"), (-DAY, "acme CA")])
def test_other_certificates_stay(tmp_path: Path, lifetime: timedelta, authority: str) -> None:
    """Those that hold, and those that somebody put there."""
    node(tmp_path, lifetime, authority)
    before = read(tmp_path / "tls" / "server.pem")
    dev.provision(tmp_path)

    assert read(tmp_path / "tls" / "server.pem") == before


def test_an_address_that_is_none_makes_nothing(tmp_path: Path) -> None:
    """It would stand in the node's configuration, and the next start without --listen fail as this one does."""
    with pytest.raises(ConfigError, match="--listen 'nonsense': not host:port"):
        dev.provision(tmp_path / "new", "nonsense")
    node(tmp_path, DAY)
    with pytest.raises(ConfigError):
        dev.provision(tmp_path, "127.0.0.1:70000")

    assert ((tmp_path / "sealpress.toml").read_text(), (tmp_path / "new").exists()) == (ADDRESS, False)
