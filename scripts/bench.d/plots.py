"""Plots as SVG, without a library."""
import math


def barchart(path, title, bars):
    """Bars of pairs of a label and a value; ours are the `az-` ones."""
    top = max(value for _, value in bars)
    height = 40 + 26 * len(bars)
    parts = [svg_head(720, height, title)]
    for i, (name, value) in enumerate(bars):
        y = 40 + 26 * i
        colour = "#2a6f97" if name.startswith("az-") else "#9aa5b1"
        parts.append(f'<text x="240" y="{y + 15}" text-anchor="end">{name}</text>'
                     f'<rect x="250" y="{y}" width="{400 * value / top:.1f}" height="20" fill="{colour}"/>'
                     f'<text x="{256 + 400 * value / top:.1f}" y="{y + 15}">{value:.0f}</text>')
    path.write_text("\n".join(parts + ["</svg>\n"]))


def plot(path, title, series, x_label):
    """Lines on two logarithmic axes: pairs of a name and points."""
    xs = [math.log2(x) for _, points in series for x, _ in points]
    ys = [math.log2(max(y, 1e-3)) for _, points in series for _, y in points]
    left, right, low, high = min(xs), max(xs) or 1, min(ys), max(ys)
    place = lambda x, y: (70 + 600 * (math.log2(x) - left) / ((right - left) or 1),
                          300 - 240 * (math.log2(max(y, 1e-3)) - low) / ((high - low) or 1))
    parts = [svg_head(720, 360, title), f'<text x="360" y="345" text-anchor="middle">{x_label}</text>']
    for (name, points), colour in zip(series, ["#2a6f97", "#c1666b"]):
        spots = [place(x, y) for x, y in points]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
                     + " ".join(f"{x:.1f},{y:.1f}" for x, y in spots) + '"/>')
        for (x, y), (gib, value) in zip(spots, points):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
                         f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle" fill="{colour}">{value:.3g}</text>')
        parts.append(f'<text x="{spots[-1][0]:.1f}" y="{spots[-1][1] + 18:.1f}" text-anchor="end" fill="{colour}">{name}</text>')
    for gib, _ in series[0][1]:
        parts.append(f'<text x="{place(gib, 1)[0]:.1f}" y="325" text-anchor="middle">{gib:g}</text>')
    path.write_text("\n".join(parts + ["</svg>\n"]))


def svg_head(width, height, title):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/><text x="{width // 2}" y="22" text-anchor="middle" font-size="14">{title}</text>')
