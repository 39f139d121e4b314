"""What several data tests share: files in the published formats, and a web server of our own."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from revgn_lab.data import DataError
from revgn_lab.data.downloads import RemoteFile
from revgn_lab.data.sources.idx import IdxSource

ROWS, TEST_ROWS, SIZE = 30, 12, (4, 5)


@pytest.fixture(autouse=True)
def no_data_of_this_user(tmp_path, monkeypatch):
    """Tests look for files only where they put them, and never ask a proxy for our own server."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("REVGN_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


class Server:
    """Serves `files`, content by path; `announced` overrides the length that it promises for one."""

    def __init__(self):
        self.files, self.announced, self.requests = {}, {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(outer.announced.get(self.path, len(content))))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                """Tests' output is for tests."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"

    def offer(self, name, content):
        """Serve `content`, and describe it as a published file with its true checksum."""
        self.files[f"/{name}"] = content
        return RemoteFile(name, hashlib.sha256(content).hexdigest(), (f"{self.address}/{name}",))


@pytest.fixture
def server():
    running = Server()
    threading.Thread(target=running.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield running
    running.http.shutdown()
    running.http.server_close()


@pytest.fixture
def idx_bytes():
    """A uint8 tensor as an idx file, after the format's description."""

    def of(values):
        lengths = b"".join(length.to_bytes(4, "big") for length in values.shape)
        return bytes([0, 0, 8, values.ndim]) + lengths + bytes(values.flatten().tolist())

    return of


@pytest.fixture
def idx_content(idx_bytes):
    """The four files of a small set of images, unpacked content by published name."""
    generator = torch.Generator().manual_seed(0)
    content = {}
    for part, rows in (("train", ROWS), ("t10k", TEST_ROWS)):
        for name, shape, high in (("images-idx3", (rows, *SIZE), 256), ("labels-idx1", (rows,), 3)):
            values = torch.randint(high, shape, generator=generator, dtype=torch.uint8)
            content[f"{part}-{name}-ubyte.gz"] = idx_bytes(values)
    return content


@pytest.fixture
def idx_source(idx_content, server):
    """A source for that set, which `server` offers for download."""
    files = tuple(server.offer(name, gzip.compress(content)) for name, content in idx_content.items())
    return IdxSource("small", files, ("a", "b", "c"), "Ask the author", ("Small/raw",), (ROWS, TEST_ROWS), SIZE)


@pytest.fixture
def idx_folder(idx_content, tmp_path):
    """A data folder that has that set, as gzip files."""
    folder = tmp_path / "data" / "small"
    folder.mkdir(parents=True)
    for name, content in idx_content.items():
        (folder / name).write_bytes(gzip.compress(content))
    return folder


@pytest.fixture
def message():
    """Calls a function that must raise DataError and returns its message, which must be one line."""

    def of(call):
        with pytest.raises(DataError) as caught:
            call()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return of
