#!/usr/bin/python3
"""A camera of GStreamer's RTSP server, for tests: digest login, and pictures and sound that others have encoded.

    rtsp_server.py check
    rtsp_server.py PORT DIRECTORY USER PASSWORD RATE CAMERA...

The first says by its exit code whether all that the second needs is there. The second serves rtsp://127.0.0.1:PORT/CAMERA
for each camera until its standard input ends; port 0 is any. Whoever plays a camera sees DIRECTORY/CAMERA.pictures from its
beginning, again and again, RATE pictures a second, and hears DIRECTORY/CAMERA.sound if there is one. Both files are records,
each behind its length in four bytes: access units of H.264 as a byte stream, frames of AAC (LC, 8 kHz, one channel).

What happens is said on standard output, a line each: "listening PORT"; "connected" and "closed" of any connection, whoever
it is of; "opened CAMERA" when somebody who is let in asks for it.

It is for loopback and for tests alone. Run it with Debian's own Python, which knows the packages that Debian calls
gir1.2-gst-rtsp-server-1.0, python3-gi and gstreamer1.0-plugins-{base,good}.
"""

import os
import struct
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

# What stands between a file of records and the network.
ELEMENTS = ("appsrc", "rtph264pay", "rtpmp4gpay", "rtpbin")
PICTURES = "appsrc name=pictures ! rtph264pay name=pay0 pt=96"
SOUND = "appsrc name=sound ! rtpmp4gpay name=pay1 pt=97"
PICTURES_CAPS = "video/x-h264,stream-format=byte-stream,alignment=au,framerate={rate}/1"
# The last is the AudioSpecificConfig.
SOUND_CAPS = "audio/mpeg,mpegversion=4,stream-format=raw,rate=8000,channels=1,codec_data=(buffer)1588"
# A frame of AAC has 1,024 samples.
SOUND_NS = 1024 * Gst.SECOND // 8000
# What the owner is to whom a camera is shown.
ROLE = "owner"


def say(line):
    """In one write, because several threads say something."""
    os.write(1, f"{line}\n".encode())


def records(path):
    """The records of a file, if there is one."""
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        data = file.read()
    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


class Track:
    """Hands the records of one file to one viewer's pipeline, each with its time, for as long as that asks."""

    def __init__(self, source, caps, found, lasts_ns):
        self.records = found
        self.lasts_ns = lasts_ns
        self.number = 0
        source.set_property("format", Gst.Format.TIME)
        source.set_property("caps", Gst.Caps.from_string(caps))
        source.connect("need-data", self.give)

    def give(self, source, _bytes):
        buffer = Gst.Buffer.new_wrapped(self.records[self.number % len(self.records)])
        buffer.pts = self.number * self.lasts_ns
        buffer.dts = buffer.pts
        buffer.duration = self.lasts_ns
        self.number += 1
        source.emit("push-buffer", buffer)


def camera(directory, name, rate):
    """Makes a pipeline for each viewer of a camera; none is shared, so each sees its beginning."""
    pictures = records(os.path.join(directory, f"{name}.pictures"))
    sound = records(os.path.join(directory, f"{name}.sound"))

    def configure(_factory, media):
        say(f"opened {name}")
        pipeline = media.get_element()
        caps = PICTURES_CAPS.format(rate=rate)
        Track(pipeline.get_by_name("pictures"), caps, pictures, Gst.SECOND // rate)
        if sound:
            Track(pipeline.get_by_name("sound"), SOUND_CAPS, sound, SOUND_NS)

    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {PICTURES} {SOUND if sound else ''} )")
    factory.connect("media-configure", configure)
    allowed = GstRtspServer.RTSPPermissions()
    for what in ("access", "construct"):
        allowed.add_permission_for_role(ROLE, f"media.factory.{what}", True)
    factory.set_permissions(allowed)
    return factory


def login(user, password):
    """Lets in who knows the password, without sending it."""
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, password, token)
    return auth


def handle_connected(_server, client):
    say("connected")
    client.connect("closed", lambda _client: say("closed"))


def end_with_input():
    """Whoever started this has ended, or wants it to end."""
    sys.stdin.buffer.read()
    os._exit(0)


def serve(port, directory, user, password, rate, names):
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    server.set_auth(login(user, password))
    for name in names:
        server.get_mount_points().add_factory(f"/{name}", camera(directory, name, rate))
    server.connect("client-connected", handle_connected)
    if server.attach(None) == 0:
        sys.exit(f"port {port} cannot be listened on")
    threading.Thread(target=end_with_input, daemon=True).start()
    say(f"listening {server.get_bound_port()}")
    GLib.MainLoop().run()


def main():
    Gst.init(None)
    missing = [name for name in ELEMENTS if Gst.ElementFactory.find(name) is None]
    if missing:
        sys.exit(f"GStreamer has no {', '.join(missing)}")
    if sys.argv[1:] != ["check"]:
        port, directory, user, password, rate, *names = sys.argv[1:]
        serve(port, directory, user, password, int(rate), names)


if __name__ == "__main__":
    main()
