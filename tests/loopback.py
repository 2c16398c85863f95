"""A site on this machine, over https, that answers as badly as a test wants it to."""

import contextlib
import hashlib
import http.server
import io
import ssl
import threading
import zipfile
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("loopback.pem")
RATINGS = "1\t10\t5\t881250949\n1\t20\t3\t881250950\n2\t10\t4\t881250951\n"


def zipped(members):
    """The bytes of an archive; `members` are (name, content), a name may be a ZipInfo."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def sha256(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


#: A data set in small, padded so that it comes in several pieces.
CONTENT = zipped(
    [
        ("ml-100k/u.data", RATINGS),
        ("ml-100k/README", "conditions"),
        ("ml-100k/noise", b"".join(hashlib.sha256(b"%d" % k).digest() for k in range(8000))),
    ]
)


class Site:
    """Serves `content` at any address; `moods` says how request after request is answered.

    The last mood is for all further requests. `asked` holds the headers of each request.
    """

    def __init__(self, content):
        self.content, self.moods, self.asked = content, [honest], []
        self.headers = {"ETag": '"first"'}
        self.over = threading.Event()

    @contextlib.contextmanager
    def open(self):
        """Serve; `url` is where."""
        server = _Server(("127.0.0.1", 0), _Handler)
        server.site = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{server.server_address[1]}/set.zip"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # clients that go away, or do not trust us, are what is tested


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        site = self.server.site
        site.asked.append(dict(self.headers))
        mood = site.moods.pop(0) if len(site.moods) > 1 else site.moods[0]
        mood(self, site)

    def answer(self, status, content=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


# --- moods --------------------------------------------------------------------------------


def honest(handler, site):
    """All of it, or the rest that was asked for, if it is of the same version."""
    content, asked = site.content, handler.headers
    first = int(asked.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    if first and asked["If-Range"] in site.headers.values():
        rest = content[first:]
        place = f"bytes {first}-{len(content) - 1}/{len(content)}"
        handler.answer(206, rest, Content_Length=len(rest), Content_Range=place, **site.headers)
    else:
        whole(handler, site)


def whole(handler, site):
    """All of it, whatever was asked for."""
    handler.answer(200, site.content, Content_Length=len(site.content), **site.headers)


def unsized(handler, site):
    """All of it, without saying how much that is."""
    handler.answer(200, site.content, **site.headers)


def cut(n):
    """Promise all that was asked for, and close the connection after n bytes of it."""

    def mood(handler, site):
        handler.wfile = _Short(handler.wfile, n)
        honest(handler, site)

    return mood


def stall(n):
    """Send n bytes of what was asked for, and then nothing more."""

    def mood(handler, site):
        handler.wfile = _Short(handler.wfile, n)
        honest(handler, site)
        handler.wfile.flush()
        site.over.wait(30)

    return mood


def status(code, **headers):
    """Another status than 200."""
    return lambda handler, site: handler.answer(code, b"no", Content_Length=2, **headers)


def redirect(where):
    """To another address."""
    return status(302, Location=where)


class _Short:
    """Writes headers and no more than n bytes of what follows them."""

    def __init__(self, file, n):
        self.file, self.left, self.in_body = file, n, False

    def write(self, data):
        if self.in_body:
            data = data[: self.left]
            self.left -= len(data)
        self.file.write(data)
        self.in_body = True

    def flush(self):
        self.file.flush()

    def close(self):
        self.file.close()

    @property
    def closed(self):
        return self.file.closed
