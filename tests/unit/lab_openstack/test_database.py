"""A cloud's databases are whole or they do not count."""

from __future__ import annotations

import stat

import pytest

from kuryrctl.lab.layout import Layout
from kuryrctl.lab.openstack import config, database
from kuryrctl.lab.openstack.services import prepare
from kuryrctl.lab.process import Processes
from kuryrctl.lab.stages import Context


@pytest.fixture
def layout(tmp_path):
    return Layout(state=tmp_path / "state", cache=tmp_path / "cache")


def prepared(layout):
    prepare(Context(layout, Processes(layout)))


def leave_behind(layout):
    """What an interrupted first start leaves, of Neutron's database and of OVN's."""
    for name in ("mysql", "mysql.new", "ovn", "etcd"):
        (layout.db / name).mkdir(parents=True)
        (layout.db / name / "half").touch()


def test_half_made_databases_are_wiped_and_the_clusters_are_not(layout):
    leave_behind(layout)

    prepared(layout)

    assert not any((layout.db / name).exists() for name in ("mysql", "mysql.new", "ovn"))
    assert (layout.db / "etcd" / "half").exists()


def test_complete_databases_are_kept_with_their_password(layout):
    prepared(layout)
    password = database.secret(layout)
    leave_behind(layout)
    database.complete_marker(layout).touch()

    prepared(layout)

    assert (layout.db / "mysql" / "half").exists()
    assert (layout.db / "ovn" / "half").exists()
    assert database.secret(layout) == password


def test_a_new_cloud_has_a_new_password_and_new_keys(layout):
    prepared(layout)
    old = (database.secret(layout), (config.keystone_keys(layout) / "fernet-keys" / "1").read_bytes())

    prepared(layout)

    assert old[0] != database.secret(layout)
    assert old[1] != (config.keystone_keys(layout) / "fernet-keys" / "1").read_bytes()


@pytest.fixture
def neutron(layout):
    """A process that stands in for a running Neutron."""
    prepared(layout)
    database.complete_marker(layout).touch()
    processes = Processes(layout)
    processes.start("neutron", ["sleep", "60"])
    yield processes
    processes.stop("neutron")


def test_a_service_runs_on_while_its_configuration_stays(layout, neutron):
    prepared(layout)

    assert neutron.running("neutron")


def test_a_service_whose_configuration_changed_is_stopped_to_be_started_anew(layout, neutron):
    config.config_file(layout, "neutron").write_text("[DEFAULT]\nold = true\n")

    prepared(layout)

    assert not neutron.running("neutron")


def test_only_root_reads_what_holds_a_password(layout):
    prepared(layout)

    secrets = [layout.clouds_yaml, layout.db / "openstack-secret", *layout.etc.rglob("*.conf")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}


def test_a_service_fills_its_database_only_in_a_new_cloud(layout):
    assert database.filling(layout, "neutron")[0] == "--fill"

    database.complete_marker(layout).parent.mkdir(parents=True)
    database.complete_marker(layout).touch()

    assert database.filling(layout, "neutron") == []


def test_a_socket_file_without_a_server_is_no_database(layout):
    config.database_folder(layout).mkdir(parents=True)
    config.database_socket(layout).touch()

    assert not database.greets(Context(layout, Processes(layout)))
