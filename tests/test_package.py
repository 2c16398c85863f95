"""What belongs to the package as it is built and installed, beside its code."""

import configparser
import re
import types
from pathlib import Path

import pytest
import typed_use

import shallow_cf as scf

ROOT = Path(__file__).parents[1]


def setup_cfg():
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg", encoding="utf-8")
    return read


def test_the_version_stands_in_one_place():
    # In shallow_cf/__init__.py: setup.cfg and docs/conf.py take it from there. The citation
    # is read by programs that cannot.
    assert setup_cfg()["metadata"]["version"] == "attr: shallow_cf.__version__"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [scf.__version__]
    for path in (ROOT / "setup.cfg", ROOT / "pyproject.toml", *ROOT.glob("docs/conf.py")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(rf"(?<![\d.]){re.escape(scf.__version__)}(?![\d.])", text), path


def test_pythons_are_those_that_are_tested():
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    tested = re.findall(r"3\.\d+", re.search(r"^PYTHONS = \[(.*)\]$", noxfile, re.MULTILINE)[1])
    told = setup_cfg()
    promised = re.findall(r"Python :: (3\.\d+)", told["metadata"]["classifiers"])
    assert len(promised) >= 3
    assert promised == tested
    assert told["options"]["python_requires"] == f">={tested[0]}"


def test_every_public_name_is_in_typed_use():
    text = Path(typed_use.__file__).read_text(encoding="utf-8")
    public = {
        name
        for name, thing in vars(scf).items()
        if not name.startswith("_") and not isinstance(thing, types.ModuleType)
    }
    assert len(public) > 50
    assert public - set(re.findall(r"\bscf\.(\w+)", text)) == set()


@pytest.mark.slow
def test_typed_use_runs(tmp_path):
    typed_use.main(tmp_path)
