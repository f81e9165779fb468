"""The page at ``/`` as a browser uses it: it reads forms from the HTML, fills them in and sends them."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest

from syncd.simulator.wire import Request, Response
from tests.simulator.snow import AGENT, AGENT_SYS_ID, RESOLVED, TABLE, USER, Snow

HOSTILE = "</textarea><script>alert('1')</script>\" onload='x' <b>&amp;"


@dataclass
class Form:
    """One form: where it posts, and its fields with the values a browser would send."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    options: dict[str, list[str]] = field(default_factory=dict)


class Reader(HTMLParser):
    """Reads forms, links, tags and text as a browser does."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.tags: set[str] = set()
        self.text = ""
        self.links: list[str] = []
        self._name = ""
        self._tag = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        assert not any(name.startswith("on") for name in given), "no handlers"
        if tag == "a":
            self.links.append(given["href"])
        elif tag == "form":
            self.forms.append(Form(given.get("action", "/")))
        elif tag == "input":
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag in {"select", "textarea"}:
            self._name, self._tag = given["name"], tag
            self.forms[-1].fields.setdefault(self._name, "")
        elif tag == "option":
            value = given.get("value", "")
            self.forms[-1].options.setdefault(self._name, []).append(value)
            if "selected" in given or len(self.forms[-1].options[self._name]) == 1:
                self.forms[-1].fields[self._name] = value

    def handle_endtag(self, tag: str) -> None:
        if tag == self._tag:
            self._tag = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._tag == "textarea":
            text = self.forms[-1].fields[self._name] + data
            self.forms[-1].fields[self._name] = text.removeprefix("\n")

    def form(self, action: str) -> Form:
        """The one form that posts to ``action``."""
        [found] = [form for form in self.forms if form.action == action]
        return found


def get(snow: Snow, target: str = "/") -> Reader:
    """Open a page that must be there."""
    answer = snow.instance.handle(Request("GET", target))
    assert (answer.status, answer.header("content-type")) == (200, "text/html;charset=UTF-8")
    return Reader(answer.body.decode())


def send(snow: Snow, form: Form, *headers: tuple[str, str], **filled: str) -> Response:
    """Send a form with some fields filled in; line ends travel as CRLF, as from any browser."""
    values = {name: value.replace("\n", "\r\n") for name, value in {**form.fields, **filled}.items()}
    return snow.instance.handle(Request("POST", form.action, headers, urlencode(values).encode()))


def incident_path(number: str) -> str:
    """Where the page of one incident is."""
    return f"/page/incident/{number}"


def test_the_page_lists_incidents_with_labels_and_links_to_each() -> None:
    snow = Snow(incidents=25, webhook_url="http://127.0.0.1:9/hook")
    page = get(snow)
    rows = snow.instance.incidents()
    assert {*page.links} >= {f"{incident_path(row['number'])}?as_user=beth.anglin" for row in rows}
    for text in ("25 incidents", "In Progress", "1 - Critical", "No fault is armed.", "2026-09-21 14:13:20"):
        assert text in page.text
    found = get(snow, "/?find=CHECKOUT")
    assert "1 incidents" in found.text
    assert "Checkout latency above 4 s" in found.text
    assert "script" not in page.tags


def test_the_page_of_an_incident_shows_its_notes_newest_first_and_its_facts() -> None:
    snow = Snow()
    row = snow.written("Pump", correlation_id="ns:1", work_notes="first\n\nsecond line")
    snow.wait(60)
    snow.instance.note_as("fred.luddy", row["sys_id"], "later", "comments")
    page = get(snow, incident_path(row["number"]))
    assert page.text.index("later") < page.text.index("first\n\nsecond line")
    for text in ("2026-09-21 14:14:20 UTC, fred.luddy (Additional comments)", "ns:1", row["sys_id"], "5 - Planning"):
        assert text in page.text
    assert page.form(incident_path(row["number"])).fields["assigned_to"] == ""


def test_a_person_edits_what_he_chose_and_is_sent_back_to_the_incident() -> None:
    snow = Snow()
    number = snow.written("Pump", description="line 1\nline 2", assigned_to=AGENT_SYS_ID)["number"]
    form = get(snow, incident_path(number)).form(incident_path(number))
    assert (form.fields["description"], form.fields["assigned_to"]) == ("line 1\nline 2", AGENT_SYS_ID)
    answer = send(snow, form, state="2", urgency="1", work_notes="on it", as_user="fred.luddy")
    assert (answer.status, answer.header("location")) == (303, f"{incident_path(number)}?as_user=fred.luddy")
    row = snow.instance.record(number)
    assert [
        row[name] for name in ("state", "urgency", "priority", "description", "sys_updated_by", "sys_mod_count")
    ] == [*("2", "1", "3", "line 1\nline 2", "fred.luddy", "1")]
    assert [note["value"] for note in snow.instance.notes(number)] == ["on it"]
    again = get(snow, answer.header("location")).form(incident_path(number))
    assert (again.fields["state"], again.fields["as_user"]) == ("2", "fred.luddy")


def test_a_form_that_was_open_for_long_sets_nothing_back_and_an_unchanged_one_writes_nothing() -> None:
    snow = Snow()
    number = snow.written("Pump")["number"]
    form = get(snow, incident_path(number)).form(incident_path(number))
    snow.instance.edit_as("fred.luddy", number, {"short_description": "Pump, hall 2", "urgency": "2"})
    send(snow, form, state="2")
    row = snow.instance.record(number)
    assert (row["short_description"], row["urgency"], row["state"]) == ("Pump, hall 2", "2", "2")
    before = dict(row)
    assert send(snow, get(snow, incident_path(number)).form(incident_path(number))).status == 303
    assert snow.instance.record(number) == before


def test_new_text_keeps_the_line_ends_of_the_browser() -> None:
    snow = Snow()
    number = snow.written("Pump")["number"]
    form = get(snow, incident_path(number)).form(incident_path(number))
    send(snow, form, description="\nline 1\nline 2")
    assert snow.instance.record(number)["description"] == "\r\nline 1\r\nline 2"
    again = get(snow, incident_path(number)).form(incident_path(number))
    before = dict(snow.instance.record(number))
    send(snow, again)
    assert snow.instance.record(number) == before, "an empty first line survives the form"


def test_a_refused_edit_says_why_in_the_words_of_the_instance_and_keeps_what_was_filled_in() -> None:
    snow = Snow()
    number = snow.written("Pump")["number"]
    form = get(snow, incident_path(number)).form(incident_path(number))
    answer = send(snow, form, state="6", close_notes="Done & <dusted>", work_notes="resolving", as_user="fred.luddy")
    page = Reader(answer.body.decode())
    assert answer.status == 403
    said = "Operation Failed: Data Policy Exception: \n\tThe following fields are mandatory: Resolution code"
    assert said in page.text
    assert snow.instance.record(number)["state"] == "1"
    kept = page.form(incident_path(number))
    assert (kept.fields["state"], kept.fields["close_notes"], kept.fields["as_user"]) == (
        *("6", "Done & <dusted>", "fred.luddy"),
    )
    assert kept.fields["work_notes"] == "resolving"
    assert send(snow, kept, close_code="Solution provided").status == 303
    assert snow.instance.record(number)["state"] == "6"
    assert [note["value"] for note in snow.instance.notes(number)] == ["resolving"]


@pytest.mark.parametrize("element", ["work_notes", "comments"])
def test_a_person_adds_a_note_of_either_kind(element: str) -> None:
    snow = Snow()
    number = snow.written("Pump")["number"]
    path = incident_path(number)
    form = get(snow, path).form(f"{path}/note")
    assert form.options["element"] == ["work_notes", "comments"]
    assert send(snow, form, text="seen", element=element, as_user="fred.luddy").status == 303
    [note] = snow.instance.notes(number)
    assert (note["element"], note["value"], note["sys_created_by"]) == (element, "seen", "fred.luddy")
    send(snow, form, text="  ")
    assert len(snow.instance.notes(number)) == 1


def test_a_note_on_a_closed_incident_is_refused_on_the_page() -> None:
    snow = Snow()
    number = snow.written(**{**RESOLVED, "state": "7"})["number"]
    path = incident_path(number)
    answer = send(snow, get(snow, path).form(f"{path}/note"), text="too late")
    page = Reader(answer.body.decode())
    assert answer.status == 403
    assert "ACL Exception Update Failed due to security constraints" in page.text
    assert page.form(f"{path}/note").fields["text"] == "too late"


def test_a_person_creates_an_incident_and_lands_on_it() -> None:
    snow = Snow()
    form = get(snow, "/?as_user=fred.luddy").form("/page/new")
    assert (form.fields["as_user"], form.fields["impact"]) == ("fred.luddy", "3")
    answer = send(snow, form, short_description="Pump", impact="1", description="a\nb")
    [row] = snow.instance.incidents()
    assert answer.header("location") == f"{incident_path(row['number'])}?as_user=fred.luddy"
    assert [row[name] for name in ("short_description", "priority", "description", "sys_created_by")] == [
        *("Pump", "3", "a\r\nb", "fred.luddy")
    ]


def test_a_refused_creation_is_shown_over_the_list_with_its_form_filled_in() -> None:
    snow = Snow()
    snow.instance.kernel.switches.set("title_prefix", "")
    form = get(snow).form("/page/new")
    answer = send(snow, form, short_description="Pump", as_user="nobody.known")
    page = Reader(answer.body.decode())
    assert answer.status == 400
    assert "'nobody.known' is no user of this instance" in page.text
    assert page.form("/page/new").fields["short_description"] == "Pump"
    assert snow.instance.incidents() == []


def test_a_person_deletes_an_incident() -> None:
    snow = Snow()
    number = snow.written("Pump")["number"]
    path = incident_path(number)
    answer = send(snow, get(snow, path).form(f"{path}/delete"), as_user="admin")
    assert (answer.status, answer.header("location")) == (303, "/?as_user=admin")
    assert snow.instance.incidents() == []
    assert snow.instance.handle(Request("GET", path)).status == 404


def test_everything_that_is_shown_is_escaped() -> None:
    snow = Snow(webhook_url="http://127.0.0.1:9/hook")
    row = snow.written(HOSTILE, description=HOSTILE, correlation_id=HOSTILE, work_notes=HOSTILE, category=HOSTILE)
    snow.ask("GET", f"{TABLE}/%3Cscript%3E", login=(USER, "wrong"))
    snow.instance.handle(Request("GET", "/api/now/<script>"))
    snow.wait(10)
    for outgoing in snow.instance.due():
        snow.instance.delivered(outgoing, None, HOSTILE)
    asked = urlencode({"find": HOSTILE[:9], "as_user": HOSTILE})
    page = get(snow, f"{incident_path(row['number'])}?{asked}")
    for one in (page, get(snow), get(snow, f"/?{asked}")):
        assert not one.tags & {"script", "b", "img"}
    form = page.form(incident_path(row["number"]))
    assert (form.fields["short_description"], form.fields["description"]) == (HOSTILE, HOSTILE)
    lost = snow.instance.handle(Request("GET", "/page/incident/<script>"))
    assert lost.status == 404
    assert "script" not in Reader(lost.body.decode()).tags


def test_the_page_shows_requests_and_what_became_of_webhooks() -> None:
    snow = Snow(webhook_url="http://127.0.0.1:9/hook", faults=("slow=2@0",))
    snow.instance.create_as(AGENT, {"short_description": "Pump"})
    snow.wait(10)
    [outgoing] = snow.instance.due()
    assert "under way" in get(snow).text
    snow.instance.delivered(outgoing, 202)
    snow.ask("GET", query="active=true")
    text = get(snow).text
    for part in (f"14:13:30200GET{TABLE}?sysparm_query=active%3Dtrue{USER}", "202http://127.0.0.1:9/hook", "slow=2"):
        assert part in text
    assert "No receiver is set" in get(Snow()).text


def test_a_form_of_another_site_is_refused() -> None:
    snow = Snow()
    form = get(snow).form("/page/new")
    host = ("Host", "127.0.0.1:8090")
    assert send(snow, form, host, ("Origin", "https://evil.example"), short_description="x").status == 403
    assert send(snow, form, host, ("Origin", "null"), short_description="x").status == 403
    assert snow.instance.incidents() == []
    assert send(snow, form, host, ("Origin", "http://127.0.0.1:8090"), short_description="x").status == 303


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/page/other"), ("POST", "/"), ("GET", "/page/new"), ("POST", "/page/incident/INC9999999")],
)
def test_what_is_no_page_is_404_with_the_way_back(method: str, target: str) -> None:
    answer = Snow().instance.handle(Request(method, target, (), b"state=2"))
    assert (answer.status, Reader(answer.body.decode()).links) == (404, ["/"])


def test_the_page_works_while_the_instance_does_not_and_is_not_counted() -> None:
    snow = Snow(faults=("hibernating",))
    assert send(snow, get(snow).form("/page/new"), short_description="Pump").status == 303
    assert "Armed: hibernating=1" in get(snow).text
    assert not snow.instance.counts
