"""What a person at the terminal gets: words, streams and exit codes."""

from __future__ import annotations

import argparse
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kuryrctl.cli import app, commands, overview
from kuryrctl.cli.base import Command, Lister, ShowOne
from kuryrctl.cli.columns import Age, Joined, Maybe
from kuryrctl.cli.commands import COMMANDS, Entry
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.errors import Invalid, Owner, Quota, Unavailable

ERRORS = {
    "quota": Quota(
        'port of pod shop/web-0 not created: quota "port" is used up',
        code="NET-QUOTA",
        owner=Owner.NEUTRON,
        hint="openstack quota set --ports 600 demo",
        request_id="req-1",
    ),
    "invalid": Invalid("no such pod", code="X-1", owner=Owner.USER),
    "invalid-object": Invalid("the cloud refused it", code="X-2", owner=Owner.NEUTRON),
    "unavailable": Unavailable("Neutron did not answer", code="X-3", owner=Owner.NEUTRON),
    "bug": KeyError("name"),
    "empty": ValueError(),
    "interrupt": KeyboardInterrupt(),
    "pipe": BrokenPipeError(),
    "exit": SystemExit(3),
}


class Fail(Command):
    """Fail as told

    The second paragraph.
    """

    examples = "  kuryrctl test fail quota\n  kuryrctl test fail bug"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("how")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        raise ERRORS[parsed_args.how]


class End(Command):
    """End with a code"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("code", type=int)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        return ExitCode(parsed_args.code)


class Rows(Lister):
    """List with drift"""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        self.exit_code = ExitCode.DRIFT
        logging.getLogger("kuryrctl.test").info("ours")
        logging.getLogger("kuryrctl.test").debug("ours in detail")
        logging.getLogger("urllib3").info("theirs")
        return ("Port", "VLAN", "Groups", "Age"), [("p1", Maybe(None), Joined(("a", "b")), Age(125.5))]


class One(ShowOne):
    """Show with warnings"""

    takes_config = takes_cluster = False

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        self.exit_code = ExitCode.WARNINGS
        return ("Port", "VLAN"), ("p1", Maybe(7))


@pytest.fixture(autouse=True)
def commands_of_this_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, kind in {"test fail": Fail, "test end": End, "test rows": Rows, "test one": One}.items():
        summary = (kind.__doc__ or "").splitlines()[0]
        monkeypatch.setitem(commands.COMMANDS, name, Entry(f"{kind.__module__}:{kind.__name__}", summary))
    root, ours = logging.getLogger(), logging.getLogger("kuryrctl")
    before, levels = list(root.handlers), (root.level, ours.level)
    yield
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def run(*words: str) -> int:
    return int(app.main(list(words)))


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(capsys, words):
    assert run(*words) == 0

    out, err = capsys.readouterr()
    assert all(name in out and entry.summary in out for name, entry in COMMANDS.items())
    assert err == ""


def test_no_word_at_all_is_a_usage_error(capsys):
    assert run() == ExitCode.USAGE

    out, err = capsys.readouterr()
    assert (out, "commands:" in err) == ("", True)


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"kuryrctl {app.__version__}\n"


def test_global_options_of_the_overview_are_those_of_the_parser():
    from kuryrctl.cli.shell import Shell

    parser = Shell("kuryrctl").parser
    named = {word for action in parser._actions for word in action.option_strings}

    assert {word for word in named if word not in overview.GLOBAL_OPTIONS} == set()


@pytest.mark.parametrize("words", [["test"], ["te", "--help"], ["help", "test"]])
def test_a_noun_alone_lists_its_commands(capsys, words):
    code = run(*words)

    printed = "".join(capsys.readouterr())
    assert code == (ExitCode.USAGE if words == ["test"] else ExitCode.OK)
    assert "test fail" in printed
    assert "config show" not in printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tset", "fail"], 'there is no command "tset fail"; did you mean "test fail"?'),
        (["xyzzy"], 'there is no command "xyzzy"; kuryrctl --help lists the commands'),
        (["help", "xyzzy"], 'there is no command "xyzzy"'),
        (["--nonsense", "test", "fail"], "there is no global option --nonsense"),
    ],
)
def test_unknown_words_are_usage_errors_and_stdout_stays_empty(capsys, words, says):
    assert run(*words) == ExitCode.USAGE

    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


@pytest.mark.parametrize("words", [["test", "fail", "--help"], ["help", "test", "fail"], ["te", "fa", "-h"]])
def test_help_of_a_command_teaches_by_examples(capsys, words):
    assert run(*words) == 0

    out = capsys.readouterr().out
    assert "  kuryrctl test fail quota\n  kuryrctl test fail bug" in out
    assert "Fail as told\n\nThe second paragraph." in out
    assert "--kubeconfig" in out


def test_commands_take_only_the_options_they_need(capsys):
    assert run("test", "one", "--help") == 0
    assert "--kubeconfig" not in capsys.readouterr().out
    assert run("test", "one", "--config", "x") == ExitCode.USAGE


def test_an_error_is_what_happened_whose_it_is_and_what_to_do_next(capsys):
    assert run("test", "fail", "quota") == ExitCode.FAILED

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        'kuryrctl: port of pod shop/web-0 not created: quota "port" is used up   [neutron, NET-QUOTA]',
        "  next: openstack quota set --ports 600 demo",
        "  request: req-1",
    ]


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("invalid", ExitCode.USAGE),
        ("invalid-object", ExitCode.FAILED),
        ("unavailable", ExitCode.FAILED),
        ("bug", ExitCode.FAILED),
        ("empty", ExitCode.FAILED),
        ("interrupt", ExitCode.INTERRUPTED),
        ("exit", 3),
    ],
)
def test_exit_codes_of_errors(capsys, how, code):
    assert run("test", "fail", how) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_fault_of_ours_says_so(capsys):
    run("test", "fail", "bug")

    assert capsys.readouterr().err.splitlines() == [
        "kuryrctl: KeyError: 'name'   [kuryrctl, BUG]",
        "  next: this is a fault of kuryrctl: run it again with --debug and report what it prints",
    ]


def test_debug_shows_where(capsys):
    assert run("test", "fail", "bug", "--debug") == ExitCode.FAILED
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("code", [0, 1, 10, 20, 21, 124])
def test_a_command_ends_with_its_code(code):
    assert run("test", "end", str(code)) == code


def test_a_lister_keeps_its_exit_code_and_typed_json(capsys):
    assert run("test", "rows", "-f", "json") == ExitCode.DRIFT
    assert json.loads(capsys.readouterr().out) == [{"Port": "p1", "VLAN": None, "Groups": ["a", "b"], "Age": 125.5}]


def test_a_lister_for_people(capsys):
    assert run("test", "rows") == ExitCode.DRIFT
    assert "| p1   |      | a, b   | 2m  |" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["json", "yaml", "table", "csv", "value"])
def test_every_format_has_the_same_exit_code(capsys, form):
    assert run("test", "rows", "-f", form) == ExitCode.DRIFT
    assert "p1" in capsys.readouterr().out


def test_show_one_keeps_its_exit_code(capsys):
    assert run("test", "one", "-f", "json") == ExitCode.WARNINGS
    assert json.loads(capsys.readouterr().out) == {"Port": "p1", "VLAN": 7}


def test_an_unknown_column_is_named(capsys):
    assert run("test", "rows", "-c", "nope") == ExitCode.FAILED
    assert "No recognized column names in ['nope']" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "messages"),
    [
        (["-q"], []),
        ([], ["ours"]),
        (["-v"], ["ours", "ours in detail"]),
        (["-vv"], ["ours", "ours in detail", "theirs"]),
    ],
)
def test_messages_go_to_stderr_as_loud_as_asked(capsys, flags, messages):
    run("test", "rows", "-f", "json", *flags)

    out, err = capsys.readouterr()
    assert [line for line in err.splitlines() if line in {"ours", "ours in detail", "theirs"}] == messages
    json.loads(out)


def test_libraries_are_not_asked_for_messages_that_nobody_reads():
    run("test", "rows", "-f", "json")

    assert not logging.getLogger("keystoneauth").isEnabledFor(logging.DEBUG)


def test_bash_can_complete(capsys):
    assert run("complete") == 0
    assert "complete -F _kuryrctl kuryrctl" in capsys.readouterr().out


def test_the_log_file_has_everything(tmp_path, capsys):
    run("test", "rows", "-q", "--log-file", str(tmp_path / "log"))

    assert "kuryrctl.test ours in detail" in (tmp_path / "log").read_text()
    assert capsys.readouterr().err == ""


def test_a_log_file_that_cannot_be_written_is_one_sentence(capsys):
    assert run("test", "rows", "--log-file", "/not/there/log") == ExitCode.FAILED
    assert "No such file or directory: '/not/there/log'" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--help", "config show -f json"])
def test_a_closed_pipe_ends_quietly(words):
    program = Path(sys.executable).parent / "kuryrctl"
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {program} {words} | true"], capture_output=True, text=True, check=False
    )

    assert ran.stderr == ""
    assert ran.returncode in {0, ExitCode.BROKEN_PIPE}  # 0: all of it fitted into the pipe before the reader left


@pytest.mark.parametrize(
    ("path", "program"),
    [("/usr/bin/kubectl-kuryr", "kubectl kuryr"), ("kuryrctl", "kuryrctl"), ("/x/__main__.py", "kuryrctl")],
)
def test_the_program_is_called_as_the_user_called_it(path, program):
    out = io.StringIO()
    app.write_overview(out, app.program_name(path))

    assert out.getvalue().startswith(f"usage: {program} COMMAND")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (200000, "2d"), (-3, "0s")],
)
def test_ages(seconds, text):
    assert Age(seconds).human_readable() == text
