"""What tests ask of a page in a real browser."""

WIDTHS = (1280, 390)
"""Pixels of a desktop and of a phone."""

UNDRAWN = """() => [...document.querySelectorAll('.plot')]
    .filter(plot => !plot.querySelector('.main-svg .trace, .main-svg .hm, .main-svg .heatmaplayer *'))
    .map(plot => plot.id)"""


def undrawn(tab):
    """Identifiers of the plots in which there is no line and no heat map."""
    return tab.evaluate(UNDRAWN)
