"""A machine lost with its disk, and processes killed at each step of shipping and taking over: what was shipped is
finished by another process, bit for bit; what is missing is seconds at the end, marked as a gap.

Two servers share a store and a catalogue, each with a data folder of its own. The store is a folder that stands for a
remote one: shipping is told to happen all the same.
"""

import asyncio
import json
import shutil
import time

import pytest
from harness.clients import Ingest, refused
from harness.judges import tone, wave_file
from harness.oracle import compare, indexed_pcm
from harness.segments import Recording, Segment, wav
from harness.server import of_tracks, run_reeltime, until
from test_kill_loop import Caller

RATE = 16_000
MIB = 1 << 20
MISSING = 5.0
"""Seconds that may be missing of a call when its machine is lost."""
LEASE = 3.0


class Speaker(Caller):
    """Speaks in real time and asks for what is in the store to be acknowledged."""

    def __init__(self, name: str, seconds: float):
        super().__init__(name, seconds)
        self.query = self.first = f"?ack=store&clock=samples&call={name}"


@pytest.fixture
def node(new_server, tmp_path):
    """Makes nodes on one store and one catalogue."""

    def make(**settings):
        shared = {
            "REELTIME_STORE_URL": f"file://{tmp_path}/store",
            "REELTIME_DATABASE_URL": f"sqlite://{tmp_path}/catalogue.db",
            "REELTIME_SHIP": "always",
            "REELTIME_SHIP_INTERVAL": "1s",
            "REELTIME_NODE_LEASE": f"{LEASE}s",
            "REELTIME_RESUME_WINDOW": "2s",
            "REELTIME_RESERVE": "0",
            "ENABLE_AUDIO_RECORDING": "false",
        }
        return new_server(**shared | settings)

    return make


def bundles(tmp_path) -> list:
    return [path for path in (tmp_path / "store/_reeltime/bundles").rglob("*") if path.is_file()]


def lose(server) -> None:
    """The machine and its disk are gone."""
    server.kill()
    shutil.rmtree(server.data_dir)


def until_shipped(server, samples: int) -> None:
    until("all of it to be shipped", lambda: server.metric("reeltime_shipped_bytes_total") >= 2 * samples)


def test_of_a_lost_machine_another_process_finishes_every_call(node, tmp_path, request):
    calls = request.config.getoption("--lost-calls")
    lost, other = node().start(), node().start()
    speakers = [Speaker(f"lost-{n}", 30) for n in range(calls)]

    async def speak():
        url = lost.url("/v1/ingest/pcm", "ws")
        speaking = [asyncio.create_task(speaker.speak(url)) for speaker in speakers]
        await asyncio.sleep(6)
        await asyncio.to_thread(lose, lost)
        await asyncio.gather(*speaking, return_exceptions=True)

    asyncio.run(speak())
    began = time.monotonic()
    missing, kept = [], []
    for speaker in speakers:
        details = other.completed(speaker.recording_id, 60)
        verdict = compare(wave_file(other.stream(speaker.recording_id))[1], speaker.pcm[: 2 * speaker.sent])
        assert not (verdict.duplicated or verdict.shifted or verdict.foreign), verdict
        assert verdict.runs[0].source == 0, "what is there is there from its first sample on"
        got = verdict.runs[0].length
        assert got >= speaker.acked > 0, f"{speaker.acked - got} samples were acknowledged and lost"
        [gap] = of_tracks(details, "gaps")
        assert (gap["reason"], gap["at"]) == ("disconnected", got), gap
        kept.append(got)
        missing.append((speaker.sent - got) / RATE)
    print(f"missing at most {max(missing):.2f} s of {speakers[0].sent / RATE:.1f}, all complete {time.monotonic() - began:.1f} s after")
    assert max(missing) <= MISSING
    until("no bundle to be left", lambda: not bundles(tmp_path), 30)
    assert other.metric("reeltime_taken_over_recordings_total") == calls


def test_a_client_resumes_at_the_process_that_took_over_and_loses_nothing(node):
    lost, other = node(REELTIME_RESUME_WINDOW="30s").start(), node(REELTIME_RESUME_WINDOW="30s").start()
    pcm = indexed_pcm("moves on", 6 * RATE)
    client = Ingest(lost, ack="store", call="moves")
    client.send(pcm[: 8 * RATE])
    client.until_acked(3 * RATE)
    lose(lost)
    until("the call to be taken over", lambda: other.metric("reeltime_taken_over_recordings_total") == 1, 30)
    again = Ingest(other, ack="store", resume_token=client.token)
    assert again.recording_id == client.recording_id
    assert client.acked <= again.resume_at <= 4 * RATE
    again.send(pcm[2 * again.resume_at :])
    assert again.stop() == 6 * RATE
    details = other.completed(client.recording_id)
    assert compare(wave_file(other.stream(client.recording_id))[1], pcm).intact
    assert of_tracks(details, "gaps") == []


def test_with_ack_store_all_is_acknowledged_when_the_session_is_stopped(node, tmp_path):
    server = node(REELTIME_SHIP_INTERVAL="5s").start()
    client = Ingest(server, ack="store", call="stops")
    client.send(indexed_pcm("stops", RATE))
    assert client.stop() == RATE
    assert client.acked == RATE
    server.completed(client.recording_id)
    until("its bundles to go", lambda: not bundles(tmp_path), 30)


def test_ack_store_is_refused_where_nothing_is_shipped(server, node):
    for refuses in (server, node(REELTIME_SHIP="never").start(), node(REELTIME_SHIP_INTERVAL="0").start()):
        error, code, _ = refused(refuses, ack="store")
        assert (error["code"], code) == ("unsupported_ack", 1008)
        assert "ack=disk" in error["message"]


@pytest.mark.parametrize("step", ["bundle_put:2", "shipped:2"])
def test_a_process_killed_while_shipping_goes_on_with_nothing_lost_or_shipped_twice(node, tmp_path, step):
    killed = node(REELTIME_CRASH_AT=step, REELTIME_RESUME_WINDOW="30s").start()
    pcm = indexed_pcm(step, 8 * RATE)
    client = Ingest(killed, ack="disk", call="killed")
    client.send(pcm[: 2 * RATE])
    client.until_acked(RATE)
    until("a bundle", lambda: bundles(tmp_path))
    client.send(pcm[2 * RATE : 8 * RATE])
    assert killed.process.wait(20) == -9
    killed.settings.pop("REELTIME_CRASH_AT")
    killed.start()
    again = Ingest(killed, ack="store", resume_token=client.token)
    again.send(pcm[2 * again.resume_at :])
    assert again.stop() == 8 * RATE
    assert again.acked == 8 * RATE
    killed.completed(client.recording_id)
    assert compare(wave_file(killed.stream(client.recording_id))[1], pcm).intact
    assert killed.metric("reeltime_shipped_bytes_total") <= killed.metric("reeltime_synced_bytes_total")
    until("all bundles to go, the earlier process's too", lambda: not bundles(tmp_path), 30)


# Two sound files get their names, then two logs.
@pytest.mark.parametrize("step", ["takeover_claimed", "takeover_taken", *(f"takeover_named:{n}" for n in range(1, 5)), "takeover_written"])
def test_a_process_killed_while_taking_over_does_it_again(node, tmp_path, step):
    lost = node().start()
    sounds = {who: indexed_pcm(f"{step} {who}", 3 * RATE) for who in ("anna", "ben")}
    clients = [Ingest(lost, ack="store", call="twice", participant=who) for who in sounds]
    for client, pcm in zip(clients, sounds.values(), strict=True):
        client.send(pcm)
        client.until_acked(3 * RATE)
    lose(lost)
    other = node(REELTIME_CRASH_AT=step)
    # It may look, and die, before it is asked whether it is ready.
    try:
        other.start()
    except Exception as error:  # noqa: BLE001
        print("died at once:", error)
    other.process.wait(30)
    assert other.process.returncode == -9
    other.settings.pop("REELTIME_CRASH_AT")
    other.start()
    other.completed(clients[0].recording_id, 60)
    for who, pcm in sounds.items():
        verdict = compare(wave_file(other.stream(clients[0].recording_id, participant=who))[1], pcm)
        assert (verdict.lost, verdict.duplicated, verdict.shifted, verdict.foreign) == (0, 0, 0, 0), verdict
    until("no bundle to be left", lambda: not bundles(tmp_path), 30)


def test_of_two_that_look_exactly_one_takes_over(node, tmp_path):
    lost = node().start()
    others = [node().start(), node().start()]
    pcm = [indexed_pcm(f"one of {n}", 2 * RATE) for n in range(5)]
    clients = [Ingest(lost, ack="store", call=f"contested-{n}") for n in range(5)]
    for client, sound in zip(clients, pcm, strict=True):
        client.send(sound)
        client.until_acked(2 * RATE)
    lose(lost)
    for client, sound in zip(clients, pcm, strict=True):
        until("it to be complete", lambda: others[0].recording(client.recording_id)["state"] == "complete", 60)
        assert compare(wave_file(others[1].stream(client.recording_id))[1], sound).lost == 0
    assert sorted(other.metric("reeltime_taken_over_recordings_total") for other in others) == [0, 5]
    until("no bundle to be left", lambda: not bundles(tmp_path), 30)


def test_a_node_that_comes_back_after_it_was_taken_over_leaves_its_logs_and_overwrites_nothing(node, tmp_path):
    away = node().start()
    pcm = indexed_pcm("comes back", 2 * RATE)
    client = Ingest(away, ack="store", call="back")
    client.send(pcm)
    client.until_acked(2 * RATE)
    away.kill()
    other = node().start()
    before = other.completed(client.recording_id, 60)
    stored = other.stream(client.recording_id)
    logs = sorted(path.name for path in (away.data_dir / "spool").glob("*.log"))
    assert logs
    away.start()
    assert "taken over" in away.log()
    assert other.recording(client.recording_id) == before
    assert other.stream(client.recording_id) == stored
    assert sorted(path.name for path in (away.data_dir / "spool").glob("*.log")) == logs
    # And it records on.
    assert Ingest(away, call="later").stop() == 0


def test_segments_that_come_to_a_lost_machine_go_on_at_another_process(node):
    """Which had begun while they came, and left them alone. What was logged and not shipped is read back from the store."""
    lost = node().start()
    said = [Segment("anna", n, n, wav(indexed_pcm(f"segment {n}", RATE)), 1.0) for n in range(6)]
    recording = Recording(lost, "moves")
    sent = [recording.send(said[0])]
    other = node().start()
    assert other.get("/api/recordings/active").status_code == 404, "it is the other machine's"
    sent += [recording.send(said[n]) for n in (2, 1)]
    until_shipped(lost, RATE)
    sent.append(recording.send(said[3]))
    lose(lost)
    until("the recording to be taken over", lambda: other.metric("reeltime_taken_over_recordings_total") == 1, 30)
    again = Recording(other, "moves")
    assert again.id == recording.id
    sent += [again.send(said[n]) for n in (5, 4)]
    told = again.finalize(sent)
    assert (told["status"], told["segmentCount"]) == ("completed", 6), told
    details = other.completed(again.id, 60)
    assert of_tracks(details, "gaps") == []
    assert wave_file(other.stream(again.id))[1] == b"".join(each.content[44:] for each in said)


def test_segments_that_a_lost_machine_was_cutting_are_cut_to_the_end_by_another_process(node, tmp_path):
    settings = {"REELTIME_SEGMENTS": "store", "RECORDING_OUTPUT_FORMAT": "wav"}
    lost = node(**settings).start()
    client = Ingest(lost, ack="store", call="cut", participant="anna", clock="samples")
    for n in range(3):
        client.send(tone(500 + 100 * n, 1) + bytes(4 * RATE))
    client.until_acked(9 * RATE)
    folder = tmp_path / "store/recordings" / client.recording_id / "anna"
    until("the first ones", lambda: (folder / "segment_001.wav").exists())
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    lose(lost)
    other = node(**settings).start()
    other.completed(client.recording_id, 60)
    listed = until("the list", lambda: (folder.parent / "segments.json").exists() and folder.parent / "segments.json", 30)
    told = json.loads(listed.read_text())["segments"]
    assert [segment["segmentIndex"] for segment in told] == [0, 1, 2]
    assert all((folder / segment["fileName"]).stat().st_size == segment["fileSize"] for segment in told)
    assert all((folder / name).read_bytes() == content for name, content in first.items())


def test_the_catalogue_is_rebuilt_from_the_store_alone(node, tmp_path):
    first = node().start()
    spoken = {}
    for n, names in enumerate((["anna"], ["anna", "ben"])):
        clients = [Ingest(first, call="rebuilt", participant=name) for name in names]
        for client in clients:
            client.send(indexed_pcm(f"{n} {client.track_id}", 2 * RATE))
        for client in clients:
            client.stop()
        spoken[clients[0].recording_id] = first.completed(clients[0].recording_id)
    live = Ingest(first, ack="store", call="live")
    pcm = indexed_pcm("live", 2 * RATE)
    live.send(pcm)
    live.until_acked(2 * RATE)
    before = {id: first.stream(id) for id in spoken}
    lose(first)
    for file in tmp_path.glob("catalogue.db*"):
        file.unlink()

    other = node()

    def rebuild(*flags: str) -> dict:
        command = ["catalogue", "rebuild", "--json", "--data-dir", str(other.data_dir), *flags]
        done = run_reeltime(*command, cwd=other.home, **other.settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    fresh = {"entered": 2, "known": 0, "deleted": 0, "nodes_to_take_over": 1, "unusable": []}
    assert rebuild("--dry-run") == fresh | {"dry_run": True}
    assert rebuild() == fresh | {"dry_run": False}
    assert rebuild() == fresh | {"dry_run": False, "entered": 0, "known": 2, "nodes_to_take_over": 0}
    other.start()
    for id, details in spoken.items():
        found = other.recording(id)
        # An id tells when it was given to the millisecond.
        assert found.pop("created_at")[:23] == details.pop("created_at")[:23]
        assert found == details
        assert other.stream(id) == before[id]
    assert [details["previous_id"] for details in spoken.values()] == [None, next(iter(spoken))]
    # It is known once it is taken over.
    path = f"/api/v1/recordings/{live.recording_id}"
    until("the lost node's recording is known", lambda: other.get(path).status_code == 200, 60)
    other.completed(live.recording_id, 60)
    assert compare(wave_file(other.stream(live.recording_id))[1], pcm).lost == 0


def test_a_recording_that_came_in_segments_is_rebuilt_with_them_and_deleted_with_them(node, tmp_path):
    first = node().start()
    recording = Recording(first, "rebuilt")
    said = [Segment(user, n, n, wav(indexed_pcm(f"{user} {n}", RATE)), 1.0) for user in ("anna", "ben") for n in range(2)]
    never = Segment("ben", 2, 5, said[0].content, 1.0)
    recording.finalize([*(recording.send(each) for each in said), never.described()])
    first.completed(recording.id)
    place = f"/api/recordings/{recording.id}"
    before = first.get(place).text.replace(first.url(""), "")
    assert len(json.loads(before)["recording"]["missingSegments"]) == 1
    lose(first)
    for file in tmp_path.glob("catalogue.db*"):
        file.unlink()
    other = node()
    rebuild = ("catalogue", "rebuild", "--data-dir", str(other.data_dir))
    killed = run_reeltime(*rebuild, cwd=other.home, **other.settings | {"REELTIME_CRASH_AT": "segments_entered"})
    assert killed.returncode == -9, killed.stderr
    done = run_reeltime(*rebuild, cwd=other.home, **other.settings)
    assert done.returncode == 0, done.stderr
    other.start()
    assert other.get(place).text.replace(other.url(""), "") == before
    assert other.completed(recording.id)
    assert other.request("DELETE", f"/api/v1/recordings/{recording.id}").status_code == 204
    until("nothing to be left", lambda: not [path for path in (tmp_path / "store/recordings").rglob("*") if path.is_file()], 30)


def test_a_manifest_that_makes_no_sense_costs_itself_alone(node, tmp_path):
    server = node()
    manifests = tmp_path / "store/_reeltime/manifests"
    manifests.mkdir(parents=True)
    (manifests / "01890a5d-ac96-774b-bcce-b302099a8057.json").write_text("[]")
    command = ["catalogue", "rebuild", "--json", "--data-dir", str(server.data_dir)]
    done = run_reeltime(*command, cwd=server.home, **server.settings)
    assert done.returncode == 1
    [unusable] = json.loads(done.stdout)["unusable"]
    assert "no manifest" in unusable["reason"], unusable


def test_into_s3_what_a_lost_machine_had_sent_in_parts_is_finished_by_another_process(node, s3):
    """One client comes back and goes on, the other does not. What was begun in parts holds more than what was shipped, or
    other bytes, so it is given up; boto3 sees it go."""
    settings = s3.settings("ours") | {"REELTIME_RESUME_WINDOW": "5s"}
    lost, other = node(**settings).start(), node(**settings).start()
    sound = {name: indexed_pcm(name, 6 * MIB + 10 * RATE) for name in ("gone", "back")}
    clients = {name: Ingest(lost, ack="store") for name in sound}
    for name, client in clients.items():
        client.send(sound[name][: 12 * MIB], 65_536)
        client.until_acked(6 * MIB, 60)
    until("a part of each", lambda: lost.metric("reeltime_upload_parts_sent_total") == 2, 30)
    assert len(s3.uploads()) == 2
    for name, client in clients.items():
        client.send(sound[name][12 * MIB : 12 * MIB + 2 * RATE])
    lose(lost)
    until("the calls to be taken over", lambda: other.metric("reeltime_taken_over_recordings_total") == 2, 30)
    again = Ingest(other, ack="store", resume_token=clients["back"].token)
    assert 6 * MIB <= again.resume_at <= 6 * MIB + RATE
    again.send(sound["back"][2 * again.resume_at :], 65_536)
    assert again.stop() == 6 * MIB + 10 * RATE

    for name, client in clients.items():
        details = other.completed(client.recording_id, 60)
        [key] = [key for key in s3.objects("ours/recordings/") if client.recording_id in key]
        kept, gaps = wave_file(s3.read(key))[1], of_tracks(details, "gaps")
        if name == "gone":
            [gap] = gaps
            assert gap["reason"] == "disconnected" and gap["at"] >= 6 * MIB
            assert sound[name].startswith(kept[: 2 * gap["at"]]) and not any(kept[2 * gap["at"] :])
        else:
            assert gaps == [] and kept == sound[name]
    until("the bundles to go", lambda: not s3.objects("ours/_reeltime/bundles/"), 30)
    until("no upload to be open", lambda: not s3.uploads(), 30)
    assert len(s3.objects("ours/")) == 4, "two recordings and their manifests"


def test_into_s3_a_store_that_is_away_for_a_while_gets_all_of_it(new_server, s3):
    """Shipping is on by itself where the store lies elsewhere; boto3 sees the bundles come and go."""
    server = new_server(**s3.settings("ours", REELTIME_SHIP_INTERVAL="1s", ENABLE_AUDIO_RECORDING="false")).start()
    pcm = indexed_pcm("away", 8 * RATE)
    client = Ingest(server, ack="store", call="away")
    client.send(pcm[: 2 * RATE])
    client.until_acked(RATE)
    assert s3.objects("ours/_reeltime/bundles/")
    s3.kill()
    client.send(pcm[2 * RATE : 12 * RATE])
    until("it to be on the disk", lambda: server.metric("reeltime_synced_bytes_total") == 12 * RATE)
    assert client.acked < 6 * RATE
    s3.start()
    client.until_acked(6 * RATE, 60)
    client.send(pcm[12 * RATE :])
    assert client.stop() == 8 * RATE
    server.completed(client.recording_id, 60)
    assert compare(wave_file(server.stream(client.recording_id))[1], pcm).intact
    until("the bundles to go", lambda: not s3.objects("ours/_reeltime/bundles/"), 60)
    assert not s3.objects("ours/_reeltime/probe/")
