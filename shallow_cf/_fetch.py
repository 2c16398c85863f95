"""One file over https, checked: what came is kept when a download breaks off, and used again."""

from __future__ import annotations

import hashlib
import http.client
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from shallow_cf._stream import Progress

#: Bytes to take at a time.
_CHUNK = 1 << 16
#: Answers after which another try may help: the server is busy or broken for the moment.
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_PARTIAL, _OUT_OF_RANGE = 206, 416


class DownloadError(OSError):
    """A download that failed; the message says why, and what can be done."""


class _TryAgain(Exception):
    """A failure that may pass."""


class _StartOver(_TryAgain):
    """What came before is of no use."""


def fetch(
    url: str,
    target: Path,
    *,
    size: int,
    digest: str,
    progress: Progress | None = None,
    timeout: float = 30.0,
    tries: int = 4,
    pause: float = 1.0,
) -> None:
    """Download a file of known size and checksum; it stands at `target` whole or not at all.

    What came before a failure, or Ctrl-C, is kept beside it (``.part``) with the server's mark
    of the version (``.part.version``). The next call asks for the rest, if it is still the same.

    Parameters
    ----------
    url : str
        https only, and so is every redirection. Certificates are checked against those the
        system trusts, or the file that SSL_CERT_FILE names.
    target : path
        In a folder that exists.
    size : int
        Bytes of the whole file: a longer one is not taken.
    digest : str
        As `check_file` takes it.
    progress : callable, optional
        Called as ``progress(done, size)``, bytes.
    timeout : float
        Seconds in which the server must send something.
    tries : int
        How often to ask in all, where a failure may pass.
    pause : float
        Seconds before the second try; each further pause is twice as long.

    Raises
    ------
    DownloadError
        If the file cannot be had, or it is another one than `digest` says.
    """
    part = target.with_name(target.name + ".part")
    host = urllib.parse.urlsplit(url).hostname
    for k in range(tries):
        if k:
            time.sleep(pause * 2 ** (k - 1))
        try:
            _go_on(url, part, size, progress, timeout)
            break
        except _TryAgain as error:
            reason = str(error)
            if isinstance(error, _StartOver):
                _forget(part)
    else:
        done = _length(part) if _read_version(part) else 0
        kept = f"; {done} of {size} bytes are kept, the next run goes on from there"
        raise DownloadError(f"{host}: {reason} (tried {tries} times){kept if done else ''}")
    try:
        check_file(part, size, digest)
    except DownloadError as error:
        _forget(part)
        raise DownloadError(f"{url} sent wrong bytes, which are removed: {error}") from None
    part.replace(target)
    _forget(part)


def check_file(path: Path, size: int, digest: str) -> None:
    """Check that a file is the one meant.

    Parameters
    ----------
    path : path
    size : int
        Bytes.
    digest : str
        Kind and hexadecimal digits, such as "sha256:696d...".

    Raises
    ------
    DownloadError
        If it has another size or checksum.
    """
    found = path.stat().st_size
    if found != size:
        raise DownloadError(f"{path.name} has {found} bytes, not {size}")
    kind, _, digits = digest.partition(":")
    with path.open("rb") as file:
        # Not a secret but a mistake is to be found: this is allowed where md5 is not.
        sum_ = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False))
    if sum_.hexdigest() != digits:
        raise DownloadError(f"the {kind} of {path.name} is {sum_.hexdigest()}, not {digits}")


# --- one try ----------------------------------------------------------------------------


def _go_on(url: str, part: Path, size: int, progress: Progress | None, timeout: float) -> None:
    """Ask for what is missing in `part`, and append it."""
    done, version = _length(part), _read_version(part)
    if done == size:
        return  # all there, but for the check
    if done > size or not version:
        done = 0
    with _open(url, done, version, timeout) as response:
        if response.status == _PARTIAL and not _starts_at(response, done, size):
            raise _StartOver("it sent another piece than asked for")
        if response.status != _PARTIAL:
            done = 0  # another version, or a server that sends only whole files
        _check_length(url, response, size - done)
        with part.open("ab" if done else "wb") as file:
            if not done:
                _write_version(part, response)
            _receive(response, file, done, size, progress)


def _receive(response: Any, file: Any, done: int, size: int, progress: Progress | None) -> None:
    if progress is not None:
        progress(done, size)
    # One piece too many is enough to see that it is another file.
    while done <= size and (chunk := _read(response)):
        done += len(chunk)
        file.write(chunk)
        if progress is not None:
            progress(min(done, size), size)
    if done < size:
        raise _TryAgain(f"the connection was closed after {done} of {size} bytes")


def _open(url: str, done: int, version: str, timeout: float) -> Any:
    """The server's answer to a request for the bytes from `done` on."""
    if not url.startswith("https://"):
        raise DownloadError(f"the address must begin with https://, got {url}")
    request = urllib.request.Request(url, headers={"User-Agent": "shallow_cf"})
    if done:
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", version)
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    try:
        return urllib.request.build_opener(secure, _OnlyHttps).open(request, timeout=timeout)
    except DownloadError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        raise _refusal(url, error) from None
    except urllib.error.URLError as error:
        raise _no_connection(error.reason) from None
    except (OSError, http.client.HTTPException) as error:
        raise _no_connection(error) from None


def _read(response: Any) -> bytes:
    try:
        chunk: bytes = response.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _no_connection(error) from None
    return chunk


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any
    ) -> Any:
        if not newurl.startswith("https://"):
            fp.close()
            raise DownloadError(f"{req.full_url} redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    """What to raise for an answer that is none."""
    if error.code in _PASSING:
        return _TryAgain(f"it answers {error.code} {error.reason}")
    if error.code == _OUT_OF_RANGE:
        return _StartOver("it has no more than came before, which is too little")
    if 300 <= error.code < 400:
        where = error.headers.get("Location", "nowhere")
        return DownloadError(f"{url} redirects in a circle, or to what is not https: {where}")
    return DownloadError(f"{url}: the server answers {error.code} {error.reason}")


def _no_connection(reason: Any) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(
            f"the certificate of the server is not trusted ({reason.verify_message}), so nothing "
            "was taken from it; where your network has a certificate of its own, SSL_CERT_FILE "
            "can name it"
        )
    if isinstance(reason, TimeoutError):
        return _TryAgain("it sent nothing for too long")
    why = getattr(reason, "strerror", None) or reason
    return _TryAgain(f"no connection, or it broke ({why})")


# --- pieces -----------------------------------------------------------------------------


def _starts_at(response: Any, done: int, size: int) -> bool:
    """Whether the piece sent is the rest of a file of `size` bytes."""
    sent = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if sent is None:
        return False
    first, last, whole = sent.groups()
    return (int(first), int(last)) == (done, size - 1) and whole in (str(size), "*")


def _check_length(url: str, response: Any, expected: int) -> None:
    """Refuse another file before it is downloaded, such as the page of a hotel's network."""
    length = response.headers.get("Content-Length")
    if length is not None and length != str(expected):
        raise DownloadError(f"{url} is another file now: it has {length} bytes, not {expected}")


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _version_of(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _read_version(part: Path) -> str:
    """The server's mark of what came; "" where it has none, or what stands here is damaged."""
    path = _version_of(part)
    version = path.read_text("latin-1") if path.exists() else ""
    return version if version.isprintable() else ""


def _write_version(part: Path, response: Any) -> None:
    """Keep what a server tells versions apart by; a weak ETag ("W/...") does not, to the byte."""
    tag = response.headers.get("ETag", "")
    version = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    _version_of(part).write_text(version, "latin-1")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_of(part).unlink(missing_ok=True)
