"""Data sets over https from a site on this machine that stalls, cuts off, lies and redirects."""

import hashlib
import io
import random
import re
import ssl
import stat
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from loopback import (
    CONTENT,
    RATINGS,
    cut,
    honest,
    redirect,
    sha256,
    stall,
    status,
    unsized,
    whole,
    zipped,
)

import shallow_cf as scf
from shallow_cf import movielens
from shallow_cf._fetch import fetch
from shallow_cf._unzip import unpack


def get(site, **options):
    """Fetch the site's first content to set.zip, without pauses."""
    settings = {"size": len(CONTENT), "digest": sha256(CONTENT), "timeout": 10, "pause": 0}
    fetch(site.url, Path("set.zip"), **settings | options)
    assert Path("set.zip").read_bytes() == CONTENT
    assert [path.name for path in Path().iterdir()] == ["set.zip"]


def failed(site, **options):
    """Fetch what cannot be had; the message."""
    with pytest.raises(scf.DownloadError) as error:
        get(site, **options)
    assert not Path("set.zip").exists()
    return str(error.value)


def kept():
    """The bytes of what came before a failure."""
    return Path("set.zip.part").read_bytes()


# --- what comes ---------------------------------------------------------------------------


@pytest.mark.parametrize("mood", [honest, whole, unsized])
def test_a_file_comes_whole(site, mood):
    site.moods = [mood]
    seen = []
    get(site, progress=lambda done, size: seen.append((done, size)))
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 5
    assert seen == sorted(seen)
    assert "Range" not in site.asked[0]


@pytest.mark.parametrize("break_off", [cut, stall])
def test_what_broke_off_is_taken_up_again(site, break_off):
    site.moods = [break_off(50_000), honest]
    get(site, timeout=0.6 if break_off is stall else 10)
    assert [headers.get("Range") for headers in site.asked] == [None, "bytes=50000-"]
    assert site.asked[1]["If-Range"] == '"first"'


def test_taken_up_again_by_a_later_run(site):
    site.moods = [cut(50_000)]
    message = failed(site, tries=1)
    assert f"closed after 50000 of {len(CONTENT)} bytes (tried 1 times)" in message
    assert f"50000 of {len(CONTENT)} bytes are kept, the next run goes on" in message
    assert kept() == CONTENT[:50_000]
    site.moods, seen = [honest], []
    get(site, progress=lambda done, size: seen.append(done))
    assert seen[0] == 50_000
    assert site.asked[-1]["Range"] == "bytes=50000-"


def test_all_came_but_was_not_checked(site):
    Path("set.zip.part").write_bytes(CONTENT)
    get(site)
    assert site.asked == []


def test_ctrl_c_keeps_what_came(site):
    def stop(done, size):
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(site, progress=stop)
    n = len(kept())
    assert n > 100_000
    assert kept() == CONTENT[:n]
    get(site)
    assert [headers.get("Range") for headers in site.asked] == [None, f"bytes={n}-"]


def test_a_site_that_sends_only_whole_files(site):
    site.moods = [cut(50_000), whole]
    get(site)
    assert site.asked[1]["Range"] == "bytes=50000-"


def test_a_file_that_changed_meanwhile_is_taken_from_its_start(site):
    # Half of another version, of the same length, stays here from an earlier run.
    site.content, site.headers = CONTENT[::-1], {"ETag": '"old"'}
    site.moods = [cut(50_000)]
    failed(site, tries=1)
    assert kept() == CONTENT[::-1][:50_000]
    site.content, site.headers, site.moods = CONTENT, {"ETag": '"new"'}, [honest]
    get(site)
    assert site.asked[-1]["If-Range"] == '"old"'


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"Last-Modified": "Wed, 26 Sep 2018 20:59:12 GMT"}, "Wed, 26 Sep 2018 20:59:12 GMT"),
        ({"ETag": 'W/"weak"', "Last-Modified": "Wed, 26 Sep"}, "Wed, 26 Sep"),
        ({"ETag": 'W/"weak"'}, None),
        ({}, None),
    ],
)
def test_what_tells_versions_apart(site, headers, version):
    site.headers, site.moods = headers, [cut(50_000), honest]
    get(site)
    assert site.asked[1].get("If-Range") == version
    assert site.asked[1].get("Range") == (version and "bytes=50000-")


def test_another_piece_than_asked_for_is_not_taken(site):
    def other_piece(handler, site):
        rest = CONTENT[40_000:]
        place = f"bytes 40000-{len(CONTENT) - 1}/{len(CONTENT)}"
        handler.answer(206, rest, Content_Length=len(rest), Content_Range=place)

    site.moods = [cut(50_000), other_piece, honest]
    get(site)
    assert [headers.get("Range") for headers in site.asked] == [None, "bytes=50000-", None]


def test_a_file_that_became_shorter_than_what_came(site):
    site.moods = [cut(50_000), status(416), honest]
    get(site)
    assert [headers.get("Range") for headers in site.asked] == [None, "bytes=50000-", None]


def test_the_version_is_known_even_if_the_rest_comes_without_it(site):
    def rest_without_version(handler, site):
        rest = CONTENT[50_000:]
        place = f"bytes 50000-{len(CONTENT) - 1}/{len(CONTENT)}"
        handler.answer(206, rest[:9], Content_Length=len(rest), Content_Range=place)

    site.moods = [cut(50_000), rest_without_version, honest]
    get(site)
    assert site.asked[2]["Range"] == "bytes=50009-"
    assert site.asked[2]["If-Range"] == '"first"'


def test_what_cannot_be_taken_up_again_is_not_said_to_be_kept(site):
    site.headers, site.moods = {}, [cut(50_000)]
    assert failed(site, tries=1).endswith("(tried 1 times)")


@pytest.mark.parametrize("damaged", ["a\nb", "\0\0"])
def test_a_damaged_mark_of_the_version_is_none(site, damaged):
    Path("set.zip.part").write_bytes(CONTENT[:9])
    Path("set.zip.part.version").write_text(damaged)
    get(site)
    assert [headers.get("Range") for headers in site.asked] == [None]


@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_failure_that_passes(site, code):
    site.moods = [status(code), status(code), honest]
    get(site)
    assert len(site.asked) == 3


def test_pauses_grow(site, monkeypatch):
    pauses = []
    monkeypatch.setattr("shallow_cf._fetch.time.sleep", pauses.append)
    site.moods = [status(503)]
    message = failed(site, pause=2.0)
    assert pauses == [2, 4, 8]
    assert "127.0.0.1: it answers 503 Service Unavailable (tried 4 times)" in message


# --- what is refused ----------------------------------------------------------------------


def test_wrong_bytes_are_removed(site):
    site.content = CONTENT[:-1] + b"?"
    message = failed(site)
    assert "sent wrong bytes, which are removed: the sha256 of set.zip.part is" in message
    assert not list(Path().iterdir())
    assert len(site.asked) == 1


def test_md5_where_nothing_else_is_published(site):
    get(site, digest=f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    Path("set.zip").unlink()
    assert "the md5 of" in failed(site, digest="md5:00")


@pytest.mark.parametrize(
    "other", [CONTENT + b"!", b"<html>Welcome to our hotel</html>"], ids=["longer", "a page"]
)
def test_a_file_of_another_length_is_not_downloaded(site, other):
    site.content = other
    expected = f"is another file now: it has {len(other)} bytes, not {len(CONTENT)}"
    assert expected in failed(site)
    assert not list(Path().iterdir())


def test_more_bytes_than_there_should_be(site):
    site.content, site.moods = CONTENT + bytes(10**6), [unsized]
    message = failed(site)
    n = int(re.search(r"removed: set.zip.part has (\d+) bytes", message)[1])
    assert len(CONTENT) < n < len(CONTENT) + 100_000  # and not the whole million
    assert len(site.asked) == 1
    assert not list(Path().iterdir())


def test_a_stall_says_so_and_keeps_what_came(site):
    site.moods = [stall(50_000)]
    message = failed(site, timeout=0.5, tries=2)
    assert "it sent nothing for too long (tried 2 times)" in message
    assert "are kept" in message
    assert len(kept()) == 100_000  # 50000 at each try


def test_a_stall_before_the_first_byte(site):
    site.moods = [lambda handler, site: site.over.wait(30)]
    message = failed(site, timeout=0.5, tries=1)
    assert message == "127.0.0.1: it sent nothing for too long (tried 1 times)"


@pytest.mark.parametrize("code", [404, 403, 410])
def test_what_is_not_there_is_not_asked_for_again(site, code):
    site.moods = [status(code)]
    assert f"{site.url}: the server answers {code} " in failed(site)
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:9/set.zip", "ftp://127.0.0.1/set.zip", "file:///etc/passwd"]
)
def test_a_redirection_away_from_https_is_not_followed(site, where):
    site.moods = [redirect(where)]
    message = failed(site)
    assert where in message
    assert "not https" in message
    assert len(site.asked) == 1
    assert not list(Path().iterdir())


def test_a_redirection_in_a_circle(site):
    site.moods = [redirect(site.url)]
    assert "redirects in a circle" in failed(site)
    assert len(site.asked) < 20


def test_a_redirection_to_https_is_followed_with_the_range(site):
    site.moods = [cut(50_000), redirect(site.url + "?mirror"), honest]
    get(site)
    assert [headers.get("Range") for headers in site.asked] == [None, *["bytes=50000-"] * 2]


def test_a_certificate_that_is_not_trusted_is_refused(site, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    message = failed(site)
    assert "the certificate of the server is not trusted" in message
    assert "nothing was taken from it" in message
    assert site.asked == []
    assert not list(Path().iterdir())


def test_a_certificate_for_another_host_is_refused(site):
    site.url = site.url.replace("127.0.0.1", "localhost")  # the same machine, by another name
    message = failed(site)
    assert "not trusted (Hostname mismatch" in message
    assert site.asked == []


def test_certificates_are_always_checked(monkeypatch, site):
    # Python's own way to switch it off for urllib plays no part.
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setattr(ssl, "_create_default_https_context", ssl._create_unverified_context)
    monkeypatch.setenv("PYTHONHTTPSVERIFY", "0")
    assert "not trusted" in failed(site)


def test_only_https_is_asked(site):
    site.url = site.url.replace("https", "http")
    assert "must begin with https://" in failed(site)


def test_nobody_is_there(site):
    site.url = "https://127.0.0.1:1/set.zip"
    assert "no connection" in failed(site, tries=2)


# --- archives -----------------------------------------------------------------------------


def write(content):
    Path("set.zip").write_bytes(content)
    Path("to").mkdir()
    return Path("set.zip")


def test_unpacked_are_the_files_of_the_folder():
    archive = write(
        zipped([("set/", ""), ("set/a.txt", "A"), ("set/in/b.txt", "B"), ("__MACOSX/set", "?")])
    )
    assert unpack(archive, "set", Path("to")) == Path("to/set")
    files = {path.as_posix(): path.read_text() for path in Path("to").rglob("*") if path.is_file()}
    assert files == {"to/set/a.txt": "A", "to/set/in/b.txt": "B"}


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info, target


@pytest.mark.parametrize(
    "member",
    [
        ("/etc/evil", "x"), ("../evil", "x"), ("set/../../evil", "x"), ("set/..", "x"),
        ("C:/evil", "x"), ("set/C:evil", "x"), ("set\\..\\..\\evil", "x"), ("\\evil", "x"),
        ("set//evil", "x"), ("./set/evil", "x"), ("/", ""), link("set/evil", "/etc/passwd"),
        ("set/.. /.. /evil", "x"), ("set/.../evil", "x"),
    ],
    ids=str,
)  # fmt: skip
def test_a_member_that_leads_out_spoils_the_archive(member):
    archive = write(zipped([("set/a.txt", "A"), member]))
    with pytest.raises(ValueError, match=r"leads out of its folder|is no file and no folder"):
        unpack(archive, "set", Path("to"))
    assert not list(Path("to").iterdir())
    assert not list(Path().rglob("*evil*"))


def renamed(name, second):
    """A member with a second name, in Unicode, which Python goes by from 3.12 on."""
    info, content = zipfile.ZipInfo(name), second.encode()
    fields = struct.pack("<BL", 1, zlib.crc32(name.encode())) + content
    info.extra = struct.pack("<HH", 0x7075, len(fields)) + fields
    return info


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python reads second names from 3.12 on")
@pytest.mark.parametrize("second", ["set/../../../evil", "/evil", "set/C:evil"])
def test_a_second_name_that_leads_out(second):
    archive = write(zipped([("set/a.txt", "A"), (renamed("set/b", second), "x")]))
    with pytest.raises(ValueError, match=f"leads out of its folder: '{second}'"):
        unpack(archive, "set", Path("to"))
    assert not list(Path("to").iterdir())


def test_a_link_and_a_file_written_through_it():
    archive = write(zipped([link("set/out", "../.."), ("set/out/evil", "x")]))
    with pytest.raises(ValueError, match=r"is no file and no folder: 'set/out'"):
        unpack(archive, "set", Path("to"))


def test_an_archive_that_grows_too_large():
    archive = write(zipped([("set/a", bytes(600)), ("set/b", bytes(600))]))
    with pytest.raises(ValueError, match="unpacks to 1200 bytes, more than 1000"):
        unpack(archive, "set", Path("to"), most=1000)
    assert unpack(archive, "set", Path("to"), most=1200).is_dir()


def test_an_archive_that_says_it_is_smaller_than_it_is():
    content = bytearray(zipped([("set/a", b"A" * 600)]))
    for sign, place in ((b"PK\3\4", 22), (b"PK\1\2", 24)):  # where the size stands
        at = content.index(sign) + place
        content[at : at + 4] = (5).to_bytes(4, "little")
    with pytest.raises(ValueError, match="is not a zip archive, or broken"):
        unpack(write(bytes(content)), "set", Path("to"))
    assert not list(Path("to").iterdir())


def test_broken_compressed_data():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/a", random.Random(0).randbytes(300) * 9)
    content = bytearray(file.getvalue())
    content[60:80] = b"\xff" * 20
    with pytest.raises(ValueError, match="or broken: Error -3 while decompressing"):
        unpack(write(bytes(content)), "set", Path("to"))
    assert not list(Path("to").iterdir())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_in_another_way(method):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("set/a", "A")
    with pytest.raises(ValueError, match="compressed in an unusual way: 'set/a'"):
        unpack(write(file.getvalue()), "set", Path("to"))


def test_two_members_of_one_name():
    archive = write(zipped([("set/a", "1"), ("set/A", "2")]))
    with pytest.raises(ValueError, match="two members of one name"):
        unpack(archive, "set", Path("to"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "is not a zip archive"),
        (zipped([("set/a", "A" * 100)])[:-30], "is not a zip archive"),
        (zipped([("set/a", "A" * 100)]).replace(b"AAAA", b"AAAB", 1), "broken: Bad CRC-32"),
        (zipped([("other/a", "A")]), "has no folder set"),
    ],
)
def test_no_archive_or_another(content, message):
    with pytest.raises(ValueError, match=message):
        unpack(write(content), "set", Path("to"))
    assert not list(Path("to").iterdir())


def test_an_encrypted_archive():
    content = bytearray(zipped([("set/a", "A")]))
    content[content.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(ValueError, match="is encrypted: 'set/a'"):
        unpack(write(bytes(content)), "set", Path("to"))


# --- data sets ----------------------------------------------------------------------------


def test_download_and_load(ml_100k):
    folder = scf.download("ml-100k", accept_licence=True)
    assert folder == Path("data/ml-100k")
    assert sorted(path.name for path in Path("data").iterdir()) == ["ml-100k"]
    assert (folder / "README").read_text() == "conditions"
    ratings = scf.load_movielens("ml-100k")
    assert ratings.equals(scf.read_ratings(folder / "u.data"))
    assert len(ratings) == 3


def test_what_is_there_needs_no_network_and_no_second_consent(ml_100k):
    scf.download("ml-100k", accept_licence=True)
    ml_100k.asked.clear()
    assert scf.download("ml-100k") == Path("data/ml-100k")
    assert ml_100k.asked == []


def test_conditions_come_first(ml_100k):
    with pytest.raises(ValueError, match=r"(?s)conditions of use.*`accept_licence` must be True"):
        scf.download("ml-100k")
    assert ml_100k.asked == []
    assert not Path("data").exists()


def test_conditions_of_each():
    for name, known in movielens.DATA_SETS.items():
        text = movielens.licence(name)
        for fact in (name, "10.1145/2827872", "commercial", known.readme, *known.terms):
            assert fact in text
    passed_on = [n for n, it in movielens.DATA_SETS.items() if "only under these" in it.terms[-1]]
    assert passed_on == ["ml-latest-small", "ml-32m"]


def test_data_sets_are_pinned():
    for name, known in movielens.DATA_SETS.items():
        assert known.url == f"https://files.grouplens.org/datasets/movielens/{name}.zip"
        kind, digits = known.digest.split(":")
        assert len(bytes.fromhex(digits)) == hashlib.new(kind).digest_size


@pytest.mark.usefixtures("ml_100k")
def test_from_a_file_at_hand(ml_100k):
    Path("mine.zip").write_bytes(CONTENT)
    folder = scf.download("ml-100k", accept_licence=True, folder="there", from_file="mine.zip")
    assert folder == Path("there/ml-100k")
    assert len(scf.load_movielens("ml-100k", folder="there")) == 3
    assert Path("mine.zip").read_bytes() == CONTENT
    assert ml_100k.asked == []


@pytest.mark.usefixtures("ml_100k")
def test_from_a_file_that_is_another():
    Path("mine.zip").write_bytes(zipped([("ml-100k/u.data", RATINGS)]))
    with pytest.raises(
        scf.DownloadError, match=r"is not the archive .*unpack it yourself: u\.data"
    ):
        scf.download("ml-100k", accept_licence=True, from_file="mine.zip")
    with pytest.raises(FileNotFoundError, match=r"there is no file nowhere\.zip"):
        scf.download("ml-100k", accept_licence=True, from_file="nowhere.zip")


def test_advice_when_the_site_is_down(ml_100k, monkeypatch):
    monkeypatch.setattr("shallow_cf._fetch.time.sleep", lambda seconds: None)
    ml_100k.moods = [status(502)]
    with pytest.raises(scf.DownloadError) as error:
        scf.download("ml-100k", accept_licence=True)
    assert "it answers 502" in str(error.value)
    assert f"open {ml_100k.url} in a browser, and name the file that you get by `from_file`" in str(
        error.value
    )


def test_stopped_between_download_and_unpacking(ml_100k):
    Path("data").mkdir()
    Path("data/.ml-100k.zip").write_bytes(CONTENT)
    assert scf.download("ml-100k", accept_licence=True) == Path("data/ml-100k")
    assert ml_100k.asked == []
    assert [path.name for path in Path("data").iterdir()] == ["ml-100k"]


def test_damaged_between_download_and_unpacking(ml_100k):
    Path("data").mkdir()
    Path("data/.ml-100k.zip").write_bytes(CONTENT[:-1] + b"?")
    assert scf.download("ml-100k", accept_licence=True) == Path("data/ml-100k")
    assert len(ml_100k.asked) == 1


@pytest.mark.usefixtures("ml_100k")
def test_an_archive_of_the_users_own_stays_as_it_is():
    Path("ml-100k.zip").write_bytes(b"mine")
    assert scf.download("ml-100k", accept_licence=True, folder=".") == Path("ml-100k")
    assert Path("ml-100k.zip").read_bytes() == b"mine"


@pytest.mark.parametrize("step", ["fetch", "unpack"])
def test_another_process_is_done_first(ml_100k, monkeypatch, step):
    ours = getattr(movielens, step)

    def overtaken(*args, **kwargs):
        monkeypatch.setattr(movielens, step, ours)
        scf.download("ml-100k", accept_licence=True)
        return ours(*args, **kwargs)

    monkeypatch.setattr(movielens, step, overtaken)
    assert scf.download("ml-100k", accept_licence=True) == Path("data/ml-100k")
    assert [path.name for path in Path("data").iterdir()] == ["ml-100k"]


@pytest.mark.usefixtures("ml_100k")
def test_something_else_in_its_place():
    Path("data/ml-100k").mkdir(parents=True)
    Path("data/ml-100k/mine.txt").touch()
    with pytest.raises(FileExistsError, match="is there, but not as a data set"):
        scf.download("ml-100k", accept_licence=True)
    assert Path("data/ml-100k/mine.txt").exists()


@pytest.mark.parametrize("function", [scf.download, scf.load_movielens, movielens.licence])
def test_names_are_those_known(function):
    with pytest.raises(ValueError, match=r"`name` must be one of ml-latest-small, .* got 'ml-2m'"):
        function("ml-2m")


def test_loading_what_is_not_there(ml_100k):
    with pytest.raises(FileNotFoundError, match=r"not in data: get it by `shallow-cf download"):
        scf.load_movielens("ml-100k")
    assert ml_100k.asked == []


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"HOME": "/home/ann"}, "/home/ann/.cache/shallow_cf"),
        ("linux", {"HOME": "/home/ann", "XDG_CACHE_HOME": "/var/ann"}, "/var/ann/shallow_cf"),
        ("linux", {"HOME": "/home/ann", "XDG_CACHE_HOME": "not/absolute"},
         "/home/ann/.cache/shallow_cf"),
        ("darwin", {"HOME": "/Users/ann"}, "/Users/ann/Library/Caches/shallow_cf"),
        ("win32", {"LOCALAPPDATA": "/ann/Local"}, "/ann/Local/shallow_cf"),
        ("win32", {"HOME": "/ann"}, "/ann/AppData/Local/shallow_cf"),
        ("linux", {"HOME": "/home/ann", "SHALLOW_CF_DATA": "~/data"}, "/home/ann/data"),
        ("linux", {"HOME": "/home/ann", "SHALLOW_CF_DATA": ""}, "/home/ann/.cache/shallow_cf"),
    ],
)  # fmt: skip
@pytest.mark.skipif(not Path("/").is_absolute(), reason="paths of another kind of system")
def test_where_data_sets_are_kept(platform, variables, expected, monkeypatch):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "SHALLOW_CF_DATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert movielens.data_folder() == Path(expected)
