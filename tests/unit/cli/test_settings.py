"""Where option values come from, and that an error says where the bad one stands."""

from __future__ import annotations

import pytest

from kuryrctl.cli import settings
from kuryrctl.cli.config import ValidateConfig
from kuryrctl.cli.settings import load, variable
from kuryrctl.core.config import BadOption, Config, options
from kuryrctl.core.errors import KuryrError
from tests.unit.cli.program import Fakes, run


@pytest.fixture
def file(tmp_path):
    def written(text: str) -> str:
        path = tmp_path / "kuryrctl.yaml"
        path.write_text(text)
        return str(path)

    return written


def test_without_anything_all_are_defaults():
    config, origins = load(None, {}, {})

    assert config == Config()
    assert origins == dict.fromkeys(options(), "default")


def test_options_over_variables_over_the_file(file):
    path = file("{cluster_id: one, port_batch: 5, workers: 3, node: {bridge: br-x}}")

    config, origins = load(path, {"KURYRCTL_CLUSTER_ID": "two", "KURYRCTL_PORT_BATCH": "6"}, {"cluster_id": "three"})

    assert (config.cluster_id, config.port_batch, config.workers, config.node.bridge) == ("three", 6, 3, "br-x")
    assert origins["cluster_id"] == "option --cluster-id"
    assert origins["port_batch"] == "environment KURYRCTL_PORT_BATCH"
    assert origins["workers"] == origins["node.bridge"] == f"file {path}"
    assert origins["router"] == "default"


def test_the_file_can_be_named_by_a_variable(file):
    path = file("workers: 7")

    assert load(None, {"KURYRCTL_CONFIG": path}, {})[0].workers == 7
    assert load(file("workers: 8"), {"KURYRCTL_CONFIG": "/not/there"}, {})[0].workers == 8


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n"])
def test_an_empty_file_sets_nothing(file, text):
    assert load(file(text), {}, {})[0] == Config()


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("service_cidrs", "10.5.0.0/24, fd05::/112", ("10.5.0.0/24", "fd05::/112")),
        ("max_deletes", "null", None),
        ("router", "r1", "r1"),
        ("full_turn_s", "5", 5),
    ],
)
def test_variables_are_typed(path, text, value):
    assert getattr(load(None, {variable(path): text}, {})[0], path) == value


def test_every_option_has_a_variable_of_its_own():
    assert len({variable(path) for path in options()}) == len(options())


def test_an_empty_variable_is_not_given_and_the_labs_are_not_ours():
    assert (
        load(None, {"KURYRCTL_WORKERS": "", "KURYRCTL_LAB_STATE": "/x", "KURYRCTL_LAB": "/x", "PATH": "/bin"}, {})[0]
        == Config()
    )


@pytest.mark.parametrize(
    ("text", "environ", "given", "says"),
    [
        ("port_batch: x", {}, {}, "file {file}: port_batch: expected int, got str"),
        ("pod_network: {cidrs: [10.0.0.0/8, 1]}", {}, {}, "file {file}: pod_network.cidrs[1]: expected str, got int"),
        (
            "pod_network: {nme: x}",
            {},
            {},
            'file {file}: pod_network.nme: there is no such option; did you mean "name"?',
        ),
        ("foo: {a: 1}", {}, {}, "file {file}: foo: there is no such option"),
        ("pod_network: 3", {"KURYRCTL_POD_NETWORK_NAME": "x"}, {}, "file {file}: pod_network: expected a mapping"),
        ("- a\n- b", {}, {}, "{file}: the file must hold a mapping of options, not a list"),
        ("a: [", {}, {}, "{file} is not YAML: "),
        ("a: \x00", {}, {}, "{file} is not YAML: "),
        ("", {"KURYRCTL_WORKERS": "x"}, {}, 'environment variable KURYRCTL_WORKERS: "x" is refused'),
        ("", {"KURYRCTL_WORKERS": "0"}, {}, 'environment variable KURYRCTL_WORKERS: "0" is refused'),
        (
            "",
            {"KURYRCTL_WORKRES": "1"},
            {},
            'KURYRCTL_WORKRES: there is no such option; did you mean "KURYRCTL_WORKERS"?',
        ),
        ("", {"KURYRCTL_NODE_OVSDB": "x"}, {}, "environment KURYRCTL_NODE_OVSDB: node.ovsdb: "),
        ("", {}, {"cluster_id": "A"}, 'option --cluster-id: cluster_id: "A" is not a name'),
    ],
)
def test_an_error_says_where_the_value_stands(file, text, environ, given, says):
    path = file(text)

    with pytest.raises(BadOption) as caught:
        load(path, environ, given)

    assert says.format(file=path) in str(caught.value)


def test_a_value_of_the_file_may_be_put_right_from_outside(file):
    """The file alone is invalid (its pods overlap the default Services); all layers together are not."""
    path = file("pod_network: {cidrs: [10.0.0.0/8]}")

    assert load(path, {"KURYRCTL_SERVICE_CIDRS": "172.20.0.0/16"}, {})[0].service_cidrs == ("172.20.0.0/16",)


def test_a_missing_file_is_named():
    with pytest.raises(KuryrError, match="configuration /not/there cannot be read: No such file") as caught:
        load("/not/there", {}, {})

    assert caught.value.code == "CFG-UNREADABLE"


def validate(*words: str) -> int:
    return run(ValidateConfig, Fakes(Config(), {}), *words)


def test_validating_without_any_file_is_well(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(settings, "DEFAULT_FILE", tmp_path / "kuryrctl.yaml")

    assert validate() == 0
    assert capsys.readouterr().err == "no configuration file: all defaults\n"


def test_the_default_file_is_validated_when_it_is_there(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(settings, "DEFAULT_FILE", tmp_path / "kuryrctl.yaml")
    file("workers: 0")

    assert validate() == 2
    assert "workers: " in capsys.readouterr().err


@pytest.mark.parametrize("words", [["/not/there"], []])
def test_a_file_that_somebody_named_must_be_there(monkeypatch, capsys, words):
    monkeypatch.setenv("KURYRCTL_CONFIG", "/not/there")

    assert validate(*words) == 1
    assert "configuration /not/there cannot be read" in capsys.readouterr().err
