"""Certificates of a fleet: who may read the keys, and what is refused."""

import stat

import pytest

from bench.errors import UsageError
from bench.fleet import certificates


def test_each_role_gets_a_pair_that_only_its_owner_reads(tmp_path):
    files = certificates.make(tmp_path / "certs")
    assert [path.name for path in files] == [
        *("ca.pem", "scheduler.pem", "scheduler-key.pem", "worker.pem", "worker-key.pem"),
        *("client.pem", "client-key.pem"),
    ]
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for role in certificates.ROLES:
        found = certificates.checked(tmp_path / "certs", role)
        assert found.certificate.name == f"{role}.pem"


def test_the_key_of_the_authority_is_nowhere(tmp_path):
    certificates.make(tmp_path)
    keys = [path.name for path in tmp_path.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert sorted(keys) == ["client-key.pem", "scheduler-key.pem", "worker-key.pem"]


def test_nothing_is_overwritten(tmp_path):
    certificates.make(tmp_path)
    before = (tmp_path / "ca.pem").read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        certificates.make(tmp_path)
    assert (tmp_path / "ca.pem").read_bytes() == before


def test_an_expired_certificate_is_refused_with_its_date(tmp_path):
    certificates.make(tmp_path, days=0)
    with pytest.raises(UsageError, match=r"ca\.pem expired on \d+ \w+ 20\d\d") as refused:
        certificates.checked(tmp_path, "worker")
    assert "bench fleet certs" in refused.value.remedy


def test_files_of_two_fleets_do_not_belong_together(tmp_path):
    for name in ("one", "two"):
        certificates.make(tmp_path / name)
    for name in ("worker-key.pem", "ca.pem"):
        (tmp_path / "one" / name).write_bytes((tmp_path / "two" / name).read_bytes())
        said = "is not the key of" if "key" in name else r"is not signed by ca\.pem"
        with pytest.raises(UsageError, match=said):
            certificates.checked(tmp_path / "one", "worker")


def test_a_missing_file_and_a_wrong_one_are_named(tmp_path):
    certificates.make(tmp_path)
    (tmp_path / "worker.pem").write_text("no")
    with pytest.raises(UsageError, match=r"worker\.pem is not a certificate"):
        certificates.checked(tmp_path, "worker")
    (tmp_path / "client-key.pem").unlink()
    with pytest.raises(UsageError, match=r"client-key\.pem: No such file"):
        certificates.checked(tmp_path, "client")
