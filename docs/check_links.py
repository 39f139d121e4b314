"""Follow every link within the built pages, anchors included: `python docs/check_links.py docs/_build/html`."""

import sys
from pathlib import Path

from bs4 import BeautifulSoup


def broken(root: Path) -> tuple[int, list[str]]:
    """How many links there are, and those that lead nowhere."""
    pages = {path.resolve(): BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in root.rglob("*.html")}
    anchors = {
        path: {tag.get("id") for tag in page.find_all(id=True)}
        | {tag["name"] for tag in page.find_all("a", attrs={"name": True})}
        for path, page in pages.items()
    }
    count, found = 0, []
    for path, page in pages.items():
        targets = [tag["href"] for tag in page.find_all("a", href=True)] + [
            tag["src"] for tag in page.find_all("img", src=True)
        ]
        for target in targets:
            if target.startswith(("http:", "https:", "mailto:", "data:")):
                continue
            count += 1
            name, _, anchor = target.partition("#")
            there = (path.parent / name).resolve() if name else path
            if not there.exists() or (anchor and there in anchors and anchor not in anchors[there]):
                found.append(f"{path.relative_to(root.resolve())}: {target}")
    return count, sorted(set(found))


if __name__ == "__main__":
    number, lost = broken(Path(sys.argv[1]))
    print(f"{number} links within the pages, {len(lost)} lead nowhere")
    sys.exit("\n".join(lost) if lost else 0)
