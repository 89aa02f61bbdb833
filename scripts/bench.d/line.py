"""An emulated line between two network namespaces: real TCP, whose packets come late or never.

    line.py DELAY_MS LOSS CONTROL

Both ends are TUN devices. A packet that goes in at one end comes out at the other after
DELAY_MS, or is lost with the probability LOSS, in either direction. CONTROL is the congestion
control of both ends. The addresses are of 127.0.0.0/8, since az-devserver listens and the
filters speak plain http nowhere else. Prints a line once the ends are up; needs root. What
the kernel's netem does is done here by hand, for kernels that are built without it.
"""
import collections
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time

# The two ends: namespace, device, address.
CLIENT = ("az-line-client", "azline0", "127.77.0.1")
SERVER = ("az-line-server", "azline1", "127.77.0.2")

# linux/if_tun.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

# Seed of the dice, so that two lines lose the same packets where they see the same.
SEED = 1


def main():
    delay, loss, control = float(sys.argv[1]) / 1000, float(sys.argv[2]), sys.argv[3]
    remove()
    ends = []
    for (space, device, address), (_, _, peer) in [(CLIENT, SERVER), (SERVER, CLIENT)]:
        ends.append(tun(device))
        set_up(space, device, address, peer, control)
    print("up", flush=True)
    try:
        forward(ends, delay, loss)
    except KeyboardInterrupt:
        pass


def remove():
    """Takes down what a line before this one left."""
    for space, _, _ in [CLIENT, SERVER]:
        subprocess.run(["ip", "netns", "delete", space], stderr=subprocess.DEVNULL)


def tun(device):
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    return end


def set_up(space, device, address, peer, control):
    ip("netns", "add", space)
    ip("link", "set", device, "netns", space)
    inside = ["-n", space]
    for key in ["all", device]:
        setting = f"/proc/sys/net/ipv4/conf/{key}"
        subprocess.run(["ip", "netns", "exec", space, "sh", "-c",
                        f"echo 1 > {setting}/route_localnet; echo 0 > {setting}/rp_filter"], check=True)
    # The loopback device must not claim the whole of 127.0.0.0/8.
    ip(*inside, "address", "add", "127.0.0.1/32", "dev", "lo")
    ip(*inside, "link", "set", "lo", "up")
    ip(*inside, "address", "add", address, "peer", peer, "dev", device)
    ip(*inside, "link", "set", device, "up", "mtu", "1500", "txqueuelen", "10000")
    ip(*inside, "route", "replace", peer, "dev", device, "src", address, "congctl", control)


def ip(*args):
    subprocess.run(["ip", *args], check=True)


def forward(ends, delay, loss):
    # The delay is the same for all, so what went in first comes out first.
    under_way = {end: collections.deque() for end in ends}
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    ready, draw, now = select.epoll(), random.Random(SEED).random, time.monotonic
    for end in ends:
        ready.register(end, select.EPOLLIN)
    while True:
        due = min((packets[0][0] for packets in under_way.values() if packets), default=None)
        for end, _ in ready.poll(None if due is None else max(0, due - now())):
            take(end, under_way[end], lambda: draw() < loss, now() + delay)
        for end, packets in under_way.items():
            while packets and packets[0][0] <= now():
                put(other[end], packets.popleft()[1])


def take(end, packets, lost, due):
    for _ in range(64):
        try:
            packet = os.read(end, 2048)
        except BlockingIOError:
            return
        if not lost():
            packets.append((due, packet))


def put(end, packet):
    try:
        os.write(end, packet)
    except OSError:
        # Where the other end is going down; TCP sends it again.
        pass


if __name__ == "__main__":
    main()
