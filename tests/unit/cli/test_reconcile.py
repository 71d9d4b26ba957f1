"""`reconcile` and `cluster init` beside another writer, and the numbers they take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kuryrctl.cli.cluster import ClusterInit
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.cli.reconcile import Reconcile
from tests.unit.cli.program import Fakes, run
from tests.unit.reconcile.site import Site

WRITERS = [Reconcile, ClusterInit]


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def held(site: Site) -> Iterator[Fakes]:
    """A site on which another process has the Lease."""
    other = site.lease()
    other.acquire()
    yield Fakes(site.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)
    other.release()


@pytest.mark.parametrize("command", WRITERS)
def test_who_waits_in_vain_for_the_lease_is_told_so_by_the_exit_code(held, command, capsys):
    assert run(command, held, "--wait", "1") == ExitCode.TIMEOUT
    assert "another writer holds the cluster's lease" in capsys.readouterr().err


@pytest.mark.parametrize("command", WRITERS)
@pytest.mark.parametrize("words", [[], ["--wait", "0"]])
def test_who_does_not_wait_is_refused(held, command, words, capsys):
    assert run(command, held, *words) == ExitCode.FAILED
    assert "[user, KUBE-LEASE-HELD]" in capsys.readouterr().err


@pytest.mark.parametrize("command", WRITERS)
def test_help_names_the_exit_code_of_waiting(site, command):
    assert "124 when --wait was" in " ".join((command.__doc__ or "").split())


@pytest.mark.parametrize(
    ("value", "says"), [("x", '"x" is not a whole number'), ("1.5", "not a whole number"), ("-1", "-1 is negative")]
)
@pytest.mark.parametrize(
    ("command", "option"), [(Reconcile, "--wait"), (Reconcile, "--max-deletes"), (ClusterInit, "--wait")]
)
def test_a_number_that_cannot_work_is_refused_by_a_sentence(command, option, value, says, capsys):
    with pytest.raises(SystemExit) as stop:
        run(command, Fakes(Site(converged=False).config, {}), f"{option}={value}")

    err = capsys.readouterr().err
    assert stop.value.code == ExitCode.USAGE
    assert says in err
    assert f"argument {option}: " in err
