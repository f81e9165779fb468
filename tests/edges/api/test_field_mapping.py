"""Field mapping over HTTP: listed, set, replaced, taken back, and refused with everything that was wrong."""

from tests.edges.api.daemon import running

MAPPINGS = "/api/v1/integrations/prod/field-mapping"
VALUES = {"SEV-1": "1", "SEV-2": "2", "SEV-3": "3", "SEV-4": ["4", "5"]}


async def test_a_mapping_is_set_replaced_listed_and_taken_back() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        made = await daemon.socket.put(f"{MAPPINGS}/severity", json={"external_field": "u_sev", "values": VALUES})
        assert (made.status_code, made.json()) == (
            200,
            {
                "field": "severity",
                "external_field": "u_sev",
                "values": {"SEV-1": ["1"], "SEV-2": ["2"], "SEV-3": ["3"], "SEV-4": ["4", "5"]},
                "transform": "",
                "direction": "bidirectional",
                "default": False,
            },
        )
        at = daemon.journal.state.position
        await daemon.socket.put(f"{MAPPINGS}/severity", json={"external_field": "u_sev", "values": VALUES})
        assert daemon.journal.state.position == at, "the same again is no change"
        await daemon.socket.put(f"{MAPPINGS}/service", json={"external_field": "u_service", "direction": "outbound"})
        shown = {one["field"]: one for one in (await daemon.socket.get(MAPPINGS)).json()}
        assert list(shown) == ["title", "description", "severity", "status", "assigned_to", "service"]
        assert shown["service"]["external_field"] == "u_service"
        assert shown["title"] == {
            "field": "title",
            "external_field": "short_description",
            "values": {},
            "transform": "",
            "direction": "bidirectional",
            "default": True,
        }
        gone = await daemon.socket.delete(f"{MAPPINGS}/service")
        assert (gone.status_code, gone.json()["external_field"], gone.json()["default"]) == (200, None, True)
        assert (await daemon.socket.delete(f"{MAPPINGS}/service")).json() == gone.json()


async def test_a_default_that_is_taken_refuses_what_would_go_back_to_it_as_its_description_says() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        for field, column in (("title", "u_title"), ("description", "short_description")):
            await daemon.socket.put(f"{MAPPINGS}/{field}", json={"external_field": column})
        gone = await daemon.socket.delete(f"{MAPPINGS}/title")
        assert (gone.status_code, gone.json()["hint"]) == (
            422,
            "free it first: im integration field-mapping delete prod description",
        )
        told = (await daemon.socket.get("/api/v1/openapi.json")).json()["paths"]
        assert "422" in told["/api/v1/integrations/{integration}/field-mapping/{field}"]["delete"]["responses"]


async def test_settings_that_are_changed_otherwise_keep_the_mappings() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        await daemon.socket.put(f"{MAPPINGS}/service", json={"external_field": "u_service"})
        await daemon.socket.patch("/api/v1/integrations/prod", json={"rate_limit": 5})
        shown = {one["field"]: one["external_field"] for one in (await daemon.socket.get(MAPPINGS)).json()}
        assert shown["service"] == "u_service"


async def test_a_refusal_names_every_fault_and_a_field_that_cannot_be_mapped_is_404() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        answer = await daemon.socket.put(
            f"{MAPPINGS}/severity",
            json={"external_field": "priority", "values": {"SEV-1": "1", "SEV-2": "1"}, "transform": "upper"},
        )
        assert answer.status_code == 422
        assert {one["path"] for one in answer.json()["errors"]} == {
            "external_field",
            "values",
            "values.SEV-2",
            "transform",
        }
        unknown = await daemon.socket.put(f"{MAPPINGS}/work_notes", json={"external_field": "u_x"})
        assert unknown.status_code == 404
        assert "service" in unknown.json()["detail"] + str(unknown.json().get("hint", ""))


async def test_mappings_are_read_by_readers_and_set_by_admins_only() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        reader = await daemon.token("read")
        headers = {"Authorization": f"Bearer {reader}"}
        assert (await daemon.http.get(MAPPINGS, headers=headers)).status_code == 200
        answer = await daemon.http.put(f"{MAPPINGS}/service", json={"external_field": "u_s"}, headers=headers)
        assert answer.status_code == 403
