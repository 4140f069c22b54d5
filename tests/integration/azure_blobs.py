"""A few REST calls of Azure's blob store, with its precondition ``If-None-Match: *``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from .rest import Call, Reply, RestStore

ACCOUNT = "oxentest"
DATE = "Sat, 28 Nov 2026 12:00:00 GMT"


@dataclass
class AzureBlobs(RestStore):
    blocks: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def connection_string(self) -> str:
        # A key that is none: nobody looks at signatures here.
        return f"AccountName={ACCOUNT};AccountKey=bm9uZQ==;BlobEndpoint={self.url}/{ACCOUNT};"

    def answer(self, call: Call) -> Reply:
        _, _, container, *rest = call.path.split("/", 3)
        if container not in self.buckets:
            return _error(404, "ContainerNotFound")
        key = rest[0] if rest else ""
        if not key:
            return self._container(call, container)
        if call.method == "PUT":
            return self._put(call, container, key)
        if key not in self.buckets[container]:
            return _error(404, "BlobNotFound")
        if call.method == "DELETE":
            del self.buckets[container][key]
            return Reply(202)
        return self._get(call, self.buckets[container][key])

    def _put(self, call: Call, container: str, key: str) -> Reply:
        there = key in self.buckets[container] and call.headers.get("if-none-match") == "*" and not self.blind
        if call.query.get("comp") == "block":
            self.blocks.setdefault(key, {})[call.query["blockid"]] = call.body
            return Reply(201)
        if call.query.get("comp") == "blocklist":
            if there:
                return _error(412, "ConditionNotMet")
            blocks = self.blocks.pop(key, {})
            content = b"".join(blocks[id] for id in re.findall(r"<Latest>(.+?)</Latest>", call.body.decode()))
        elif there:
            return _error(409, "BlobAlreadyExists")
        else:
            content = call.body
        self.buckets[container][key] = content
        self.told[key] = {name: value for name, value in call.headers.items() if name.startswith("x-ms-")}
        return Reply(201, b"", {"ETag": '"1"', "Last-Modified": DATE})

    def _get(self, call: Call, content: bytes) -> Reply:
        headers = {"ETag": '"1"', "Last-Modified": DATE, "x-ms-blob-type": "BlockBlob"}
        asked = re.fullmatch(
            r"bytes=(\d+)-(\d*)", call.headers.get("x-ms-range") or call.headers.get("range", "")
        )
        if call.method == "HEAD":
            return Reply(200, b"", {**headers, "Content-Length": str(len(content))})
        if not asked:
            return Reply(200, content, headers)
        start, end = int(asked[1]), min(int(asked[2]) + 1 if asked[2] else len(content), len(content))
        if start >= len(content):
            return _error(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        return Reply(206, content[start:end], headers)

    def _container(self, call: Call, container: str) -> Reply:
        if call.query.get("comp") != "list":
            return Reply(200, b"", {"ETag": '"1"', "Last-Modified": DATE})
        prefix, folders, blobs = call.query.get("prefix", ""), set(), ""
        for key, content in self.buckets[container].items():
            inside, slash, _ = key.removeprefix(prefix).partition("/")
            if not key.startswith(prefix):
                continue
            if slash and call.query.get("delimiter"):
                folders.add(f"<BlobPrefix><Name>{escape(prefix + inside)}/</Name></BlobPrefix>")
                continue
            facts = (
                f"<Content-Length>{len(content)}</Content-Length><BlobType>BlockBlob</BlobType>"
                f"<Last-Modified>{DATE}</Last-Modified>"
            )
            blobs += f"<Blob><Name>{escape(key)}</Name><Properties>{facts}</Properties></Blob>"
        found = f"<Blobs>{blobs}{''.join(folders)}</Blobs><NextMarker/>"
        body = f'<EnumerationResults ContainerName="{container}">{found}</EnumerationResults>'
        return Reply(200, f'<?xml version="1.0"?>{body}'.encode(), {"Content-Type": "application/xml"})


def _error(status: int, code: str) -> Reply:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>as told</Message></Error>'.encode()
    return Reply(status, body, {"Content-Type": "application/xml", "x-ms-error-code": code})
