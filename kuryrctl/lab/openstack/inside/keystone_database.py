"""Fills an empty database with Keystone's tables and content: `keystone_database.py CONFIG_FILE`.

Without HTTP: through the API the same content takes ten times as long. It stands in content.json beside CONFIG_FILE:
    {"region": …, "admin_password": …, "identity_url": …, "roles": […], "projects": […],
     "users": [{"name": …, "password": …, "roles": {PROJECT: [ROLE, …]}}],
     "services": [{"type": …, "name": …, "url": …}]}
"""

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import keystone.conf
from keystone.cmd.bootstrap import Bootstrapper
from keystone.common import driver_hints, sql
from keystone.common.provider_api import ProviderAPIs
from keystone.common.sql import upgrades

DOMAIN = "default"
INTERFACES = ("public", "internal", "admin")


def configure(config_file: str) -> None:
    """Read Keystone's configuration as keystone-manage does."""
    keystone.conf.configure()
    sql.initialize()
    keystone.conf.CONF(args=["--config-file", config_file], project="keystone")


def bootstrap(content: dict[str, Any]) -> None:
    """The domain, the roles and the administrator that every Keystone has, and its own endpoints."""
    bootstrapper = Bootstrapper()
    bootstrapper.admin_username = bootstrapper.project_name = bootstrapper.admin_role_name = "admin"
    bootstrapper.admin_password = content["admin_password"]
    bootstrapper.service_name = "keystone"
    bootstrapper.region_id = content["region"]
    bootstrapper.public_url = bootstrapper.internal_url = bootstrapper.admin_url = content["identity_url"]
    bootstrapper.bootstrap()


def add_roles(names: list[str]) -> dict[str, str]:
    """Role ids by name, of the old ones and of those that had to be made."""
    roles = {role["name"]: role["id"] for role in ProviderAPIs.role_api.list_roles(driver_hints.Hints())}
    for name in names:
        if name not in roles:
            roles[name] = uuid.uuid4().hex
            ProviderAPIs.role_api.create_role(roles[name], {"id": roles[name], "name": name})
    return roles


def add_projects(names: list[str]) -> dict[str, str]:
    projects = {}
    for name in names:
        projects[name] = uuid.uuid4().hex
        project = {"id": projects[name], "name": name, "domain_id": DOMAIN, "enabled": True, "description": ""}
        ProviderAPIs.resource_api.create_project(projects[name], project)
    admin = ProviderAPIs.resource_api.get_project_by_name("admin", DOMAIN)
    return {**projects, "admin": admin["id"]}


def add_user(user: dict[str, Any], projects: dict[str, str], roles: dict[str, str]) -> None:
    if user["name"] == "admin":
        user_id = ProviderAPIs.identity_api.get_user_by_name("admin", DOMAIN)["id"]
    else:
        reference = {"name": user["name"], "password": user["password"], "domain_id": DOMAIN, "enabled": True}
        user_id = ProviderAPIs.identity_api.create_user(reference)["id"]
    for project, names in user["roles"].items():
        for name in names:
            ProviderAPIs.assignment_api.add_role_to_user_and_project(user_id, projects[project], roles[name])


def add_service(service: dict[str, str], region: str) -> None:
    service_id = uuid.uuid4().hex
    reference = {"id": service_id, "type": service["type"], "name": service["name"], "enabled": True}
    ProviderAPIs.catalog_api.create_service(service_id, reference)
    for interface in INTERFACES:
        endpoint_id = uuid.uuid4().hex
        endpoint = {
            "id": endpoint_id,
            "service_id": service_id,
            "interface": interface,
            "url": service["url"],
            "region_id": region,
            "enabled": True,
        }
        ProviderAPIs.catalog_api.create_endpoint(endpoint_id, endpoint)


def main() -> None:
    content = json.loads(Path(sys.argv[1]).with_name("content.json").read_text())
    configure(sys.argv[1])
    upgrades.offline_sync_database_to_version()
    bootstrap(content)
    roles = add_roles(content["roles"])
    projects = add_projects(content["projects"])
    for user in content["users"]:
        add_user(user, projects, roles)
    for service in content["services"]:
        add_service(service, content["region"])


if __name__ == "__main__":
    main()
