"""The page in a real browser: recording, listening, finding, and whether everybody can use it."""

import json
import re
import time
from urllib.parse import parse_qs, urlparse

import pytest
from harness.browser import PHONE, SHOTS, STEP, WIDE, Chromium, broken_order, heard_by, heard_tones, tone_file, violations
from harness.clients import Ingest, transcribe
from harness.judges import data_of, opus_packets, run, tone
from harness.server import until
from playwright.sync_api import expect, sync_playwright


@pytest.fixture(scope="module")
def driver():
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def chromium(driver, tmp_path_factory):
    browser = Chromium(driver, tone_file(tmp_path_factory.mktemp("microphone") / "tones.wav"))
    yield browser
    browser.close()


@pytest.fixture
def browse(chromium):
    """Opens pages, and sees at the end that none of them had a failure."""
    pages = []

    def open_page(server, place="/", **options):
        pages.append(chromium.open(server, place, **options))
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()
        assert page.problems == []


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A server with a call of two speakers, with a mark, a pause and a gap, and with two more recordings."""
    from harness.server import Server

    server = Server(tmp_path_factory.mktemp("library")).start()
    anna, ben = Ingest(server, call="support-4711", participant="anna"), Ingest(server, call="support-4711", participant="ben")
    anna.send(tone(500, 3))
    anna.tell("mark", name="order number")
    anna.send(tone(700, 3))
    ben.send(bytes(64_000))
    ben.tell("pause", reason="card number")
    ben.send(bytes(64_000))
    ben.tell("resume")
    ben.send(tone(900, 2))
    for client in (anna, ben):
        client.stop()
    for call, who in (("standup", "chris"), ("interview", "dora")):
        client = Ingest(server, call=call, participant=who)
        client.send(tone(600, 2))
        client.stop()
        server.completed(client.recording_id)
    server.completed(anna.recording_id)
    server.call = anna.recording_id
    yield server
    server.stop()


def record(page):
    page.get_by_role("button", name="Start recording").click()
    expect(page.get_by_text("Recording", exact=True)).to_be_visible()


def stop(page) -> str:
    """Stops, waits until all is safe, and listens to it: the recording's id."""
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("All of it is safe")).to_be_visible(timeout=30_000)
    page.get_by_role("link", name="Listen").click()
    page.wait_for_url(re.compile("#/r/"))
    return page.url.rsplit("/", 1)[1]


def played_to(slider, seconds: int) -> None:
    """Waits until this place has been heard; where it was passed by, it was heard as well."""
    until(f"{seconds} seconds to be played", lambda: int(slider.get_attribute("aria-valuenow")) >= seconds)


def seconds_of(runs) -> float:
    return sum(seconds for _, seconds in runs)


def test_what_the_microphone_hears_is_recorded_without_a_break(library, browse):
    page = browse(library, "/#/record")
    page.get_by_label("Your name").fill("erin")
    record(page)
    page.wait_for_timeout(6_000)
    page.get_by_label("Name of the mark").fill("here")
    page.get_by_role("button", name="Mark", exact=True).click()
    recording = library.completed(stop(page))
    pcm, heard = data_of(library.stream(recording["id"])), heard_by(page)
    assert pcm == heard[: len(pcm)] and len(heard) - len(pcm) < 16_000
    runs = heard_tones(pcm[16_000:])
    assert broken_order(runs) == [], runs
    assert seconds_of(runs) > 5
    assert recording["participants"] == ["erin"]
    assert [mark["name"] for mark in recording["marks"]] == ["here"] and recording["gaps"] == []


def test_who_records_sees_which_call_it_is_and_by_which_name(library, browse):
    page = browse(library, "/#/record")
    page.get_by_label("Call").fill("weekly review")
    page.get_by_label("Your name").fill("erin")
    record(page)
    told = page.get_by_role("paragraph").filter(has_text=re.compile("^weekly review erin$"))
    expect(told).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("All of it is safe")).to_be_visible(timeout=30_000)
    expect(told).to_be_visible()


def test_a_server_that_is_killed_and_comes_back_costs_the_page_nothing(new_server, browse):
    server = new_server().start()
    page = browse(server, "/#/record")
    record(page)
    page.wait_for_timeout(2_500)
    server.kill()
    expect(page.get_by_text("The connection is lost.")).to_be_visible()
    page.wait_for_timeout(2_000)
    server.start(server.port)
    expect(page.get_by_text("The connection is lost.")).to_be_hidden()
    page.wait_for_timeout(1_500)
    recording = server.completed(stop(page), 30)
    pcm, heard = data_of(server.stream(recording["id"])), heard_by(page)
    # To the sample; only what came after Stop is not kept.
    assert pcm == heard[: len(pcm)] and len(heard) - len(pcm) < 16_000
    # A loaded machine's browser is late with its first buffers, and plays silence for them: that is not the page's.
    runs = heard_tones(pcm[16_000:])
    assert broken_order(runs) == [], runs
    assert seconds_of(runs) > 5
    assert [item["id"] for item in server.recordings()] == [recording["id"]], "one recording, not two"
    assert recording["gaps"] == []


def test_what_was_recorded_while_the_session_ran_out_goes_into_the_next_one(new_server, browse):
    server = new_server(REELTIME_RESUME_WINDOW="1s").start()
    page = browse(server, "/#/record")
    page.get_by_label("Call").fill("cut")
    record(page)
    page.wait_for_timeout(1_500)
    server.kill()
    page.wait_for_timeout(3_000)
    # Another server on the same port, which knows nothing: as when the session has run out.
    fresh = new_server().start(server.port)
    expect(page.get_by_text("The connection is lost.")).to_be_hidden()
    page.wait_for_timeout(1_000)
    recording = fresh.completed(stop(page), 30)
    server.start()
    (first,) = server.recordings(call_id="cut")
    server.completed(first["id"])
    before, after, heard = data_of(server.stream(first["id"])), data_of(fresh.stream(recording["id"])), heard_by(page)
    assert before == heard[: len(before)] and len(before) > 16_000
    # What was not acknowledged is in both: nothing is missing between them.
    begin = heard.find(after)
    assert 0 < begin <= len(before) and len(heard) - begin - len(after) < 16_000


def test_nothing_of_a_pause_leaves_the_machine(library, browse):
    page = browse(library, "/#/record")
    record(page)
    page.wait_for_timeout(1_500)
    begun = time.monotonic()
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_text("Paused: nothing is recorded")).to_be_visible()
    page.wait_for_timeout(1_500)
    page.get_by_role("button", name="Go on").click()
    longest = time.monotonic() - begun
    page.wait_for_timeout(1_500)
    recording = library.completed(stop(page))
    (pause,) = recording["pauses"]
    assert 1.2 < pause["duration_seconds"] < longest + 0.5
    pcm = data_of(library.stream(recording["id"]))
    begin, end = (int(16_000 * seconds) * 2 for seconds in (pause["start_seconds"], pause["start_seconds"] + pause["duration_seconds"]))
    assert not any(pcm[begin + 64 : end - 64]), "silence in the pause"
    assert heard_tones(pcm[end:]), "and sound after it"


def test_a_recording_goes_on_while_another_view_is_looked_at(library, browse):
    page = browse(library, "/#/record")
    record(page)
    page.get_by_role("link", name="Reeltime").click()
    dock = page.get_by_role("complementary", name="Recording")
    expect(dock).to_be_visible()
    live = page.get_by_role("list", name="Being recorded now")
    expect(live.get_by_role("listitem")).to_have_count(1)
    page.wait_for_timeout(1_500)
    dock.get_by_role("link").click()
    stop(page)


def test_a_refused_microphone_is_explained(library, driver):
    silent = Chromium(driver, None)
    try:
        page = silent.open(library, "/#/record")
        page.get_by_role("button", name="Start recording").click()
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(re.compile("refused|No microphone"))
        expect(alert).to_contain_text("again")
    finally:
        silent.close()


def test_an_absent_server_is_explained(new_server, browse):
    server = new_server().start()
    page = browse(server, "/#/record")
    server.kill()
    page.get_by_role("button", name="Start recording").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no server.")


def test_a_recording_plays_from_a_link_to_a_moment(library, browse):
    page = browse(library, f"/r/{library.call}?t=2.5")
    slider = page.get_by_role("slider", name="Position")
    expect(slider).to_have_attribute("aria-valuenow", re.compile("^[23]$"))
    expect(page).to_have_url(library.url(f"/#/r/{library.call}?t=2.5"))
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_enabled()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    played_to(slider, 4)
    page.keyboard.press("Space")
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuenow", "0")
    page.keyboard.press("m")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^3 seconds of 6 seconds"))
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuenow", "0")


FOLLOW_AT_ONCE = """new MutationObserver((_, watcher) => {
  if (!document.querySelector("main")) return;
  watcher.disconnect();
  location.hash = "#/record";
}).observe(document, { childList: true, subtree: true })"""


def test_a_link_that_is_followed_before_the_page_is_painted_is_not_missed(library, chromium):
    page = chromium.open(library, "/api/docs/")
    page.add_init_script(FOLLOW_AT_ONCE)
    page.goto(library.url("/"))
    expect(page.get_by_label("Your name")).to_be_visible()
    page.context.close()


def test_speakers_are_muted_and_soloed(library, browse):
    page = browse(library, f"/#/r/{library.call}")
    heard = lambda: sorted(name.inner_text() for name in page.locator(".lane:not(.unheard) .lane-name").all())  # noqa: E731
    expect(page.locator(".lane")).to_have_count(2)
    until("both to be heard", lambda: heard() == ["anna", "ben"])
    page.get_by_role("button", name="Mute anna").click()
    until("only ben to be heard", lambda: heard() == ["ben"])
    page.get_by_role("button", name="Solo anna").click()
    until("only anna to be heard", lambda: heard() == ["anna"])
    page.keyboard.press("0")
    until("both to be heard again", lambda: heard() == ["anna", "ben"])
    page.keyboard.press("1")
    until("one to be heard", lambda: len(heard()) == 1)


def test_waveforms_pauses_and_marks_are_drawn_and_told(library, browse):
    page = browse(library, f"/#/r/{library.call}")
    # anna speaks in all of her lane, ben in its last third: ink says so.
    until("two waveforms", lambda: page.evaluate(INK) and len(page.evaluate(INK)) == 2)
    inks = {name: ink for name, ink in until("ink in both", lambda: _both_drawn(page))}
    assert min(inks["anna"]) > 0.2 and max(inks["ben"][:2]) < 0.1 < min(inks["ben"][-1:]), inks
    told = page.get_by_role("region", name="Marks, pauses and gaps")
    expect(told.get_by_role("listitem")).to_have_count(2)
    expect(told).to_contain_text("Paused: card number, 2 seconds")
    assert "card number" in page.locator(".hole.pause").get_attribute("title")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_marks_up_to_the_last_moment_stay_inside_the_card(new_server, browse, size):
    server = new_server().start()
    client = Ingest(server, call="to the end", participant="anna")
    for mark in ("a name that is far too long for the room there is", "nearly over", "end"):
        client.send(tone(500, 2))
        client.tell("mark", name=mark)
    client.stop()
    recording = server.completed(client.recording_id)
    page = browse(server, f"/#/r/{recording['id']}", viewport=size)
    expect(page.locator(".flag")).to_have_count(3)
    assert page.evaluate(OUTSIDE) == []
    check(page, f"marks-{'phone' if size is PHONE else 'wide'}")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_lanes_are_as_wide_as_the_card_and_the_playhead_strikes_no_name(library, browse, size):
    page = browse(library, f"/#/r/{library.call}", viewport=size)
    expect(page.locator(".lane-name")).to_have_count(2)
    lanes = page.evaluate(LANES)
    assert all(lane["inset"] == 0 for lane in lanes), lanes
    assert all(lane["room"] > 150 for lane in lanes), "for the name"
    assert all(lane["covers"] or lane["beside"] for lane in lanes), "the name lies over the line, or beside it"


LANES = """[...document.querySelectorAll('.lane')].map((lane) => {
    const [card, head, name] = [document.querySelector('.stage'), lane.querySelector('.lane-head'), lane.querySelector('.lane-name')];
    const box = name.getBoundingClientRect();
    const [top] = document.elementsFromPoint(box.left + 1, box.top + box.height / 2);
    return {
        inset: card.clientWidth - lane.offsetWidth,
        room: box.width,
        covers: head.contains(top) && getComputedStyle(head).backgroundColor !== 'rgba(0, 0, 0, 0)',
        beside: box.right < document.querySelector('.over').getBoundingClientRect().left,
    };
})"""


OUTSIDE = """[...document.querySelectorAll('.flag, .tick')].filter((each) => {
    const [box, card] = [each.getBoundingClientRect(), document.querySelector('.stage').getBoundingClientRect()];
    return box.left < card.left || box.right > card.right;
}).map((each) => each.textContent)"""


def test_a_soft_speaker_is_seen_below_a_loud_one_and_each_has_a_colour(new_server, browse):
    server = new_server().start()
    clients = {name: Ingest(server, call="unlike", participant=name) for name in ("loud", "soft")}
    for name, level in (("loud", 0.5), ("soft", 0.02)):
        clients[name].send(tone(500, 3, level=level))
    for client in clients.values():
        client.stop()
    recording = server.completed(clients["loud"].recording_id)
    page = browse(server, f"/#/r/{recording['id']}")
    inks = {name: min(ink) for name, ink in until("ink in both", lambda: _both_drawn(page))}
    assert inks["loud"] > 0.6, "as high as its lane, of which gaps between the bars are a third"
    assert 0.1 < inks["soft"] < 0.4 * inks["loud"], inks
    painted = page.evaluate("[...document.querySelectorAll('.wave')].map((wave) => getComputedStyle(wave).color)")
    assert len(set(painted)) == 2, painted


INK = """[...document.querySelectorAll('.lane')].map((lane) => {
    const canvas = lane.querySelector('.wave > div')?.shadowRoot?.querySelector('.canvases canvas');
    if (!canvas) return [lane.querySelector('.lane-name').textContent, [0, 0, 0]];
    const {width, height} = canvas;
    const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
    const thirds = [0, 0, 0];
    for (let i = 0; i < width * height; i += 1) if (data[4 * i + 3] > 99) thirds[Math.floor(3 * (i % width) / width)] += 1;
    return [lane.querySelector('.lane-name').textContent, thirds.map((count) => 3 * count / width / height)];
})"""


def _both_drawn(page):
    inks = page.evaluate(INK)
    return inks if all(max(ink) > 0.1 for _, ink in inks) else None


def test_an_opus_track_is_drawn_while_it_is_recorded(new_server, browse):
    server = new_server().start()
    client = Ingest(server, call="opus", participant="olga", codec="opus", rate=48_000)

    def send(pcm: bytes):
        opusenc = ("opusenc", "--quiet", "--raw", "--raw-rate", "16000", "--raw-chan", "1", "-", "-")
        for packet in opus_packets(run(*opusenc, stdin=pcm)):
            client.socket.send(packet)

    send(tone(500, 2))
    page = browse(server, f"/#/r/{client.recording_id}")
    drawn = until("ink", lambda: _both_drawn(page))
    assert min(drawn[0][1]) > 0.1, "from its beginning to its end"
    send(bytes(4 * 64_000))
    until("silence behind it", lambda: [ink for _, ink in page.evaluate(INK) if max(ink[1:]) < 0.05 < ink[0]])
    client.stop()
    server.completed(client.recording_id)


def test_a_recording_that_is_kept_as_mp3_is_drawn_and_plays(new_server, browse):
    server = new_server(BACKEND_RECORD_FORMAT="mp3").start()
    transcribe(server, tone(500, 3, level=0.2))
    (recording,) = until("the recording to be listed", server.recordings)
    server.completed(recording["id"])
    page = browse(server, f"/#/r/{recording['id']}")
    until("ink", lambda: _both_drawn(page))
    page.get_by_role("button", name="Play", exact=True).click()
    slider = page.get_by_role("slider", name="Position")
    played_to(slider, 2)


def test_a_live_recording_grows_and_plays_from_anywhere(new_server, browse):
    server = new_server().start()
    client = Ingest(server, call="live", participant="anna")
    client.send(tone(500, 4))
    page = browse(server, f"/#/r/{client.recording_id}")
    expect(page.get_by_text("Live 0:04")).to_be_visible()
    client.send(tone(700, 4))
    expect(page.get_by_text("Live 0:08")).to_be_visible()
    slider = page.get_by_role("slider", name="Position")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Play", exact=True).click()
    played_to(slider, 6)
    client.send(tone(900, 4))
    played_to(slider, 9)
    client.stop()
    expect(page.get_by_text("/ 0:12")).to_be_visible()


def test_a_live_recording_fits_a_telephone(new_server, browse):
    server = new_server().start()
    client = Ingest(server, call="live", participant="anna")
    client.send(tone(500, 4))
    page = browse(server, f"/#/r/{client.recording_id}", viewport=PHONE)
    expect(page.get_by_text("Live 0:04")).to_be_visible()
    check(page, "live-phone")
    client.stop()


def test_a_live_recording_is_looked_at_when_there_is_something_new(new_server, browse):
    server = new_server().start()
    client = Ingest(server, call="told", participant="anna")
    client.send(tone(500, 2))
    asked = []
    page = browse(server)
    page.on("request", lambda request: asked.append(urlparse(request.url).path))
    page.goto(server.url(f"/#/r/{client.recording_id}"))
    expect(page.get_by_text("Live 0:02")).to_be_visible()
    place = f"/api/v1/recordings/{client.recording_id}"
    # What was told at the beginning is looked at; then nothing happens, and nothing is asked.
    page.wait_for_timeout(2_500)
    looks = asked.count(place)
    page.wait_for_timeout(3_000)
    assert asked.count(place) == looks and asked.count(f"{place}/events") == 1
    client.tell("mark", name="said at last")
    expect(page.get_by_role("region", name="Marks, pauses and gaps")).to_contain_text("said at last")
    assert asked.count(place) <= looks + 3 and asked.count(f"{place}/events") == 1


def test_a_live_recording_is_followed_where_too_many_watch_and_through_a_restart(new_server, browse):
    server = new_server(REELTIME_RESUME_WINDOW="1s").start()
    client = Ingest(server, call="followed", participant="anna")
    client.send(tone(500, 2))
    page = browse(server)
    page.route("**/events", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(server.url(f"/#/r/{client.recording_id}"))
    expect(page.get_by_text("Live 0:02")).to_be_visible()
    client.send(tone(500, 2))
    expect(page.get_by_text("Live 0:04")).to_be_visible()
    page.unroute("**/events")
    server.kill()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    server.start(server.port)
    expect(page.get_by_text("/ 0:04")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_call_of_seven_plays_to_its_end(new_server, browse):
    server = new_server().start()
    clients = [Ingest(server, call="seven", participant=f"speaker {number}") for number in range(7)]
    for number, client in enumerate(clients):
        client.send(tone(400 + 100 * number, 3))
    for client in clients:
        client.stop()
    recording = server.completed(clients[0].recording_id)
    page = browse(server, f"/#/r/{recording['id']}")
    expect(page.locator(".lane")).to_have_count(7)
    page.get_by_role("button", name="Solo speaker 3").click()
    page.get_by_role("button", name="Play", exact=True).click()
    slider = page.get_by_role("slider", name="Position")
    played_to(slider, 1)
    page.keyboard.press("0")
    played_to(slider, 3)
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_deleting_can_be_undone_and_is_done_otherwise(new_server, browse):
    server = new_server().start()
    ids = {}
    for call in ("kept", "gone", "left"):
        client = Ingest(server, call=call)
        client.send(tone(500, 1))
        client.stop()
        ids[call] = client.recording_id
        server.completed(client.recording_id)
    page = browse(server)
    page.get_by_role("button", name="Delete kept").click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Delete gone").click()
    expect(page.get_by_text("gone will be deleted.")).to_be_visible()
    assert len(server.recordings()) == 3, "not before the time to undo is over"
    expect(page.get_by_role("button", name="Delete gone")).to_have_count(0, timeout=15_000)
    until("it to be gone", lambda: sorted(item["call_id"] for item in server.recordings()) == ["kept", "left"])
    page.get_by_role("button", name="Delete left").click()
    page.goto("about:blank")
    until("the rest to be deleted when the page is left", lambda: len(server.recordings()) == 1)


def test_a_place_that_does_not_exist_says_so_and_leads_back(library, browse):
    page = browse(library, "/#/bogus")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here")
    expect(page.get_by_role("main")).to_contain_text("#/bogus")
    page.get_by_role("link", name="All recordings").click()
    expect(page.get_by_role("heading", name="Recordings")).to_be_visible()


def test_search_finds_calls_and_participants(library, browse):
    page = browse(library)
    field = page.get_by_role("searchbox")
    rows = page.get_by_role("list", name="Recordings, newest first").get_by_role("listitem")
    field.fill("DORA")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("interview")
    field.fill("4711")
    expect(rows.first).to_contain_text("anna, ben")
    field.fill("nobody of that name")
    expect(page.get_by_text("is called “nobody of that name”")).to_be_visible()


def test_a_telephone_shows_by_whose_name_a_call_was_found(library, browse):
    page = browse(library, viewport=PHONE)
    page.get_by_role("searchbox").fill("dora")
    row = page.get_by_role("listitem")
    expect(row).to_have_count(1)
    expect(row.get_by_text("dora", exact=True)).to_be_visible()
    expect(row.get_by_text("interview", exact=True)).to_be_visible()


def test_a_row_that_was_found_stays_under_the_hand_while_the_search_goes_on(library, browse):
    page = browse(library)
    page.get_by_role("searchbox").fill("su")
    rows = page.get_by_role("listitem")
    expect(rows).to_have_count(1)
    asked = []
    page.route("**/api/v1/recordings/?q=supp*", lambda route: asked.append(route.request.url))
    page.get_by_role("searchbox").press_sequentially("pp")
    page.keyboard.press("Tab")
    until("more letters to be looked for", lambda: page.wait_for_timeout(10) or asked)
    expect(rows.get_by_role("link")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="support-4711")).to_be_visible()


def test_a_row_that_is_pointed_at_is_the_same_when_a_new_one_comes_above_it(new_server, browse):
    server = new_server().start()
    server.completed(ended(server, "old"))
    page = browse(server)
    link = page.get_by_role("link", name="old")
    link.focus()
    server.completed(ended(server, "new"))
    rows = page.get_by_role("list", name="Recordings, newest first").get_by_role("listitem")
    expect(rows).to_have_count(2, timeout=30_000)
    expect(link).to_be_focused()


def test_a_format_that_is_refused_is_answered_with_the_servers_sentence(library, browse):
    page = browse(library)
    page.get_by_role("button", name="Download standup").click()
    dialog = page.get_by_role("dialog")
    page.route("**/stream?*", lambda route: route.fulfill(status=406, content_type="application/problem+json", body='{"detail":"Not as MP4 today"}'))
    dialog.get_by_role("radio", name="MP4").check()
    dialog.get_by_role("button", name="Download").click()
    expect(dialog.get_by_role("alert")).to_have_text("Not as MP4 today")
    page.unroute("**/stream?*")
    dialog.get_by_role("radio", name="WAV").check()
    with page.expect_download() as saved:
        dialog.get_by_role("button", name="Download").click()
    assert data_of(saved.value.path().read_bytes()) == tone(600, 2)


def test_ten_thousand_recordings_are_a_list_of_a_few_rows(library, browse):
    asked = set()

    def answer(route):
        query = {name: value[0] for name, value in parse_qs(urlparse(route.request.url).query).items()}
        page_number, size = int(query.get("page", 1)), int(query["page_size"])
        live = query["state"] == "in_progress"
        asked.add(page_number)
        first = (page_number - 1) * size
        items = [] if live else [item(number) for number in range(first, min(first + size, 10_000))]
        total = 0 if live else 10_000
        body = {"items": items, "page": page_number, "page_size": size, "total": total}
        route.fulfill(content_type="application/json", body=json.dumps(body))

    page = browse(library, "/#/record")
    page.route("**/api/v1/recordings/?*", answer)
    page.get_by_role("link", name="Reeltime").click()
    expect(page.get_by_text("call 0", exact=True)).to_be_visible()
    for at in (0.1, 0.5, 0.73, 1.0):
        page.evaluate(f"scrollTo(0, {at} * document.documentElement.scrollHeight)")
        until(f"the rows at {at}", lambda at=at: _drawn_beyond(page, 9_000 * at))
        assert page.locator("*").count() < 900
    expect(page.get_by_text("call 9999", exact=True)).to_be_visible()
    assert len(asked) < 12, "only the pages that came into view"
    page.evaluate("scrollTo(0, 0)")
    told = page.evaluate(SCROLL)
    frames = sorted(told["frames"])
    places = {"median": 0.5, "95 of 100": 0.95, "longest": 1}
    shown = ", ".join(f"{name} {frames[min(len(frames) - 1, int(at * len(frames)))]:.1f} ms" for name, at in places.items())
    print(f"\nframes while scrolling {told['rows']} rows: {shown}; the page's own work {told['work']:.1f} ms of each")
    assert told["rows"] > 500 and told["most"] < 900


SCROLL = """new Promise((done) => {
    const [frames, costs, step] = [[], [], 160];
    let [before, most] = [performance.now(), 0];
    // What the page does for a scroll is done before the next task.
    const cost = (begin) => { const port = new MessageChannel(); port.port2.onmessage = () => costs.push(performance.now() - begin); port.port1.postMessage(0); };
    const draw = (now) => {
        frames.push(now - before);
        before = now;
        most = Math.max(most, document.querySelectorAll('*').length);
        scrollBy(0, step);
        dispatchEvent(new Event('scroll'));
        cost(performance.now());
        if (frames.length < 240) return requestAnimationFrame(draw);
        const work = costs.reduce((sum, each) => sum + each, 0) / costs.length;
        done({frames: frames.slice(1), most, work, rows: Math.round(scrollY / 64)});
    };
    requestAnimationFrame(draw);
})"""


def _drawn_beyond(page, number: float) -> bool:
    """Whether the last row in the document is further down the list than this, and is there with its name."""
    place, name = page.evaluate("(row => [+row.ariaPosInSet, row.innerText])([...document.querySelectorAll('li')].at(-1))")
    return place > number and f"call {place - 1}" in name


def item(number: int) -> dict:
    return {
        "id": f"00000000-0000-7000-8000-{number:012}", "call_id": f"call {number}", "created_at": "2025-01-02T03:04:05Z",
        "duration_seconds": number, "state": "complete", "status": "completed", "started_at": None, "ended_at": None,
        "size_bytes": 1_000, "mime_type": "audio/wav", "previous_id": None, "participants": ["anna"],
    }  # fmt: skip


def test_a_screen_reader_is_told_what_there_is_and_what_it_does(library, new_server, browse):
    """The tree that browsers hand to screen readers, of each view."""
    locked = new_server(REELTIME_API_KEYS=KEY).start()
    page = browse(locked)
    expect(page.get_by_role("main")).to_match_aria_snapshot("""
        - heading "Sign in" [level=1]
        - textbox "Key"
        - button "Sign in"
    """)
    sign_in(page, "wrong")
    expect(page.get_by_role("alert")).to_contain_text("none of this server’s keys")
    expect(page.get_by_label("Key", exact=True)).to_have_accessible_description(re.compile("none of this server’s keys"))
    page = browse(library)
    page.get_by_role("searchbox").fill("4711")
    expect(page.get_by_role("listitem")).to_have_count(1)
    expect(page.get_by_role("main")).to_match_aria_snapshot("""
        - heading "Recordings" [level=1]
        - status: 1 match
        - button "All recordings are in the store"
        - link "Record"
        - searchbox "Search calls and participants"
        - list "Recordings, newest first":
          - listitem:
            - article:
              - link "support-4711 anna, ben"
              - img "6 seconds"
              - button "Download support-4711"
              - button "Delete support-4711"
    """)
    page.get_by_role("button", name="All recordings are in the store").press("Enter")
    expect(page.get_by_role("dialog", name="Where recordings are")).to_match_aria_snapshot("""
        - heading "Where recordings are" [level=2]
        - button "Close"
        - term: Waiting
        - definition: Nothing
        - term: Address
        - definition:
          - code: /file:.*/
    """)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Download support-4711").press("Enter")
    expect(page.get_by_role("dialog", name="Download support-4711")).to_match_aria_snapshot("""
        - group "Format":
          - radio "WAV" [checked]
          - radio "FLAC"
        - group "Voices":
          - radio "Everyone, mono" [checked]
          - radio "Only ben"
        - button "Download"
    """)
    page.keyboard.press("Escape")
    page.get_by_role("link", name="support-4711").press("Enter")
    expect(page.get_by_role("main")).to_match_aria_snapshot("""
        - link "Recordings"
        - heading "support-4711" [level=1]
        - paragraph: /2 speakers .* In the store/
        - button "Mark order number, at 3 seconds"
        - group "anna":
          - button "Mute anna"
          - button "Solo anna"
        - group "ben":
          - button "Mute ben"
          - button "Solo ben"
        - slider "Position"
        - group "Playback":
          - button "5 seconds back"
          - button "Play"
          - combobox "Speed":
            - option "1×" [selected]
        - region "Marks, pauses and gaps":
          - list:
            - listitem:
              - 'button "0:02 pause Paused: card number, 2 seconds ben"'
            - listitem:
              - button "0:03 mark order number anna"
    """)
    page.get_by_role("button", name="Solo ben").press("Enter")
    expect(page.get_by_role("group", name="ben")).to_match_aria_snapshot("""
        - button "Mute ben"
        - button "Solo ben" [pressed]
    """)
    page.keyboard.press("r")
    expect(page.get_by_role("main")).to_match_aria_snapshot("""
        - heading "Record" [level=1]
        - button "Start recording"
        - textbox "Call"
        - textbox "Your name"
    """)
    expect(page.get_by_label("Call")).to_have_accessible_description("Several who give the same call become one recording")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_each_view(library, new_server, browse, scheme, size):
    empty, locked = new_server().start(), new_server(REELTIME_API_KEYS=KEY).start()
    options = {"viewport": size, "color_scheme": scheme}
    views = {
        "empty": (empty, "/", "Nothing is recorded yet"),
        "library": (library, "/", "support-4711"),
        "player": (library, f"/#/r/{library.call}?t=2", "Marks, pauses and gaps"),
        "sign-in": (locked, "/", "This server asks for a key"),
        "nowhere": (library, "/#/bogus", "There is nothing here"),
        "record": (library, "/#/record", "Press to record"),
    }
    name = f"{scheme}-{'phone' if size is PHONE else 'wide'}"
    for view, (server, place, sign) in views.items():
        page = browse(server, place, **options)
        expect(page.get_by_text(sign)).to_be_visible()
        check(page, f"{view}-{name}")
    page.get_by_label("Call").fill("a call with a name that is longer than a telephone is wide")
    page.get_by_label("Your name").fill("erin")
    record(page)
    page.wait_for_timeout(1_200)
    check(page, f"recording-{name}")
    stop(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page, f"keys-{name}")


VIEWS = [(f"{scheme}-{name}", {"color_scheme": scheme, "viewport": size}) for scheme in ("light", "dark") for name, size in (("wide", WIDE), ("phone", PHONE))]


def ended(server, call: str) -> str:
    client = Ingest(server, call=call, participant="anna", ack="disk")
    client.send(tone(500, 2))
    client.stop()
    return client.recording_id


def test_what_waits_for_a_store_that_is_away_is_told_and_goes_out_when_it_is_back(new_server, s3, browse):
    server = new_server(**s3.settings("page"), REELTIME_SHIP_INTERVAL="200ms").start()
    server.completed(ended(server, "before"))
    live = Ingest(server, call="still talking", participant="ben", ack="disk")
    live.send(tone(500, 4))
    page = browse(server)
    expect(page.get_by_role("button", name="All recordings are in the store")).to_be_visible()
    talking = page.get_by_role("list", name="Being recorded now")
    expect(talking.get_by_role("img", name="safe in the store as well")).to_be_visible()
    expect(talking.locator(".meter")).to_be_visible()
    s3.kill()
    late = [ended(server, f"support {number}") for number in range(3)]
    line = page.get_by_role("button", name=re.compile("^3 recordings, .* wait for the store, away since "))
    expect(line).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="The store does not answer.")).to_have_count(1)
    expect(page.get_by_role("list", name="Waiting for the store").get_by_role("listitem")).to_have_count(3)
    expect(talking.get_by_role("listitem")).to_have_count(1)
    for name, options in VIEWS:
        shown = browse(server, **options)
        expect(shown.get_by_role("list", name="Waiting for the store")).to_be_visible()
        check(shown, f"store-away-{name}")
        shown.get_by_role("button", name=re.compile("wait for the store")).click()
        dialog = shown.get_by_role("dialog", name="Where recordings are")
        expect(dialog).to_contain_text("Calls go on")
        expect(dialog).to_contain_text(s3.url("page"))
        check(shown, f"store-away-dialog-{name}")
    page.goto(server.url(f"/#/r/{late[0]}"))
    expect(page.get_by_text(re.compile("kB on this machine"))).to_be_visible()
    s3.start()
    expect(page.get_by_text("In the store")).to_be_visible(timeout=45_000)
    page.get_by_role("link", name="Reeltime").click()
    expect(page.get_by_role("button", name="All recordings are in the store")).to_be_visible(timeout=45_000)
    expect(page.get_by_role("list", name="Waiting for the store")).to_have_count(0)
    live.stop()


def test_of_thousands_that_wait_the_newest_are_shown_and_the_rest_are_counted(library, browse):
    status = library.get("/api/v1/store").json()
    status["health"] |= {"up": False, "away_since": "2025-01-02T03:04:05Z"}
    status["backlog"] |= {"recordings": 3_000, "bytes": 12_000_000_000, "outage_seconds": 60}
    held = {"state": "ending", "status": "in_progress", "bytes": {"spool": 4_000_000, "shipped": 1_000_000, "published": 0}}
    items = [item(number) | held for number in range(100)]

    def answer(route):
        live = "in_progress" in route.request.url
        found = {"items": items, "total": 3_000} if live else {"items": [], "total": 0}
        route.fulfill(json=found | {"page": 1, "page_size": 100})

    page = browse(library, "/#/record")
    page.route("**/api/v1/store", lambda route: route.fulfill(json=status))
    page.route("**/api/v1/recordings/?*", answer)
    page.get_by_role("link", name="Reeltime").click()
    waiting = page.get_by_role("list", name="Waiting for the store").get_by_role("listitem")
    expect(waiting).to_have_count(100)
    expect(waiting.first.get_by_role("img", name="4.0 MB on this machine, 1.0 MB safe in the store as well")).to_be_visible()
    expect(page.get_by_text("The newest of 3,000 recordings that wait")).to_have_count(1)
    expect(page.get_by_role("button", name=re.compile("^3,000 recordings, 12 GB wait for the store, away since Jan"))).to_be_visible()


@pytest.mark.parametrize(("name", "options"), VIEWS, ids=[name for name, _ in VIEWS])
def test_what_is_on_its_way_to_the_store_is_told(library, browse, name, options):
    status = library.get("/api/v1/store").json()
    status |= {"kind": "s3", "place": "s3://bucket/calls", "remote": True}
    status["backlog"] |= {"recordings": 12, "bytes": 48_000_000, "oldest_seconds": 200, "draining_bytes_per_second": 2e6}
    page = browse(library, "/#/record", **options)
    page.route("**/api/v1/store", lambda route: route.fulfill(json=status))
    page.get_by_role("link", name="Reeltime").click()
    page.get_by_role("button", name="12 recordings, 48 MB on their way to the store").click()
    dialog = page.get_by_role("dialog", name="Where recordings are")
    expect(dialog).to_contain_text("2.0 MB a second, done in about 24 seconds")
    expect(dialog).to_contain_text("The oldest ended 3 minutes ago")
    check(page, f"store-moving-dialog-{name}")


def check(page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    time.sleep(0.3)
    problems = list(page.problems)
    page.screenshot(path=SHOTS / f"{name}.png")
    assert violations(page) == [], name
    # The camera and axe bring inline styles, which the page forbids: that is no problem of the page's own.
    page.problems[:] = problems
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than the screen"


def test_the_theme_that_was_chosen_stays(library, browse):
    page = browse(library, color_scheme="light")
    page.get_by_role("button", name="Dark theme").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 19, 18)"


def test_the_page_is_used_with_the_keyboard_alone(library, browse):
    page = browse(library)
    expect(page.get_by_text("support-4711")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("support")
    expect(page.get_by_role("listitem")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="support-4711")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()


KEY = "a key ü of 20 bytes"


def sign_in(page, key=KEY):
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Sign in").click()


def test_a_key_opens_the_page_for_all_that_it_does(new_server, browse):
    server = new_server(REELTIME_API_KEYS=f"another,{KEY}").start()
    page = browse(server, "/#/record")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(page, "wrong")
    expect(page.get_by_role("alert")).to_contain_text("none of this server’s keys")
    sign_in(page)
    # A WebSocket, then a stream for the player, then a download: nothing of which can carry a key.
    record(page)
    page.wait_for_timeout(2_000)
    recording = stop(page)
    page.get_by_role("button", name="Play", exact=True).click()
    played_to(page.get_by_role("slider", name="Position"), 1)
    page.get_by_role("button", name="Download", exact=True).click()
    with page.expect_download() as saved:
        page.get_by_role("dialog").get_by_role("button", name="Download").click()
    pcm = data_of(saved.value.path().read_bytes())
    assert len(pcm) > 32_000 and pcm in heard_by(page)
    page.reload()
    expect(page.get_by_role("slider", name="Position")).to_be_visible()
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    kept = page.evaluate("JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])")
    assert KEY not in kept and cookie["value"] not in kept
    place = f"/api/v1/recordings/{recording}"
    headers = {"Cookie": f"{cookie['name']}={cookie['value']}"}
    own, foreign = ({**headers, "Origin": origin} for origin in (server.url(""), "http://127.0.0.1:1"))
    assert server.request("DELETE", place, headers=foreign).status_code == 403
    assert server.get(place, headers=own).status_code == 200


def test_who_signs_out_has_to_sign_in_again(new_server, browse):
    server = new_server(REELTIME_API_KEYS=KEY).start()
    page = browse(server)
    sign_in(page)
    expect(page.get_by_text("Nothing is recorded yet")).to_be_visible()
    server.kill()
    server.start(server.port)
    page.reload()
    expect(page.get_by_text("Nothing is recorded yet")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.context.cookies() == []


def test_a_recording_outlives_the_cookie(new_server, browse):
    server = new_server(REELTIME_API_KEYS=KEY).start()
    page = browse(server, "/#/record")
    sign_in(page)
    record(page)
    page.wait_for_timeout(1_500)
    page.context.clear_cookies()
    server.kill()
    server.start(server.port)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("complementary", name="Recording")).to_be_visible()
    sign_in(page)
    expect(page.get_by_text("Recording", exact=True)).to_be_visible()
    page.wait_for_timeout(1_000)
    recording = stop(page)
    place = server.url(f"/api/v1/recordings/{recording}/stream")
    sound = until("the recording", lambda: page.context.request.get(place).body())
    pcm, heard = data_of(sound), heard_by(page)
    assert pcm == heard[: len(pcm)] and len(heard) - len(pcm) < 16_000


def test_a_server_without_keys_has_nothing_to_sign_out_of(library, browse):
    page = browse(library)
    expect(page.get_by_text("support-4711")).to_be_visible()
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)


def test_recordings_that_end_move_from_the_live_ones_to_the_others(new_server, browse):
    server = new_server().start()
    clients = [Ingest(server, call=f"call {number}") for number in range(20)]
    for client in clients:
        client.send(tone(500, 1))
    page = browse(server)
    expect(page.get_by_role("list", name="Being recorded now").get_by_role("listitem")).to_have_count(20)
    for client in clients:
        client.stop()
    expect(page.get_by_role("list", name="Being recorded now")).to_have_count(0, timeout=15_000)
    rows = page.get_by_role("list", name="Recordings, newest first").get_by_role("listitem")
    expect(rows.first).to_contain_text("call 19")
    expect(page.get_by_text("20 recordings", exact=True)).to_be_visible()
