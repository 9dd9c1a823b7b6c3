"""The picture of the benchmark: a bar for each ratio, to the left where glha is better."""

import math
from xml.sax.saxutils import escape

LEFT, WIDTH, ROW, TOP = 380, 480, 18, 40
# A bar ends at a hundredth and at a hundredfold.
DECADES = 2


def place(ratio):
    """Where a ratio is, in pixels from the left: logarithmic, so that half and double are as long."""
    part = max(-1, min(1, math.log10(ratio) / DECADES))
    return LEFT + WIDTH * (part + 1) / 2


def chart(ratios):
    """An SVG of (label, ratio)."""
    height = TOP + ROW * len(ratios) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 70}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{LEFT}" y="16">glha : keepalived, the less the better</text>',
    ]
    for ratio in (0.01, 0.1, 1, 10, 100):
        x = place(ratio)
        colour = "#444" if ratio == 1 else "#ddd"
        out.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{height - 10}" stroke="{colour}"/>')
        out.append(f'<text x="{x:.1f}" y="{TOP - 10}" text-anchor="middle" fill="#666">{ratio:g}</text>')
    for row, (label, ratio) in enumerate(ratios):
        y, ends = TOP + row * ROW, sorted((place(1), place(ratio)))
        colour = "#2a7" if ratio <= 1 else "#c62"
        out.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>')
        out.append(f'<rect x="{ends[0]:.1f}" y="{y + 3}" width="{max(1, ends[1] - ends[0]):.1f}" height="{ROW - 6}" fill="{colour}"/>')
        out.append(f'<text x="{LEFT + WIDTH + 8}" y="{y + 12}">{ratio:.2f}</text>')
    return "\n".join([*out, "</svg>\n"])
