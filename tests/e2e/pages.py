"""Where things are in Airflow's web interface, by the names that a person reads."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import FrameLocator, Locator, Page, expect

from .site import PASSWORD, USER


class Web:
    """A browser's page on one Airflow.

    :param url: Airflow's address.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def sign_in(self) -> None:
        """Sign in with the form, from wherever Airflow asks for it."""
        self.page.goto(self.url)
        self.page.get_by_role("textbox", name="Username").fill(USER)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("link", name="Dags", exact=True)).to_be_visible()

    def dag(self, dag_id: str) -> None:
        self._open("dags", dag_id)

    def run(self, dag_id: str, run_id: str) -> None:
        self._open("dags", dag_id, "runs", run_id)

    def task(self, dag_id: str, run_id: str, task_id: str, map_index: int | None = None) -> None:
        """Open a task instance; a mapped one by its index."""
        mapped = () if map_index is None else ("mapped", str(map_index))
        self._open("dags", dag_id, "runs", run_id, "tasks", task_id, *mapped)

    def trigger(self, **parameters: str) -> str:
        """Run the Dag that is shown, with these parameters, and show the run.

        :return: the run's id.
        """
        self.page.get_by_role("button", name="Trigger Dag").click()
        dialog = self.page.get_by_role("dialog")
        button = dialog.get_by_role("button", name="Trigger", exact=True)
        # The form is ready when its button is: what is filled in before may leave the button grey for good.
        expect(button).to_be_enabled()
        for name, value in parameters.items():
            field = dialog.get_by_label(name, exact=True)
            field.fill(value)
            field.blur()
        with self.page.expect_response(lambda answer: answer.url.endswith("/dagRuns")) as answer:
            button.click()
        made = answer.value.json()
        self.run(made["dag_id"], made["dag_run_id"])
        return str(made["dag_run_id"])

    def tab(self, name: str) -> None:
        """Open a tab of the Dag, run or task instance that is shown."""
        self.page.get_by_role("link", name=name, exact=True).click()

    def link(self, name: str) -> Locator:
        """Return an operator's link of the task instance that is shown: they are among its details."""
        if not self.page.url.endswith("/details"):
            self.tab("Details")
        expect(self.page.get_by_role("heading", name="Extra Links")).to_be_visible()
        return self.page.get_by_role("link", name=name, exact=True)

    def images(self) -> FrameLocator:
        """Open the Images view of what is shown, and return it."""
        self.tab("Images")
        frame = self.page.frame_locator("iframe")
        expect(frame.get_by_role("heading", name="Images")).to_be_visible()
        return frame

    def xcom(self, key: str) -> Locator:
        """Return the row of an XCom of the task instance that is shown."""
        self.tab("Storage")
        self.tab("XCom")
        self.page.get_by_role("button", name="Expand all extra JSON").click()
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("cell", name=key, exact=True))

    def connections(self) -> None:
        self._open("connections")

    def notice(self) -> Locator:
        """Return the last message in the corner."""
        return self.page.get_by_role("region", name="Notifications").get_by_role("status").last

    def _open(self, *path: str) -> None:
        self.page.goto("/".join((self.url, *(quote(part, safe="") for part in path))))


class ConnectionForm:
    """The dialog that adds or edits a connection."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self.dialog = web.page.get_by_role("dialog")

    def add(self, conn_id: str, kind: str) -> None:
        """Begin a connection.

        :param kind: its type, as the list shows it.
        """
        self.web.connections()
        self.web.page.get_by_role("button", name="Add Connection").click()
        self.dialog.get_by_role("textbox", name="Connection ID").fill(conn_id)
        self.dialog.get_by_role("combobox", name="Connection Type").fill(kind)
        self.web.page.get_by_role("option", name=kind, exact=True).click()
        expect(self.standard("Hub")).to_be_visible()

    def edit(self, conn_id: str) -> None:
        self.web.connections()
        self.row(conn_id).get_by_role("button", name="Edit Connection").click()
        expect(self.standard("Hub")).to_be_visible()

    def standard(self, label: str) -> Locator:
        """Return one of the standard fields."""
        return self.dialog.get_by_role("textbox", name=label, exact=True).or_(
            self.dialog.get_by_role("spinbutton", name=label, exact=True)
        )

    def section(self, name: str) -> None:
        """Open a part of the form; the others close."""
        button = self.dialog.get_by_role("button", name=name, exact=True)
        button.click()
        expect(button).to_have_attribute("aria-expanded", "true")

    def extra(self, name: str) -> Locator:
        """Return one of the extra fields, by its name in the JSON."""
        return self.dialog.locator(f"[name='element_{name}']").first

    def save(self) -> None:
        self.dialog.get_by_role("button", name="Save").click()
        expect(self.dialog).to_be_hidden()

    def row(self, conn_id: str) -> Locator:
        """Return a connection's row in the list."""
        cell = self.web.page.get_by_role("cell", name=conn_id, exact=True)
        return self.web.page.get_by_role("row").filter(has=cell)

    def press_test(self, conn_id: str) -> None:
        """Press the Test button of a saved connection."""
        self.web.connections()
        self.row(conn_id).get_by_role("button", name="Test Connection").click()
