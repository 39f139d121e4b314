"""What several data tests share: files in the published formats, and a web server of our own."""

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import Tensor

from revgn_lab.data import DataError
from revgn_lab.data.downloads import RemoteFile
from revgn_lab.data.sources.idx import IdxSource

_IDX_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
ROWS, TEST_ROWS, SIZE = 30, 12, (4, 5)


@pytest.fixture(autouse=True)
def no_data_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests look for files only where they put them, and never ask a proxy for our own server."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("REVGN_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def idx_bytes(values: Tensor) -> bytes:
    """A uint8 tensor as an idx file, after the format's description."""
    lengths = b"".join(length.to_bytes(4, "big") for length in values.shape)
    return bytes([0, 0, 8, values.ndim]) + lengths + bytes(values.flatten().tolist())


class Server:
    """Serves `files`, a mapping of paths to content; `announced` overrides the length it promises for one."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.announced: dict[str, int] = {}
        self.requests: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(outer.announced.get(self.path, len(content))))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Tests' output is for tests."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def offer(self, name: str, content: bytes) -> RemoteFile:
        """Serve `content`, and describe it as a published file with its true checksum."""
        self.files[f"/{name}"] = content
        return RemoteFile(name, hashlib.sha256(content).hexdigest(), (f"{self.address}/{name}",))

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def idx_content() -> dict[str, bytes]:
    """The four files of a small set of images, unpacked content by published name."""
    generator = torch.Generator().manual_seed(0)

    def values(*shape: int, high: int) -> Tensor:
        return torch.randint(high, shape, generator=generator, dtype=torch.uint8)

    contents = (
        values(ROWS, *SIZE, high=256),
        values(ROWS, high=3),
        values(TEST_ROWS, *SIZE, high=256),
        values(TEST_ROWS, high=3),
    )
    return {name: idx_bytes(content) for name, content in zip(_IDX_NAMES, contents, strict=True)}


@pytest.fixture
def idx_source(idx_content: dict[str, bytes], server: Server) -> IdxSource:
    """A source for that set, which `server` offers for download."""
    first, second, third, fourth = (server.offer(name, gzip.compress(content)) for name, content in idx_content.items())
    return IdxSource(
        name="small",
        files=(first, second, third, fourth),
        classes=("a", "b", "c"),
        advice="Ask the author",
        folders=("Small/raw",),
        rows=(ROWS, TEST_ROWS),
        size=SIZE,
    )


@pytest.fixture
def idx_folder(idx_content: dict[str, bytes], tmp_path: Path) -> Path:
    """A data folder that has that set, as gzip files."""
    folder = tmp_path / "data" / "small"
    folder.mkdir(parents=True)
    for name, content in idx_content.items():
        (folder / name).write_bytes(gzip.compress(content))
    return folder


@pytest.fixture
def message() -> Callable[[Callable[[], object]], str]:
    """Calls a function that must raise DataError and returns its message, which must be one line."""

    def of(call: Callable[[], object]) -> str:
        with pytest.raises(DataError) as caught:
            call()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return of
