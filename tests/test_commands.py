"""`reeltime ls` and `reeltime export`, of a running server and of the folder that it left."""

import json
import re
import subprocess

import pytest
from harness import judges
from harness.clients import Ingest
from harness.oracle import indexed_pcm
from harness.server import BINARY, clean_environment, run_reeltime

RATE = 16_000


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A server with three recordings: of anna and ben in one call, of anna alone, and an empty one."""
    from harness.server import Server

    server = Server(tmp_path_factory.mktemp("stocked"), REELTIME_CALL_LINGER="100ms").start()
    server.pcm = {name: indexed_pcm(name, RATE) for name in ("anna", "ben", "solo")}
    anna = Ingest(server, call="both", participant="anna")
    ben = Ingest(server, call="both", participant="ben")
    solo = Ingest(server, call="alone\x1b[31m", participant="solo")
    for client, name in ((anna, "anna"), (ben, "ben"), (solo, "solo")):
        client.send(server.pcm[name], frame=6_400)
        client.stop()
    server.both, server.solo = anna.recording_id, solo.recording_id
    for recording in (server.both, server.solo):
        server.completed(recording)
    yield server
    server.stop()


def ls(server, *arguments: str) -> dict:
    done = run_reeltime("ls", *arguments, "--json", cwd=server.home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def export(server, *arguments: str, status: int = 0) -> subprocess.CompletedProcess:
    done = run_reeltime("export", *arguments, cwd=server.home)
    assert done.returncode == status, done.stderr
    return done


def test_a_list_is_the_servers_own_and_filtered_by_it(stocked):
    to = ("--to", stocked.url(""))
    found = ls(stocked, *to)
    assert found == {"items": stocked.recordings(), "total": 2}
    assert [one["id"] for one in found["items"]] == [stocked.solo, stocked.both]
    for arguments, expected in (
        (["--call", "both"], [stocked.both]),
        (["-q", "ben"], [stocked.both]),
        (["--state", "complete,active"], [stocked.solo, stocked.both]),
        (["--state", "failed"], []),
        (["--limit", "1"], [stocked.solo]),
    ):
        assert [one["id"] for one in ls(stocked, *to, *arguments)["items"]] == expected, arguments


def test_the_table_is_plain_and_a_name_cannot_steer_the_terminal(stocked):
    done = run_reeltime("ls", "--to", stocked.url(""), "--limit", "1", cwd=stocked.home)
    head, row, more = done.stdout.splitlines()
    assert head.split() == ["ID", "CALL", "STATE", "START", "(UTC)", "LENGTH", "SIZE"]
    assert row.startswith(stocked.solo) and "alone\ufffd[31m" in row and "complete" in row
    assert row.split()[-3:] == ["0:01.0", "31.3", "KiB"] and more == "1 more: --limit 2"
    assert "\x1b" not in done.stdout


def test_more_than_a_page_is_listed(new_server):
    server = new_server(REELTIME_CALL_LINGER="0s").start()
    for number in range(103):
        client = Ingest(server, participant=f"p{number}")
        client.send(indexed_pcm("page", 320))
        client.close()
    found = ls(server, "--to", server.url(""), "--limit", "102")
    assert (len(found["items"]), found["total"]) == (102, 103)
    assert len({one["id"] for one in found["items"]}) == 102


def test_the_server_at_the_default_address_is_asked_else_the_folder_is_read(stocked, tmp_path):
    listen = ("--listen", f"127.0.0.1:{stocked.port}")
    assert ls(stocked, *listen)["total"] == 2
    done = run_reeltime("ls", "--data-dir", str(stocked.data_dir), cwd=tmp_path)
    assert done.returncode == 1 and "in use by a running server: ask that, with --to" in done.stderr
    nobody = ("--listen", "127.0.0.1:1")
    done = run_reeltime("ls", *nobody, cwd=tmp_path)
    assert done.returncode == 1 and "no server answers" in done.stderr and "--data-dir" in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = run_reeltime("ls", "--to", "http://127.0.0.1:1", "--data-dir", "x", cwd=tmp_path)
    assert done.returncode == 2 and "give one of them" in done.stderr
    done = run_reeltime("ls", "--state", "done", cwd=tmp_path)
    assert done.returncode == 2 and "a state is one of starting, active" in done.stderr


def test_a_folder_lists_as_its_server_did(new_server, tmp_path):
    server = new_server(REELTIME_CALL_LINGER="0s").start()
    done = Ingest(server, participant="done")
    done.send(indexed_pcm("done", RATE))
    done.stop()
    server.completed(done.recording_id)
    cut = Ingest(server, participant="cut", ack="disk")
    cut.send(indexed_pcm("cut", RATE))
    cut.until_acked(RATE)
    before = server.recordings(state="complete")
    server.kill()
    found = run_reeltime("ls", "--data-dir", str(server.data_dir), "--json", cwd=tmp_path)
    listed = json.loads(found.stdout)
    assert [one for one in listed["items"] if one["state"] == "complete"] == before
    assert {one["id"] for one in listed["items"]} == {done.recording_id, cut.recording_id}
    assert "1 of them were not finished" in found.stderr and "reeltime recover" in found.stderr
    # Listing changed nothing: the session that was cut goes on.
    server.start()
    again = Ingest(server, resume_token=cut.token, ack="disk")
    assert again.resume_at == RATE and again.stop() == RATE


def test_an_export_from_a_server_is_what_it_streams(stocked, tmp_path):
    to = ("--to", stocked.url(""))
    out = tmp_path / "solo.wav"
    done = export(stocked, stocked.solo, "-o", str(out), *to)
    assert out.read_bytes() == stocked.stream(stocked.solo) and done.stdout == ""
    assert judges.wave_file(out.read_bytes())[1] == stocked.pcm["solo"]
    assert done.stderr == "solo.wav: 31.3 KiB\n"
    assert [path.name for path in tmp_path.iterdir()] == ["solo.wav"]
    for track in stocked.recording(stocked.both)["tracks"]:
        for whose in (["--participant", track["participant"]], ["--track", track["id"]]):
            export(stocked, stocked.both, "-o", str(out), *to, *whose)
            assert judges.wave_file(out.read_bytes())[1] == stocked.pcm[track["participant"]]


def test_a_folder_that_a_server_has_is_exported_by_that_server(stocked, tmp_path):
    done = export(stocked, stocked.solo, "-o", str(tmp_path / "x.wav"), "--data-dir", str(stocked.data_dir), status=1)
    assert "in use by a running server: ask that, with --to http://host:port" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_the_server_cannot_make_is_told_in_its_words_and_leaves_no_file(stocked, tmp_path):
    to = ("--to", stocked.url(""))
    out = str(tmp_path / "x")
    unknown = "01890a5d-ac96-774b-bcce-b302099a8057"
    done = export(stocked, unknown, "-o", out, *to, status=1)
    assert "Recording not found (404)" in done.stderr
    done = export(stocked, stocked.solo, "-o", out, "--layout", "round", *to, status=1)
    assert "layout" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_files_name_and_the_format_agree(stocked, tmp_path):
    to = ("--to", stocked.url(""))
    done = export(stocked, stocked.solo, "-o", str(tmp_path / "x.mp3"), "--format", "wav", *to, status=2)
    assert "--format wav does not fit" in done.stderr
    # The name alone asks for Ogg, which linear samples do not go into as they are.
    wanted = stocked.get(f"/api/v1/recordings/{stocked.solo}/stream", params={"format": "ogg"})
    done = run_reeltime("export", stocked.solo, "-o", str(tmp_path / "x.ogg"), *to, cwd=tmp_path)
    if wanted.status_code == 200:
        assert (tmp_path / "x.ogg").read_bytes() == wanted.content
    else:
        assert done.returncode == 1 and wanted.json()["detail"] in done.stderr


def test_an_ending_that_is_no_format_is_refused_unless_the_format_is_said(stocked, tmp_path):
    to, out = ("--to", stocked.url("")), tmp_path / "out.xyz"
    done = export(stocked, stocked.solo, "-o", str(out), *to, status=2)
    assert "out.xyz" in done.stderr and "use wav, flac, ogg, mp3, webm or mp4" in done.stderr
    done = export(stocked, stocked.solo, "-o", str(out), "--format", "xyz", *to, status=2)
    assert "--format xyz" in done.stderr and "use wav, flac" in done.stderr
    assert list(tmp_path.iterdir()) == []
    export(stocked, stocked.solo, "-o", str(out), "--format", "WAV", *to)
    assert judges.wave_file(out.read_bytes())[1] == stocked.pcm["solo"]


def test_into_a_folder_goes_a_file_of_its_own_and_replaces_none(stocked, tmp_path):
    folder, to = tmp_path / "calls.d", ("--to", stocked.url(""))
    folder.mkdir()
    (folder / "both-2.wav").write_text("somebody else's")
    done = export(stocked, stocked.both, "-o", str(folder), *to)
    assert re.fullmatch(r"both\.wav: \d+\.\d KiB\n", done.stderr)
    export(stocked, stocked.both, "-o", f"{folder}/", *to)
    export(stocked, stocked.both, "-o", str(folder), "--format", "flac", *to)
    export(stocked, stocked.solo, "-o", str(folder), *to)
    names = ["alone~1B~5B31m.wav", "both-2.wav", "both-3.wav", "both.flac", "both.wav"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder / "both-2.wav").read_text() == "somebody else's"
    assert (folder / "both.wav").read_bytes() == (folder / "both-3.wav").read_bytes() == stocked.stream(stocked.both)
    assert (folder / "both.flac").read_bytes()[:4] == b"fLaC"
    assert judges.wave_file((folder / names[0]).read_bytes())[1] == stocked.pcm["solo"]


def test_a_start_warns_of_what_larger_calls_cannot_be_kept_as(new_server):
    server = new_server(REELTIME_RENDITIONS="mp3:tracks,flac:tracks,wav:tracks,mp3:stereo").start()
    warned = re.findall(r"WARN .* (\w+) holds at most (\d+) channels: calls with more will have no (\S+)", server.log())
    assert warned == [("MP3", "2", "mp3:tracks"), ("FLAC", "8", "flac:tracks")], server.log()


def test_a_closed_pipe_is_no_error(new_server, tmp_path):
    server = new_server(REELTIME_CALL_LINGER="0s").start()
    client = Ingest(server)
    pcm = indexed_pcm("pipe", 120 * RATE)
    client.send(pcm, frame=64_000)
    client.stop()
    server.completed(client.recording_id)

    def piped(*source: str) -> tuple[int, bytes, bytes]:
        command = [BINARY, "export", client.recording_id, "-o", "-", *source]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=clean_environment()
        )
        head = process.stdout.read(44 + 64)
        process.stdout.close()
        told = process.stderr.read()
        return process.wait(20), head, told

    to = ("--to", server.url(""))
    status, head, told = piped(*to)
    assert (status, judges.data_of(head)) == (0, pcm[:64]), told
    assert told == b""
    whole = subprocess.run([BINARY, "export", client.recording_id, "-o", "-", *to], capture_output=True, timeout=30)
    assert judges.wave_file(whole.stdout)[1] == pcm
    server.terminate()
    status, head, told = piped("--data-dir", str(server.data_dir))
    assert (status, judges.data_of(head)) == (0, pcm[:64]), told
    assert b"reeltime: " not in told and b"Broken" not in told


def test_a_folder_exports_by_the_files_name(new_server, tmp_path):
    server = new_server(REELTIME_CALL_LINGER="0s").start()
    client = Ingest(server, participant="anna", call="in-a-folder")
    client.send(indexed_pcm("folder", RATE))
    client.stop()
    server.completed(client.recording_id)
    server.terminate()
    folder = ("--data-dir", str(server.data_dir))
    done = run_reeltime("export", client.recording_id, "-o", "a.wav", *folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert judges.wave_file((tmp_path / "a.wav").read_bytes())[1] == indexed_pcm("folder", RATE)
    (tmp_path / "into").mkdir()
    done = run_reeltime("export", client.recording_id, "-o", "into", *folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "into" / "in-a-folder.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()
    done = run_reeltime("export", client.recording_id, "-o", "a.flac", "--layout", "stereo", *folder, cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "a.flac").read_bytes()[:4] == b"fLaC", done.stderr
    done = run_reeltime("export", client.recording_id, "-o", "a.mp3", "--bitrate", "many", *folder, cwd=tmp_path)
    assert done.returncode == 2 and "64k" in done.stderr and not (tmp_path / "a.mp3").exists()
