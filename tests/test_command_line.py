"""What holds for every command, those yet to come as well: all are read off the parser.

Help is a page with an example that works, --json prints an object, --quiet nothing, Ctrl-C
leaves no half of a file, and no mistake ends in a traceback.
"""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import engines
import numpy as np
import pytest
from command_line import ok, planted, refused, run, snapshot, write_ratings, write_titles
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shallow_cf as scf
from shallow_cf import cli
from shallow_cf.commands import use
from shallow_cf.solvers.sgd import Factorization
from shallow_cf.solvers.table import Table

PARSER = cli.make_parser()
PAGE = Path(__file__).parents[1] / "docs" / "command_line.md"
#: A number or the address of a cell: these depend on the machine's arithmetic.
NUMBER = re.compile(r"\b[A-Z]{1,3}\d+\b|-?\d+(?:\.\d+)?(?:e[-+]\d+)?")


def need_libreoffice():
    engines.require("libreoffice")
    engines.require("poppler")


#: What examples need that is not installed with us: a function that skips without it.
NEEDS = {
    "screenshot": need_libreoffice,
    "completion": lambda: pytest.importorskip("shtab", reason="shtab writes completion scripts"),
}


#: Ways to ask for the result.
HOW = {"text": (), "json": ("--json",), "quiet": ("--quiet",)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Name -> bytes of the files that examples name as their input."""
    with chdir(tmp_path_factory.mktemp("files")):
        write_ratings("ratings.csv", planted())
        write_titles()
        ok(*example_of("train"))
        ok(*example_of("export"), "--sheets", "bias")
        return snapshot()


@pytest.fixture(autouse=True)
def data_sets(tmp_path_factory, monkeypatch):
    """A cache in which ml-latest-small is there already, so that nothing needs a network."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "ml-latest-small").mkdir()
    write_ratings(cache / "ml-latest-small" / "ratings.csv", planted())
    monkeypatch.setenv("SHALLOW_CF_DATA", str(cache))
    return cache


@pytest.fixture
def folder(files):
    """Those files in the current folder."""
    restore(files)
    return files


def restore(files):
    """Leave nothing but these files here."""
    for name, content in snapshot().items():
        if files.get(name) != content:
            Path(name).unlink()
    for name, content in files.items():
        if not Path(name).exists():
            Path(name).write_bytes(content)


def example_of(command):
    """The example in a command's help, as arguments; skip the test if it cannot work here."""
    if command in NEEDS:
        NEEDS[command]()
    program, *argv = PARSER.commands[command].example.split()
    assert program == "shallow-cf"
    assert argv[0] == command
    return argv


def outputs(argv):
    """The file that a command line writes, if any."""
    return [value for option, value in itertools.pairwise(argv) if option == "-o"]


# --- help -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", PARSER.commands)
def test_help_is_a_page(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = ok(command, "--help").out
    lines = text.splitlines()
    assert len(lines) <= (70 if command in ("train", "evaluate") else 50)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"usage: shallow-cf {command} ")
    assert lines[-1] == f"Example: {PARSER.commands[command].example}"
    assert ok("help", command).out == text
    for action in PARSER.commands[command]._actions:
        assert action.help
        # A default that counts is told, by name or as what it stands for.
        if action.option_strings and action.nargs != 0 and action.default is not None:
            assert "default" in action.help, action.option_strings


@pytest.mark.parametrize("argv", [[], ["help"], ["--help"]])
def test_help_lists_the_commands(argv, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = ok(*argv).out
    assert len(text.splitlines()) <= 40
    for command in PARSER.commands:
        assert re.search(rf"^    {command} +[A-Z].*\.$", text, re.M)  # on one line


#: Examples that take seconds; test_readme.py, test_cli.py and test_screenshot.py have them too.
LONG = ("demo", "screenshot")


@pytest.mark.parametrize(
    ("command", "how"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] * (case[0] in LONG))
        for case in itertools.product(PARSER.commands, HOW)
    ],
)
def test_the_example_works(folder, data_sets, command, how):
    argv = example_of(command)
    for output in outputs(argv):
        Path(output).unlink(missing_ok=True)
    done = ok(*argv, *HOW[how])
    assert all(Path(output).exists() for output in outputs(argv))
    if how == "text":
        cache = str(data_sets)
        assert_on_the_page(command, done.out.replace(cache, "~/.cache/shallow_cf"))
    elif how == "json":
        assert isinstance(done.json, dict)
    else:
        assert done.out == ""


def assert_on_the_page(command, text):
    """The page of the docs shows the command, its example, and what that prints."""
    page = PAGE.read_text(encoding="utf-8")
    section = re.search(rf"^## {command}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    assert section, f"{PAGE.name} has no section on {command}"
    summary = PARSER.commands[command].description.split("\n\n")[0]
    assert summary in " ".join(section[1].split())
    example, shown = re.search(
        r"^```console\n\$ (.*?)\n(.*?)^```", section[1], re.M | re.S
    ).groups()
    assert example == PARSER.commands[command].example
    # "..." stands for the rest.
    start, dots, _ = shown.partition("...\n")
    expected, printed = (NUMBER.sub("#", it).split() for it in (start, text))
    assert expected == (printed[: len(expected)] if dots else printed)


def test_quiet_still_tells_errors(folder):
    assert refused("check", "nothing.xlsx", "--quiet").endswith("No such file or directory")
    assert "not allowed with argument" in refused("check", "book.xlsx", "--quiet", "--json")


def test_every_option_is_called_the_same_everywhere():
    meaning = {}
    for command, parser in PARSER.commands.items():
        for action in parser._actions:
            for option in action.option_strings:
                value = "FILE" if action.metavar == "FOLDER" else action.metavar
                meaning.setdefault(option, {})[command] = (value, action.nargs)
    for option, found in meaning.items():
        assert len(set(found.values())) == 1, (option, found)
    drawing = {"demo", "export", "solve", "train", "evaluate", "synthetic"}
    assert set(meaning["--seed"]) >= drawing
    for option in ("--json", "--quiet"):
        assert set(meaning[option]) == set(PARSER.commands)
    assert set(meaning["--output"]) <= set(meaning["--force"])


# --- completion -----------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("sc", {"screenshot"}),
        ("train --learn", {"--learning-rate"}),
        ("train --solver ", {"sgd", "als", "vb"}),
        ("check bo", {"book.xlsx"}),
    ],
)
def test_bash_completes(folder, typed, offered):
    pytest.importorskip("shtab", reason="shtab writes completion scripts")
    script = ok("completion", "bash").out
    words = ["shallow-cf", *typed.split(" ")]
    ask = (
        'function=$(complete -p shallow-cf | sed "s/.*-F \\([^ ]*\\).*/\\1/")\n'
        f"COMP_WORDS=({' '.join(word or repr('') for word in words)})\n"
        f'COMP_CWORD={len(words) - 1}\n$function shallow-cf\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "--norc"], input=f"{script}\n{ask}", capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert {word.strip() for word in done.stdout.split("\n")} - {""} == offered


def test_completion_without_shtab(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    error = refused("completion", "bash")
    assert error.endswith('needs the package shtab: pip install "shallow_cf[completion]"')


# --- Ctrl-C ---------------------------------------------------------------------------------


def press_ctrl_c(monkeypatch, owner, name, call):
    """Send this process what Ctrl-C sends, at the so-manieth call of a function."""
    function, calls = getattr(owner, name), []

    def pressed(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, pressed)


QUICK = ("--factors", 3, "--batch-size", 8)
SPLIT = ("--split", "random", *QUICK)
NOTHING_KEPT = {
    "demo": (("demo",), Factorization, "gradient", 30),
    "demo later": (("demo",), Table, "differences", 3),
    "evaluate": (("evaluate", "ratings.csv", *SPLIT), Factorization, "gradient", 30),
    "first fold": (("evaluate", "ratings.csv", "--folds", 3, *QUICK), Factorization, "gradient", 9),
    "baselines": (("evaluate", "ratings.csv", "--folds", 3, *QUICK), scf.BiasesOnly, "fit", 3),
    "recommend": (
        ("recommend", "model.npz", "all", "-o", "lists.csv"),
        use.MatrixFactorization, "recommend", 2,
    ),
    "fold-in": (("fold-in", "model.npz", "260=5"), use.MatrixFactorization, "fold_in_user", 1),
}  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("what", NOTHING_KEPT)
def test_ctrl_c_where_there_is_nothing_whole_to_keep(folder, monkeypatch, what):
    argv, owner, name, call = NOTHING_KEPT[what]
    monkeypatch.setattr(use, "_BATCH", 10)
    press_ctrl_c(monkeypatch, owner, name, call)
    done = run(*argv)
    assert (done.status, done.out) == (130, "")
    assert done.err == f"shallow-cf {argv[0]}: interrupted\n"
    assert snapshot() == folder


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_ctrl_c_keeps_the_folds_that_are_done(folder, monkeypatch):
    argv = ("evaluate", "ratings.csv", "--folds", 4, *QUICK)
    whole = ok(*argv, "--json").json
    epochs, per_epoch = 5, -(-len(planted()) * 3 // 4 // 8)
    press_ctrl_c(monkeypatch, Factorization, "gradient", 2 * epochs * per_epoch + 20)
    done = run(*argv, "--json")
    assert (done.status, done.err) == (130, "")
    for name, folds in done.json["folds"].items():
        rmse = [row["rmse"] for row in folds]
        assert rmse == [row["rmse"] for row in whole["folds"][name][:2]]
        assert done.json["results"][name]["rmse"] == pytest.approx(sum(rmse) / 2)
    press_ctrl_c(monkeypatch, Factorization, "gradient", 2 * epochs * per_epoch + 20)
    assert "\nInterrupted after 2 of them.\n" in run(*argv).out


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_ctrl_c_during_export_keeps_what_was_reached(folder, monkeypatch):
    argv = ("export", "ratings.csv", "--factors", 2, "--sheets", "bias", "--solve", "--json")
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, Table, "differences", 5)
        done = run(*argv, "-o", "half.xlsx")
    assert (done.status, done.err) == (130, "")
    assert (done.json["solved"], done.json["output"]) == (False, "half.xlsx")
    start = ok(*argv[:-2], "--json", "-o", "start.xlsx").json["sheets"]
    assert done.json["sheets"]["dotprod"] < start["dotprod"]
    assert done.json["sheets"]["bias"] == start["bias"]  # its turn never came
    ok("check", "half.xlsx")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_ctrl_c_from_outside(folder):
    argv = ["train", "ratings.csv", "-o", "m.npz", "--checkpoint", "run.npz", "--epochs", "1000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "shallow_cf", *argv],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not Path("run.npz").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert re.search(r"^Interrupted after \d+ epochs?\.$", out, re.M)
    assert set(snapshot()) == {*folder, "m.npz", "run.npz"}
    ok("recommend", "m.npz", 17)


# --- mistakes -------------------------------------------------------------------------------

NAMES = [
    "", ".", "/", "ratings.csv", "movies.csv", "book.xlsx", "model.npz", "missing.csv",
    "no/such.npz", "noise.csv", "noise.npz", "noise.xlsx", "empty.csv", "half.xlsx", "strange.csv",
    "Zoë 東京.csv", "a\0b", "x" * 300, "out.xlsx", "out.npz", "out.csv", "-",
]  # fmt: skip
NUMBERS = ["", "0", "-1", "1", "2", "1.5", "nan", "inf", "-inf", "1e308", "1e-320", "9" * 30,
           "-0", "two", "\uff11\uff17", "0x10", "1_0", " 3"]  # fmt: skip
#: What would run until the end of days: the number of steps is the user's to say.
PATIENT = {"--epochs", "--iterations"}
TEXTS = ["", "17", "260", "all", "dotprod", "bias", "none", "H2:V16", "A0:XFE9999999", "260=5",
         "260=nan", "260=", "=5", "260=5=5", "userId", "movieId", "\udcff", "é" * 50]  # fmt: skip


#: What takes other programs or the network, or two seconds for each way to call it wrongly.
LEFT_OUT = ("screenshot", "demo", "download")


def odd_values(action, option):
    """Values for an argument, most of which make no sense."""
    values = list(action.choices or ())
    is_number = "number" in getattr(action.type, "__name__", "") or action.type in (int, float)
    if is_number or action.metavar == "SHARE":
        values += [it for it in NUMBERS if option not in PATIENT or len(it) < 20]
    elif action.type is not None or action.metavar == "FILE":
        values += NAMES
    else:
        values += TEXTS
    return st.sampled_from(values)


@st.composite
def command_lines(draw):
    """A command with odd values in its arguments, some of them missing."""
    command = draw(st.sampled_from([it for it in PARSER.commands if it not in LEFT_OUT]))
    actions = PARSER.commands[command]._actions
    argv = [command]
    for action in actions:
        if not action.option_strings:
            count = draw(st.sampled_from([1, 1, 1, 1, 0, 2]))
            argv += [draw(odd_values(action, "")) for _ in range(count)]
    options = [it for it in actions if it.option_strings and it.dest != "help"]
    for action in draw(st.lists(st.sampled_from(options), max_size=4)):
        option = draw(st.sampled_from(action.option_strings))
        count = 0 if action.nargs == 0 else action.nargs if isinstance(action.nargs, int) else 1
        argv += [option, *(draw(odd_values(action, option)) for _ in range(count))]
    if draw(st.booleans()):
        output = draw(st.sampled_from(["out.xlsx", "out.npz", "out.csv"]))
        argv += ["-o", output, "--force"]
    return argv


@pytest.fixture(scope="module")
def mess(files, tmp_path_factory):
    """Those files, and some that are none of ours."""
    noise = np.random.default_rng(0).bytes(3000)
    with chdir(tmp_path_factory.mktemp("mess")):
        Path("ratings.csv").write_bytes(files["ratings.csv"])
        small = ("--users", 4, "--items", 5, "--factors", 2, "--sheets", "new_user")
        ok("export", "ratings.csv", *small, "-o", "book.xlsx")
        book = Path("book.xlsx").read_bytes()
    return files | {
        "book.xlsx": book,
        **{f"noise.{suffix}": noise for suffix in ("csv", "npz", "xlsx")},
        "empty.csv": b"",
        "half.xlsx": book[: len(book) // 2],
        "strange.csv": b"userId,movieId,rating\n1,2,1e308\n1,3,-1e308\n2,2,0\n\xff,2,3\n",
        "Zoë 東京.csv": "userId,movieId,rating\nZoë,東京,4\nZoë,京,2\nann,東京,1\n".encode(),
    }


def assert_no_traceback(files, argv):
    restore(files)
    done = run(*argv)
    assert done.status in (0, 1, 2)
    if done.status == 2:
        assert done.out == ""
        assert re.fullmatch(r"shallow-cf( [\w-]+)?: error: \S[^\n]*\n", done.err)
        assert snapshot() == files
    else:
        assert done.err == ""
    assert not list(Path().glob(".shallow_cf-*"))


ODD = settings(
    deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@settings(ODD, max_examples=25)
@given(argv=command_lines())
def test_no_mistake_ends_in_a_traceback(mess, argv):
    assert_no_traceback(mess, argv)


@pytest.mark.slow
@settings(ODD, max_examples=1500)
@given(argv=command_lines())
def test_no_mistake_ends_in_a_traceback_however_odd(mess, argv):
    assert_no_traceback(mess, argv)
