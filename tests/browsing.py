"""What tests ask of a page in a real browser."""

WIDTHS = (1400, 390)
"""Pixels of a desktop and of a phone."""

UNDRAWN = """() => [...document.querySelectorAll('.panel')].filter(panel => {
    const curves = panel.querySelector('script');
    const paths = [...panel.querySelectorAll(curves ? 'svg [data-series] path' : 'svg path')];
    const drawn = paths.map(path => path.getBBox()).some(box => box.width > 5 && (curves || box.height > 5));
    return !drawn || panel.querySelector('svg').getBoundingClientRect().width < 200;
}).map(panel => panel.closest('figure').id)"""


def undrawn(tab):
    """Names of the figures with a panel in which no curve and no heat map is drawn."""
    return tab.evaluate(UNDRAWN)
