"""Builds the sdist and the wheel in dist/ and looks through both: python .ci/check_package.py

The tools are those of the extra [lint]; `shallow_cf` itself must be installed, and not
editable, so that mypy finds of it what its users find.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What setuptools adds to the files of the project.
MADE = ("PKG-INFO", ".egg-info/")
MAX_BYTES = 4 * 2**20


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a module of this Python's; an error ends the program."""
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True, cwd=cwd)


def build(source: Path, target: Path, kind: str) -> Path:
    """Build an "sdist" or a "wheel"; its path."""
    run("build", f"--{kind}", "--installer", "uv", "--outdir", target, source)
    (built,) = target.glob({"sdist": "*.tar.gz", "wheel": "*.whl"}[kind])
    return built


def fail(message: str) -> None:
    """End the program with a message."""
    sys.exit(f"{Path(__file__).name}: {message}")


def check_sdist(sdist: Path) -> None:
    """It holds what is in the repository: all of that, and nothing else."""
    with tarfile.open(sdist) as archive:
        found = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    found = {name for name in found if not any(part in name for part in MADE)}
    listed = subprocess.run(
        ["git", "ls-files"], check=True, cwd=ROOT, capture_output=True, text=True
    ).stdout
    expected = set(listed.splitlines())
    if found != expected:
        fail(f"sdist lacks {sorted(expected - found)}, has besides {sorted(found - expected)}")
    if sdist.stat().st_size > MAX_BYTES:
        fail(f"{sdist.name} has {sdist.stat().st_size:,} bytes, more than {MAX_BYTES:,}")


def check_same(wheel: Path, other: Path) -> None:
    """Two wheels hold the same files, to the byte."""
    contents = []
    for path in (wheel, other):
        with zipfile.ZipFile(path) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist()})
    ours, theirs = contents
    different = {name for name in ours | theirs if ours.get(name) != theirs.get(name)}
    if different:
        fail(f"the sdist makes another wheel than the checkout: {sorted(different)}")


def check_types(folder: Path) -> None:
    """What a user with a type checker gets, from the package as it is installed."""
    shutil.copy(ROOT / "tests" / "typed_use.py", folder)
    run("mypy", "--strict", "--cache-dir", folder / "cache", "typed_use.py", cwd=folder)
    found = subprocess.run(
        [sys.executable, "-c", "import shallow_cf; print(shallow_cf.__file__)"],
        check=True, cwd=folder, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    if Path(found).is_relative_to(ROOT / "shallow_cf"):
        fail(f"mypy looked at {found}, not at an installed wheel")


def main() -> None:
    """Build both and check each."""
    dist = ROOT / "dist"
    for made in (dist, ROOT / "build"):
        shutil.rmtree(made, ignore_errors=True)
    sdist, wheel = (build(ROOT, dist, kind) for kind in ("sdist", "wheel"))
    run("twine", "check", "--strict", sdist, wheel)
    run("check_wheel_contents", wheel)
    if not wheel.name.endswith("-py3-none-any.whl"):
        fail(f"{wheel.name} is no pure-Python wheel")
    check_sdist(sdist)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (unpacked,) = folder.iterdir()
        check_same(wheel, build(unpacked, folder / "again", "wheel"))
        check_types(folder)
    print(f"{sdist.name}: {sdist.stat().st_size:,} bytes; {wheel.name}: fine")


if __name__ == "__main__":
    main()
