"""The pipeline as SVG, on standard output; readable on light and on dark pages."""
from html import escape

WIDTH, HEIGHT = 824, 256
STYLE = """
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#1f2933}
.small{font-size:11.5px;fill:#52606d}
.page{fill:#fff;stroke:#d9e2ec}
.stage{fill:#e3eefa;stroke:#2a6f97}
.thing{fill:none;stroke:#9aa5b1}
.secret{fill:#fdf3e1;stroke:#b7791f}
.line{fill:none;stroke:#52606d;stroke-width:1.4}
.dim{fill:none;stroke:#9aa5b1;stroke-dasharray:3 3}
.head{fill:#52606d}
@media (prefers-color-scheme:dark){
.page{fill:#0f1720;stroke:#323f4b}text{fill:#e4e7eb}.small{fill:#9fb3c8}.stage{fill:#16324a;stroke:#6cb2dd}.thing{stroke:#7b8794}
.secret{fill:#3b2d12;stroke:#e0a84b}.line{stroke:#9fb3c8}.dim{stroke:#616e7c}.head{fill:#9fb3c8}}
"""

BOX, TOP, ROW = 104, 112, 34
STAGES = [("az-login", 20), ("az-fetch", 190), ("az-join", 360), ("az-decrypt", 530), ("az-load", 700)]
# What flows from each stage to the next.
FLOWS = ["token", "fragment", "key", "tar"]
# What comes from above: box, its name, its second line, what sort it is.
SOURCES = [("az-login", "credentials", "email, password", "secret"), ("az-fetch", "server", "half of the key", "thing"),
           ("az-join", "device.frag", "the other half", "secret"), ("az-decrypt", "images.enc", "sealed, on disk", "thing")]


def text(x, y, words, kind="", anchor="middle"):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(words)}</text>'


def box(x, y, width, height, kind):
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" class="{kind}"/>'


def arrow(points, kind="line"):
    (x, y), (px, py) = points[-1], points[-2]
    size = 6
    if x != px:
        tip = [(x, y), (x - size, y - 4), (x - size, y + 4)]
    else:
        tip = [(x, y), (x - 4, y - size), (x + 4, y - size)]
    path = " ".join(f"{a},{b}" for a, b in points)
    head = " ".join(f"{a},{b}" for a, b in tip)
    return f'<polyline points="{path}" class="{kind}"/><polygon points="{head}" class="head"/>'


def main():
    at = dict(STAGES)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">',
             "<title>From a login to running images</title>", f"<style>{STYLE}</style>",
             f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8" class="page"/>']
    for stage, name, what, kind in SOURCES:
        x = at[stage]
        parts += [box(x - 8, 12, BOX + 16, 48, kind), text(x + BOX / 2, 32, name), text(x + BOX / 2, 49, what, "small"),
                  arrow([(x + BOX / 2, 60), (x + BOX / 2, TOP)])]
    for name, x in STAGES:
        parts += [box(x, TOP, BOX, ROW, "stage"), text(x + BOX / 2, TOP + 22, name)]
    for (_, x), (_, after), what in zip(STAGES, STAGES[1:], FLOWS):
        parts += [arrow([(x + BOX, TOP + ROW / 2), (after, TOP + ROW / 2)]), text((x + BOX + after) / 2 - 2, TOP + ROW / 2 - 8, what, "small")]
    end = at["az-load"]
    parts += [box(end - 8, 12, BOX + 16, 48, "thing"), text(end + BOX / 2, 32, "container"), text(end + BOX / 2, 49, "engine"),
              f'<polyline points="{end + BOX / 2},{TOP} {end + BOX / 2},60" class="line"/>',
              f'<polygon points="{end + BOX / 2},60 {end + BOX / 2 - 4},66 {end + BOX / 2 + 4},66" class="head"/>',
              text(end + BOX / 2 + 8, 90, "commit", "small", "start")]
    bottom = TOP + ROW
    bus = bottom + 36
    for _, x in STAGES:
        parts.append(f'<polyline points="{x + BOX / 2},{bottom} {x + BOX / 2},{bus}" class="dim"/>')
    first, last, middle = STAGES[0][1] + BOX / 2, STAGES[-1][1] + BOX / 2, at["az-fetch"] + BOX / 2
    parts += [f'<polyline points="{first},{bus} {last},{bus}" class="dim"/>', arrow([(middle, bus), (middle, bus + 28)], "dim"),
              text(middle + 12, bus + 16, "standard error: one JSON line an event", "small", "start"),
              box(at["az-fetch"], bus + 28, BOX, ROW, "stage"), text(middle, bus + 50, "az-status"),
              arrow([(at["az-fetch"] + BOX, bus + 28 + ROW / 2), (at["az-join"], bus + 28 + ROW / 2)]),
              text(at["az-join"] + 8, bus + 50, "bars, one verdict, the exit status of the first cause", "small", "start")]
    print("\n".join(parts + ["</svg>"]))


main()
