"""What the node's own client makes sure of."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from headway_cluster.node.api import Api

_KEEPALIVE_TIMER = "02"


@pytest.fixture
def server():
    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as made:
        made.daemon_threads = True
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_a_server_that_is_gone_without_a_word_is_noticed_by_an_idle_connection(server, tmp_path):
    port = server.server_address[1]
    file = tmp_path / "kubeconfig"
    part = {"cluster": {"server": f"http://127.0.0.1:{port}"}, "name": "x"}
    file.write_text(
        yaml.safe_dump(
            {
                "current-context": "x",
                "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
                "clusters": [part],
                "users": [{"name": "x", "user": {}}],
            }
        )
    )
    api = Api(file)
    api.get("/")
    assert _timers(port) == {_KEEPALIVE_TIMER}


def _timers(port: int) -> set[str]:
    """The running timers of established connections to a port (proc_net_tcp.txt of the kernel)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    remote = f":{port:04X}"
    return {line[5].split(":")[0] for line in lines if line[2].endswith(remote) and line[3] == "01"}
