"""Two unlocks under az-status, in a pseudo-terminal, as one SVG on standard output."""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

import pyte
from terminal import animate

COLUMNS, ROWS = 100, 13
SIZE = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
LINE = "az-login | az-fetch key-fragment | az-join - device.frag | az-decrypt --key-file - {} | az-load > images.json"
# Frames of each run that are kept, and the seconds that the last one stands.
FRAMES, REST = 9, 4.0


def record(archive):
    """The screens of an unlock of `archive`, pairs of a second and its lines, and the exit status."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(2, termios.TIOCSWINSZ, SIZE)
        os.environ.update(TERM="xterm-256color")
        os.environ.pop("AZ_EVENTS", None)
        os.execvp("az-status", ["az-status", "--", "bash", "-o", "pipefail", "-c", LINE.format(archive)])
    started, screens = time.monotonic(), []
    while True:
        readable, _, _ = select.select([terminal], [], [], 0.05)
        if readable:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            stream.feed(data)
        lines = "\n".join(line.rstrip() for line in screen.display).rstrip().split("\n")
        if any(lines) and (not screens or lines != screens[-1][1]):
            screens.append((time.monotonic() - started, lines))
    _, status = os.waitpid(child, 0)
    return screens, os.waitstatus_to_exitcode(status)


def thin(screens):
    """Some of the screens, evenly over the time, the last among them."""
    end = screens[-1][0]
    wanted = [end * i / (FRAMES - 1) for i in range(FRAMES - 1)]
    kept = [min(screens[:-1] or screens, key=lambda screen: abs(screen[0] - at)) for at in wanted] + [screens[-1]]
    return [screen for i, screen in enumerate(kept) if i == 0 or screen != kept[i - 1]]


def main():
    frames = []
    for archive, expected in [("large.enc", 0), ("damaged.enc", 65)]:
        screens, status = record(archive)
        if status != expected:
            sys.exit(f"record: the unlock of {archive} ended with {status}\n" + "\n".join(screens[-1][1] if screens else []))
        kept = thin(screens)
        prompt = "$ az-status -- bash -o pipefail -c '" + LINE.format(archive) + "'"
        for i, (at, lines) in enumerate(kept):
            last = i + 1 == len(kept)
            frames.append((REST if last else kept[i + 1][0] - at, prompt, lines + ([f"$ echo $?\n{status}"] if last else [])))
    # The last frame in which bytes still move.
    still = max(i for i, (_, _, lines) in enumerate(frames) if i < FRAMES and any("left" in line for line in lines))
    print(animate(frames, COLUMNS, 12, still))


main()
