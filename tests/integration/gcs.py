"""A few REST calls of Google's store, with its precondition ``ifGenerationMatch=0``."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from .rest import Call, Reply, RestStore


@dataclass
class Gcs(RestStore):
    uploads: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, call: Call) -> Reply:
        found = re.fullmatch(r"(/upload|/download)?/storage/v1/b/([^/]+)/o(?:/(.+))?", call.path)
        if not found:
            return Reply(400, b"{}")
        kind, bucket, key = found.groups()
        if bucket not in self.buckets:
            return _error(404, "The specified bucket does not exist.")
        objects = self.buckets[bucket]
        if kind == "/upload":
            return self._upload(call, bucket)
        if key is None:
            return self._list(call, bucket)
        if key not in objects:
            return _error(404, "No such object")
        if call.method == "DELETE":
            del objects[key]
            return Reply(204)
        if kind == "/download" or call.query.get("alt") == "media":
            return _ranged(call, objects[key])
        return _json(self._facts(bucket, key))

    def _upload(self, call: Call, bucket: str) -> Reply:
        if call.query.get("uploadType") == "multipart":
            _, facts, content = re.split(rb"--==0==\r?\n", call.body, maxsplit=2)
            told = json.loads(facts.split(b"\n\n", 1)[1])
            head, content = content.split(b"\n\n", 1)
            told["contentType"] = head.decode().partition(": ")[2].strip()
            content = content.removesuffix(b"\n--==0==--")
            return self._write(call.query, bucket, told["name"], content, told)
        if "upload_id" not in call.query:
            id = uuid.uuid4().hex
            told = {**json.loads(call.body), "contentType": call.headers.get("x-upload-content-type")}
            self.uploads[id] = {"told": told, "content": b"", "query": call.query}
            match = "&ifGenerationMatch=0" if "ifGenerationMatch" in call.query else ""
            where = f"{self.url}{call.path}?uploadType=resumable&upload_id={id}{match}"
            return Reply(200, b"", {"Location": where})
        upload = self.uploads[call.query["upload_id"]]
        if call.method == "DELETE":
            return Reply(499)
        upload["content"] += call.body
        if call.headers["content-range"].endswith("/*"):
            return Reply(308, b"", {"Range": f"bytes=0-{len(upload['content']) - 1}"})
        return self._write(upload["query"], bucket, upload["told"]["name"], upload["content"], upload["told"])

    def _write(
        self, query: dict[str, str], bucket: str, key: str, content: bytes, told: dict[str, Any]
    ) -> Reply:
        if key in self.buckets[bucket] and query.get("ifGenerationMatch") == "0" and not self.blind:
            return _error(412, "At least one of the pre-conditions you specified did not hold.")
        self.buckets[bucket][key] = content
        self.told[key] = {**told, "kmsKeyName": query.get("kmsKeyName")}
        return _json(self._facts(bucket, key))

    def _facts(self, bucket: str, key: str) -> dict[str, Any]:
        content = self.buckets[bucket][key]
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        return {
            "name": key,
            "bucket": bucket,
            "size": str(len(content)),
            "generation": "1",
            "md5Hash": digest,
        }

    def _list(self, call: Call, bucket: str) -> Reply:
        prefix = call.query.get("prefix", "")
        return _json(
            {"items": [self._facts(bucket, key) for key in self.buckets[bucket] if key.startswith(prefix)]}
        )


def _json(value: Any) -> Reply:
    return Reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _error(status: int, message: str) -> Reply:
    return Reply(status, json.dumps({"error": {"code": status, "message": message}}).encode())


def _ranged(call: Call, content: bytes) -> Reply:
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("range", ""))
    if not asked:
        return Reply(200, content)
    end = int(asked[2]) + 1 if asked[2] else len(content)
    return Reply(206, content[int(asked[1]) : end])
