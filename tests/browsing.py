"""What tests ask of a page in a real browser."""

WIDTHS = (1400, 390)
"""Pixels of a desktop and of a phone."""

UNDRAWN = """() => [...document.querySelectorAll('.panel')].filter(panel => {
    const svg = panel.querySelector('svg');
    const boxes = svg ? [...svg.querySelectorAll('path')].map(path => path.getBBox()) : [];
    return !boxes.some(box => box.width > 20 && box.height > 0) || svg.getBoundingClientRect().width < 200;
}).map(panel => panel.closest('figure').id)"""


def undrawn(tab):
    """Names of the figures with a panel that has no path of any size."""
    return tab.evaluate(UNDRAWN)
