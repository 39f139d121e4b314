import shutil

import pytest


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    quiet = ["no-first-run", "disable-background-networking", "disable-component-update", "disable-sync"]
    options = [f"--{name}" for name in ("no-sandbox", "disable-gpu", *quiet)]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens a page without network: the tab, its requests, and its complaints."""
    contexts = []

    def opened(path, width):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, offline=True))
        tab = contexts[-1].new_page()
        requests, complaints = [], []
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(path.as_uri(), timeout=120_000)
        return tab, [url for url in requests if not url.startswith(("data:", "blob:"))], complaints

    yield opened
    for context in contexts:
        context.close()
