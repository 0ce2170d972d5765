"""A recording API as its document describes it, and strict: what the document does not say is refused and remembered.

Faults are switched on by name: `api.fail("PUT", 503, times=2)` answers the next two uploads with 503.
"""

import json
import threading
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

KEY = "key-of-the-test"
OPENING = {
    "sessionId": str,
    "platformSessionId": str,
    "guildId": str,
    "guildName": str,
    "channelId": str,
    "userId": str,
    "recordedAt": str,
}
SEGMENT = {
    "userId": str,
    "username": str,
    "segmentIndex": int,
    "fileName": str,
    "fileSize": int,
    "absoluteStartTime": int,
    "absoluteEndTime": int,
    "duration": int,
    "format": str,
}
FINAL = SEGMENT | {"filePath": str, "blobUrl": str}
SUMMARY = {"sessionEndTime": int, "duration": int, "totalSize": int, "participantCount": int, "segments": list}
COMPLETED = {"fileIndex": int, "blobUrl": str, "userId": str, "username": str, "fileName": str, "filePath": str}
MIME = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg"}


class Refused(Exception):
    def __init__(self, status: int, why: str):
        super().__init__(why)
        self.status = status


class RecordingApi:
    """The service on a free port. `recordings` is what it knows, by its own ids; `blobs` the bytes, by path."""

    def __init__(self):
        self.recordings: dict[str, dict] = {}
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, dict] = {}
        self.problems: list[str] = []
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, list] = {}
        self.at_once = self.most_at_once = 0
        self.answers_url = True
        self.wrapped = False
        self.lock = threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fail(self, call: str, status: int, times: int = 1_000_000, **headers: str) -> None:
        """Answer `call` (init-live, segment-upload-url, PUT, finalize, init, complete) so the next `times`."""
        with self.lock:
            self.faults[call] = [status, times, headers]

    def mend(self, call: str) -> None:
        with self.lock:
            self.faults.pop(call, None)

    def only(self) -> dict:
        """The one recording there is."""
        with self.lock:
            (recording,) = self.recordings.values()
            return recording

    def _fault(self, call: str):
        fault = self.faults.get(call)
        if fault and fault[1] > 0:
            fault[1] -= 1
            return fault
        return None

    # What the document says of each call.

    def init_live(self, body: dict) -> dict:
        check(body, OPENING, optional=("platformSessionId",))
        for known in self.recordings.values():
            if known["opening"]["sessionId"] == body["sessionId"] and known["status"] == "live":
                return {"recordingId": known["id"], "status": "live"}
        return {"recordingId": self._begin(body, "live")["id"], "status": "live"}

    def segment_upload_url(self, known: dict, body: dict) -> dict:
        check(body, SEGMENT)
        if known["status"] != "live":
            raise Refused(409, "the recording is not live")
        if body["absoluteEndTime"] - body["absoluteStartTime"] != body["duration"] or body["duration"] <= 0:
            raise Refused(400, "duration is not what lies between the two times")
        return self._place(known, body)

    def finalize(self, known: dict, body: dict) -> dict:
        check(body, SUMMARY)
        for segment in body["segments"]:
            check(segment, FINAL)
            if segment["filePath"] not in self.blobs:
                raise Refused(400, f"{segment['filePath']} was never uploaded")
        if body["totalSize"] != sum(segment["fileSize"] for segment in body["segments"]):
            raise Refused(400, "totalSize is not the sum")
        known["status"], known["summary"] = "completed", body
        told = {name: body[name] for name in ("duration", "participantCount", "totalSize")}
        audio = [segment["blobUrl"] for segment in body["segments"]]
        told |= {"id": known["id"], "sessionId": known["opening"]["sessionId"], "status": "completed"}
        told |= {"segmentCount": len(audio), "downloadUrls": {"audio": audio}, "estimatedProcessingTime": 1}
        return {"recording": told}

    def init(self, body: dict) -> dict:
        check(body, OPENING | {"files": list}, optional=("platformSessionId",))
        again = [known for known in self.recordings.values() if known["opening"]["sessionId"] == body["sessionId"]]
        known = again[0] if again else self._begin(body, "uploading")
        urls = []
        for index, file in enumerate(body["files"]):
            check(file, SEGMENT | {"fileIndex": int})
            if file["fileIndex"] != index:
                raise Refused(400, "fileIndex does not count")
            urls.append({"fileIndex": index} | self._place(known, file))
        return {"success": True, "recordingId": known["id"], "uploadUrls": urls}

    def complete(self, known: dict, body: dict) -> dict:
        check(body, {"files": list})
        for file in body["files"]:
            check(file, COMPLETED)
            if file["filePath"] not in self.blobs:
                raise Refused(400, f"{file['filePath']} was never uploaded")
        known["status"], known["files"] = "completed", body["files"]
        return {"success": True}

    def put(self, token: str, headers, body: bytes) -> dict:
        upload = self.uploads.get(token)
        if upload is None:
            raise Refused(403, "no such upload")
        if headers.get("x-ms-blob-type") != "BlockBlob" or headers.get("Authorization"):
            raise Refused(400, "x-ms-blob-type is missing, or the key was sent to the store")
        if headers.get("Content-Type") != upload["mime"] or len(body) != upload["size"]:
            raise Refused(400, f"{len(body)} bytes of {headers.get('Content-Type')} are not what was announced")
        if upload.get("used"):
            raise Refused(409, "the address was used before")
        if upload["path"] in self.blobs and self.blobs[upload["path"]] != body:
            raise Refused(409, f"{upload['path']} is there already, with other bytes")
        upload["used"] = True
        self.blobs[upload["path"]] = body
        return {"url": f"https://blobs.example/{upload['path']}"} if self.answers_url else {}

    def _begin(self, opening: dict, status: str) -> dict:
        known = {"id": f"rec/{uuid.uuid4()}", "opening": opening, "status": status, "segments": []}
        self.recordings[known["id"]] = known
        return known

    def _place(self, known: dict, segment: dict) -> dict:
        token = uuid.uuid4().hex
        path = f"recordings/{known['opening']['sessionId']}/{segment['username']}/{segment['fileName']}"
        mime = MIME.get(segment["format"])
        if mime is None or not segment["fileName"].endswith("." + segment["format"]):
            raise Refused(400, f"format {segment['format']} of {segment['fileName']}")
        self.uploads[token] = {"path": path, "mime": mime, "size": segment["fileSize"]}
        known["segments"].append(segment)
        return {"uploadUrl": f"{self.url}/blobs/{token}?sig=secret-{token}", "blobPath": path}

    def _answer(self, method: str, handler) -> tuple[int, dict, dict]:
        length = int(handler.headers.get("Content-Length", -1))
        body = handler.rfile.read(max(length, 0))
        split = urlsplit(handler.path)
        parts = split.path.strip("/").split("/")
        call = "PUT" if method == "PUT" else parts[-1]
        with self.lock:
            self.calls[call] += 1
            fault = self._fault(call)
            if fault:
                return fault[0], {"success": False, "error": f"told to fail with {fault[0]}"}, fault[2]
            if length < 0:
                raise Refused(411, "no Content-Length")
            if method == "PUT":
                if parts[0] != "blobs" or parse_qs(split.query).get("sig") != [f"secret-{parts[1]}"]:
                    raise Refused(403, "not signed")
                return 200, self.put(parts[1], handler.headers, body), {}
            return 200, self._called(parts, handler.headers, body), {}

    def _called(self, parts: list[str], headers, body: bytes) -> dict:
        if headers.get("Authorization") != f"Bearer {KEY}":
            raise Refused(401, "wrong key")
        if parts[:2] != ["api", "recordings"] or headers.get("Content-Type") != "application/json":
            raise Refused(404, "no such call")
        told = json.loads(body)
        if parts[2:] in (["init-live"], ["init"]):
            answer = (self.init_live if parts[2] == "init-live" else self.init)(told)
        else:
            known = self.recordings.get(parts[2].replace("%2F", "/"))
            calls = {"segment-upload-url": self.segment_upload_url, "finalize": self.finalize, "complete": self.complete}
            if known is None or len(parts) != 4 or parts[3] not in calls:
                raise Refused(404, "no such recording or call")
            answer = calls[parts[3]](known, told)
        return {"success": True, "data": answer} if self.wrapped else answer

    def _handler(self):
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                with api.lock:
                    api.at_once += 1
                    api.most_at_once = max(api.most_at_once, api.at_once)
                try:
                    status, told, headers = api._answer(self.command, self)
                except Refused as refused:
                    status, told, headers = refused.status, {"success": False, "error": str(refused)}, {}
                    with api.lock:
                        api.problems.append(f"{self.command} {self.path.split('?')[0]}: {refused}")
                text = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(text)
                with api.lock:
                    api.at_once -= 1

            do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        return Handler


def check(body: dict, fields: dict[str, type], optional: tuple[str, ...] = ()) -> None:
    """Exactly these fields, each of its type."""
    missing = [name for name in fields if name not in body and name not in optional]
    unknown = [name for name in body if name not in fields]
    wrong = [name for name, kind in fields.items() if name in body and type(body[name]) is not kind]
    if missing or unknown or wrong:
        raise Refused(400, f"missing {missing}, unknown {unknown}, of a wrong type {wrong}")
