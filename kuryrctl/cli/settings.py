"""What a command runs with: the valid configuration with the origin of each value, and how to reach cloud and cluster.

A configuration file < ``KURYRCTL_*`` variables < options. Does not know: what a valid value is (`core.config`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_origin

import msgspec

from kuryrctl.core.config import BadOption, Config, nearest, options, parse_config
from kuryrctl.core.errors import Owner, Unavailable

if TYPE_CHECKING:
    from kuryrctl.cloud import Audit, OpenStack
    from kuryrctl.core.saved_world import SavedWorld
    from kuryrctl.kube import Kube, Mutation

DEFAULT_FILE: Final = Path("/etc/kuryrctl/kuryrctl.yaml")
FILE_VARIABLE: Final = "KURYRCTL_CONFIG"
PREFIX: Final = "KURYRCTL_"
OTHER_PREFIXES: Final = ("KURYRCTL_LAB",)
"""Variables that are not options of the configuration: the lab's own."""


@dataclass(frozen=True)
class Settings:
    """A command's surroundings. `cloud` and `kube` connect when they are called, and import their libraries then.

    `region` gives the CloudRegion that OpenStackClient was told to use; None: we run in our own shell, and `cloud_name`
    counts. (It is untyped because only `kuryrctl.cloud` may know openstacksdk's types.) `world`: a saved observation
    that stands for both sides; then nothing is connected to.
    """

    config: Config
    origins: Mapping[str, str]
    cloud_name: str | None = None
    region: Callable[[], Any] | None = None
    kubeconfig: str | None = None
    context: str | None = None
    world: SavedWorld | None = None

    @classmethod
    def of_world(cls, world: SavedWorld, source: str) -> Settings:
        """The surroundings that a saved world was made in; `source` names its file."""
        return cls(world.config, {option: f"world {source}" for option in options()}, world=world)

    def cloud(self, audit: Audit | None = None) -> OpenStack:
        """A session with the cloud; `audit` is told of every mutation. Raises Invalid, Unavailable."""
        from kuryrctl.cloud import connect

        return connect(self.cloud_name, region=self.region() if self.region else None, audit=audit)

    def kube(self, on_mutation: Callable[[Mutation], None] | None = None) -> Kube:
        """The cluster; connects with its first call. Raises Invalid where the kubeconfig cannot be used."""
        from kuryrctl.kube import connect

        return connect(self.kubeconfig, self.context, on_mutation=on_mutation)


@dataclass
class Layers:
    """Values by option path, later layers over earlier ones, each with where it came from."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def put(self, path: str, value: Any, origin: str) -> None:
        """Set one option (a dotted path)."""
        self.values[path] = value
        self.origins[path] = origin

    def nested(self) -> dict[str, Any]:
        """The values as a configuration file would hold them."""
        tree: dict[str, Any] = {}
        for path, value in self.values.items():
            section, _, name = path.rpartition(".")
            parent = tree.setdefault(section, {}) if section else tree
            if isinstance(parent, dict):  # else a scalar stands where a section should: parse_config says so
                parent[name] = value
        return tree


def load(file: str | None, environ: Mapping[str, str], given: Mapping[str, Any]) -> tuple[Config, dict[str, str]]:
    """The valid configuration and where each option's value came from, by path.

    `file`: --config, or None: ``KURYRCTL_CONFIG``, or the default file when there is one. `given`: values of options,
    by path; None means not given. Raises BadOption (naming file, variable or option) or Unavailable (unreadable file).
    """
    layers = Layers()
    path = file or environ.get(FILE_VARIABLE)
    if path or DEFAULT_FILE.exists():
        source = Path(path or DEFAULT_FILE)
        _put_file(layers, read(source), f"file {source}")
    for name, text in environ.items():
        if name.startswith(PREFIX) and name != FILE_VARIABLE and not name.startswith(OTHER_PREFIXES) and text:
            _put_variable(layers, name, text)
    for option, value in given.items():
        if value is not None:
            layers.put(option, value, f"option --{option.replace('_', '-')}")
    return _parse(layers), {option: layers.origins.get(option, "default") for option in options()}


def read(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file, as it stands there. Raises BadOption (not a mapping) or Unavailable (unreadable)."""
    import yaml  # 20 ms that a command without a file does not pay

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Unavailable(
            f"configuration {file} cannot be read: {error.strerror}",
            code="CFG-UNREADABLE",
            owner=Owner.USER,
            hint=f"name an existing file with --config or {FILE_VARIABLE}",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadOption("", f"{file} is not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise BadOption("", f"{file}: the file must hold a mapping of options, not a {type(values).__name__}")
    return values


def validate(file: Path) -> int:
    """How many options a file sets. Raises BadOption, naming the file, when it is no valid configuration by itself."""
    layers = Layers()
    _put_file(layers, read(file), f"file {file}")
    _parse(layers)
    return len(layers.values)


def variable(path: str) -> str:
    """The environment variable of an option: ``node.socket`` is ``KURYRCTL_NODE_SOCKET``."""
    return PREFIX + path.replace(".", "_").upper()


def _put_file(layers: Layers, values: dict[str, Any], origin: str) -> None:
    """Sections are one level deep."""
    for key, value in values.items():
        if isinstance(value, dict):
            for name, inner in value.items():
                layers.put(f"{key}.{name}", inner, origin)
        else:
            layers.put(str(key), value, origin)


def _put_variable(layers: Layers, name: str, text: str) -> None:
    known = {variable(path): path for path in options()}
    if name not in known:
        raise BadOption("", f"environment variable {name}: there is no such option; {nearest(name, known)}")
    kind = options()[known[name]]
    value: Any = [part.strip() for part in text.split(",")] if get_origin(kind) is tuple else text
    try:
        converted = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        why = str(error).replace("`", "")
        raise BadOption("", f'environment variable {name}: "{text}" is refused: {why}') from None
    layers.put(known[name], list(converted) if isinstance(converted, tuple) else converted, f"environment {name}")


def _parse(layers: Layers) -> Config:
    """The valid Config, or BadOption with the place that the bad value came from in front."""
    try:
        return parse_config(layers.nested())
    except BadOption as error:
        option = error.path.partition("[")[0]
        origin = next((origin for path, origin in layers.origins.items() if f"{path}.".startswith(f"{option}.")), "")
        raise BadOption("", f"{origin}: {error}" if origin else str(error), hint=error.hint) from None
