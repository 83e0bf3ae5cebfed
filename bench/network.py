"""Where the benchmark talks: a network namespace of its own, with Debian's TCP settings, so that neither the machine's own traffic nor its
tuning is measured. Above all the congestion control: under bbr the kernel arms a timer for each segment to pace it, which costs a virtual
machine an exit, and bulk rows are then about that."""
import ctypes, fcntl, os, pathlib, socket, struct, sys

CONGESTION = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control")
DEBIANS = "cubic"
CLONE_NEWNET, SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8913, 0x8914, 1


def congestion():
    return CONGESTION.read_text().strip()


def raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        name, flags = struct.unpack("16sh", fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16sh", b"lo", 0)))
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh", name, flags | IFF_UP))


def enter_own():
    """For this thread and what it starts from now on. Where we may not, the machine's own network is used, and said."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        print(f"bench: no network namespace of our own ({os.strerror(ctypes.get_errno())}): the machine's, with {congestion()}", file=sys.stderr)
        return
    raise_loopback()
    CONGESTION.write_text(DEBIANS)
