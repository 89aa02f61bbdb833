"""A terminal as SVG with text as text, its frames shown one after the other by CSS."""
import textwrap
from html import escape

CHARACTER, LEADING, MARGIN = 7.83, 19, 16
STYLE = """
.back{fill:#17212b;stroke:#52606d}
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d9e2ec;white-space:pre}
.p{fill:#7fc8a9}.bad{fill:#f29b9b}.good{fill:#8fd694}
"""


def animate(frames, columns, rows, still):
    """`frames` are a duration in seconds, a prompt and lines; what does not move shows number `still`."""
    width, height = columns * CHARACTER + 2 * MARGIN, rows * LEADING + 2 * MARGIN
    total, at, style, groups = sum(frame[0] for frame in frames), 0.0, STYLE, []
    for i, (seconds, prompt, lines) in enumerate(frames):
        start, end = 100 * at / total, 100 * (at + seconds) / total
        before = f"0%,{start - 0.01:.2f}%{{visibility:hidden}}" if i else ""
        after = f"{end:.2f}%,100%{{visibility:hidden}}" if i + 1 < len(frames) else ""
        style += f"@keyframes k{i}{{{before}{start:.2f}%,{end - 0.01:.2f}%{{visibility:visible}}{after}}}\n"
        style += f"#f{i}{{animation:k{i} {total:.1f}s step-end infinite}}\n"
        shown = "visible" if i == still else "hidden"
        groups.append(f'<g id="f{i}" visibility="{shown}">' + "".join(rendered(prompt, lines, columns)) + "</g>")
        at += seconds
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img">',
        "<title>az-status at work</title>", f"<style>{style}</style>",
        f'<rect x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1:.0f}" rx="8" class="back"/>', *groups, "</svg>"])


def rendered(prompt, lines, columns):
    rows = [("p", line) for line in textwrap.wrap(prompt, columns - 4, subsequent_indent="      ", break_on_hyphens=False)]
    failed = False
    for line in lines:
        if line.startswith("$ "):
            command, answer = line.split("\n")
            rows += [("p", command), ("", answer)]
            continue
        failed = failed or line.startswith("FAILED")
        rows.append(("bad" if failed else "good" if line.startswith("READY") else "", line))
    return [text(row, line, kind) for row, (kind, line) in enumerate(rows) if line]


def text(row, line, kind):
    y = MARGIN + 13 + row * LEADING
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{MARGIN}" y="{y}" xml:space="preserve"{name}>{escape(line, quote=False)}</text>'
