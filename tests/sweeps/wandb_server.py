"""A server on loopback that answers what `wandb sweep` and `wandb agent` ask, and no more."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2


class WandbServer(ThreadingHTTPServer):
    """Hands out `runs`, one to each agent, and ends each agent when its run is over.

    Attributes:
        runs: Arguments of the runs to come, by their id.
        stop: Ids of runs that are to be stopped.
        config: The sweep file that `wandb sweep` has sent.
        ended: Ids of runs that an agent had and has no more.
        asked: Names of requests that were not understood.
    """

    def __init__(self, runs: dict[str, dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs, self.stop = dict(runs), set[str]()
        self.config = ""
        self.agents: list[str | None] = []
        self.ended: list[str] = []
        self.asked: list[str] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "p", "name": "tests", "entity": {"id": "e", "name": "me"}}
        sweep = {"id": "s", "name": "sweep1", "config": self.config, "state": "RUNNING",
                 "method": "grid", "runs": {"edges": []}, "project": project}
        if "UpsertSweep" in query:
            self.config = variables["config"]
            return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}
        if "SweepWithRuns" in query:
            return {"project": {"sweep": sweep}}
        if "CreateAgent" in query:
            self.agents.append(None)
            return {"createAgent": {"agent": {"id": str(len(self.agents) - 1)}}}
        if "Heartbeat" in query:
            states = json.loads(variables["runState"] or "{}")
            return {"agentHeartbeat": {"agent": {"id": variables["id"]}, "commands": json.dumps(
                self.commands(int(variables["id"]), states))}}
        if "viewer" in query:
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "email": "me@here",
                               "flags": "{}", "teams": {"edges": []}}}
        self.asked.append(query)
        return {}

    def commands(self, agent: int, states: dict[str, bool]) -> list[dict[str, Any]]:
        run = self.agents[agent]
        if run is None:
            run, values = self.runs.popitem()
            self.agents[agent] = run
            return [{"type": "run", "run_id": run, "program": "", "args": {
                name: {"value": value} for name, value in values.items()}}]
        if run not in states:
            self.ended.append(run)
            return [{"type": "exit"}]
        return [{"type": "stop", "run_id": run}] if run in self.stop else []


class _Handler(BaseHTTPRequestHandler):
    server: WandbServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            data = self.server.answer(request["query"], request.get("variables") or {})
        body = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def records(path: Path) -> Iterator[Any]:
    """The records of a ``run-*.wandb``: protobuf in a log of LevelDB's format, in 32 KiB blocks."""
    content, position, whole = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length, kind = int.from_bytes(content[position + 4: position + 6], "little"), content[
            position + 6]
        whole += content[position + 7: position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # the whole record, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def mirrored(run_dir: Path) -> tuple[dict[str, Any], dict[str, Any], list[int]]:
    """Config and summary of the one offline run in a folder, and the exit codes it was given."""
    path, = run_dir.glob("wandb/offline-run-*/run-*.wandb")
    config, summary, codes = {}, {}, []
    for record in records(path):
        for update in record.run.config.update:
            config[update.key] = json.loads(update.value_json)
        for item in (*record.summary.update, *record.history.item):
            summary[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        if record.WhichOneof("record_type") == "exit":
            codes.append(record.exit.exit_code)
    return config, summary, codes
