"""What the lab's cloud is configured to be."""

from __future__ import annotations

import configparser
import json
from pathlib import Path

import pytest
import yaml

from kuryrctl.cloud.credential import ROLE
from kuryrctl.lab import layout as places
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.openstack import config

LAYOUT = Layout(state=Path("/lab"), cache=Path("/cache"))


def parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, default_section="-", strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep the case of names
    parser.read_string(text)
    return parser


def test_an_option_file_has_oslo_configs_form_of_each_type():
    text = config.ini({"DEFAULT": {"on": True, "off": False, "several": ("a", "b"), "path": Path("/x"), "empty": ""}})

    options = parsed(text)["DEFAULT"]

    assert dict(options) == {"on": "true", "off": "false", "several": "a,b", "path": "/x", "empty": ""}


def test_neutron_and_octavia_speak_to_the_same_ovn_databases():
    neutron, octavia = parsed(config.neutron_conf(LAYOUT, "pw")), parsed(config.octavia_conf(LAYOUT, "pw"))

    for option in ("ovn_nb_connection", "ovn_sb_connection"):
        assert neutron["ovn"][option] == octavia["ovn"][option]
        assert neutron["ovn"][option].startswith("unix:/lab/run/ovn/")


def test_neutron_keeps_tags_of_new_ports_and_knows_quotas_and_pages():
    neutron = parsed(config.neutron_conf(LAYOUT, "pw"))

    assert "tag_ports_during_bulk_creation" in neutron["ml2"]["extension_drivers"].split(",")
    assert all(int(limit) > 0 for limit in neutron["quotas"].values())
    assert int(neutron["DEFAULT"]["pagination_max_limit"]) > 0
    assert neutron["oslo_policy"]["policy_file"] == str(config.policy_file(LAYOUT))


def test_nothing_of_a_service_lies_outside_the_labs_folders():
    for text in (config.keystone_conf(LAYOUT), config.neutron_conf(LAYOUT, "pw"), config.octavia_conf(LAYOUT, "pw")):
        for section in parsed(text).values():
            for value in section.values():
                assert not value.startswith("/") or value.startswith(("/lab/", "/cache/"))


def test_every_cloud_is_a_user_that_keystone_has_in_that_project():
    clouds = yaml.safe_load(config.clouds_yaml("pw"))["clouds"]
    content = json.loads(config.identity_json("pw"))
    roles = {user["name"]: user["roles"] for user in content["users"]}

    assert set(clouds) == {"kuryr", "demo", "admin", "other"}
    for cloud in clouds.values():
        auth = cloud["auth"]
        assert auth["password"] == "pw"
        if auth["username"] != "admin":
            assert auth["project_name"] in roles[auth["username"]]
            assert auth["project_name"] in content["projects"]


def test_the_engine_is_no_administrator_anywhere():
    content = json.loads(config.identity_json("pw"))
    engine = next(user for user in content["users"] if user["name"] == "kuryr")

    assert list(engine["roles"]) == ["demo"]
    assert set(engine["roles"]["demo"]) == {ROLE, "member", "reader", "load-balancer_member"}
    assert ROLE in content["roles"]


@pytest.mark.parametrize(
    ("service", "url"),
    [("network", config.NEUTRON_URL), ("load-balancer", config.OCTAVIA_URL)],
)
def test_the_catalog_names_the_ports_that_the_services_listen_on(service, url):
    services = {each["type"]: each["url"] for each in json.loads(config.identity_json("pw"))["services"]}

    assert services[service] == url
    assert int(url.rpartition(":")[2]) in (places.NEUTRON_PORT, places.OCTAVIA_PORT)
