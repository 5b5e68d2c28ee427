"""Which models are found, which of two with one id wins, and which fit a scan."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import modality_conversion.catalog as module
from bundles import write_bundle
from modality_conversion.catalog import Catalog, bundled_models_dir, user_models_dir
from modality_conversion.errors import ConversionError, InvalidBundle
from modality_conversion.modality import Modality

MR = {"units": "arbitrary", "background": 0, "window": 1, "level": 0}
CT = {"units": "HU", "background": -1024, "window": 400, "level": 40}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Empty folders for the four places, so that no model of this machine is seen."""
    found = {name: tmp_path / name for name in ("given", "variable", "user", "bundled")}
    for path in found.values():
        path.mkdir()
    monkeypatch.setenv("MODALITY_CONVERSION_MODELS", str(found["variable"]))
    monkeypatch.setattr(module, "user_models_dir", lambda: found["user"])
    monkeypatch.setattr(module, "bundled_models_dir", lambda: found["bundled"])
    return found


def any_to_any(folder: Path) -> Path:
    names = ["T1", "T2", "FLAIR"]
    return write_bundle(
        folder,
        sources=[{"modality": name} for name in names],
        targets=dict.fromkeys(names, MR),
        inputs=[{}, {"role": "target_code", "order": names}],
    )


def joint(folder: Path, missing: str = "error") -> Path:
    inputs = [{"name": "image", "modality": "T1"}, {"name": "image", "modality": "FLAIR", "missing": missing}]
    return write_bundle(folder, sources=[{"modality": "T1"}, {"modality": "FLAIR"}], inputs=inputs)


# --- places -----------------------------------------------------------------------------------------------------------


def test_models_are_found_in_all_four_places_in_order(places: dict[str, Path]) -> None:
    for name in ("bundled", "user", "variable", "given"):
        write_bundle(places[name] / f"in-{name}")
    entries = Catalog([places["given"]]).entries()
    assert [entry.id for entry in entries] == ["in-given", "in-variable", "in-user", "in-bundled"]
    assert [entry.is_bundled for entry in entries] == [False, False, False, True]


def test_the_variable_may_name_several_folders(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "MODALITY_CONVERSION_MODELS", os.pathsep.join([str(places["given"]), "", str(places["variable"])])
    )
    assert Catalog().dirs == (places["given"], places["variable"], places["user"], places["bundled"])


def test_a_folder_named_twice_is_looked_into_once(places: dict[str, Path]) -> None:
    write_bundle(places["user"] / "copy")
    assert len(Catalog([places["user"], places["user"]]).entries()) == 1


def test_folders_that_do_not_exist_hold_no_models(places: dict[str, Path], tmp_path: Path) -> None:
    assert Catalog([tmp_path / "none"]).entries() == []
    assert Catalog([tmp_path / "none"]).summaries() == []


def test_a_given_folder_may_be_a_model_itself(places: dict[str, Path], tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    assert Catalog([folder]).get("copy").path == folder
    assert [bundle.path for bundle in Catalog([folder]).find("T1", "T2")] == [folder]


def test_a_folder_dropped_in_appears_without_a_new_catalog(places: dict[str, Path]) -> None:
    catalog = Catalog()
    assert catalog.entries() == []
    write_bundle(places["user"] / "new")
    assert [entry.id for entry in catalog.entries()] == ["new"]


def test_what_is_no_model_is_not_listed(places: dict[str, Path]) -> None:
    (places["user"] / "notes.txt").touch()
    (places["user"] / "empty").mkdir()
    write_bundle(places["user"] / ".partial-1-abc")
    assert Catalog().entries() == []


def test_the_bundled_models_are_found_in_the_source_tree() -> None:
    assert bundled_models_dir() == Path(__file__).resolve().parents[2] / "Resources" / "Models"


@pytest.mark.parametrize(
    "layout", ["site-packages/{p}/bundled_models", "qt-scripted-modules/Resources/Models", "Resources/Models"]
)
def test_the_bundled_models_are_found_in_each_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """The wheel, Slicer's extension and the source tree, with the package where each of them has it."""
    models = tmp_path / layout.format(p="modality_conversion")
    models.mkdir(parents=True)
    top = "ModalityConversion" if layout == "Resources/Models" else layout.split("/")[0]
    monkeypatch.setattr(module, "__file__", str(tmp_path / top / "modality_conversion" / "catalog.py"))
    assert bundled_models_dir() == models


def test_the_users_folder_is_the_same_with_and_without_platformdirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a model installed from the command line would be missing in a Slicer that lacks platformdirs."""
    with_it = user_models_dir()
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert user_models_dir() == with_it
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    without = user_models_dir()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    assert user_models_dir() == without


@pytest.mark.parametrize(
    ("platform", "folder"),
    [("win32", "/home/me/AppData/Local"), ("darwin", "/home/me/Library/Application Support")],
)
def test_the_users_folder_is_the_usual_one_on_other_systems(
    monkeypatch: pytest.MonkeyPatch, platform: str, folder: str
) -> None:
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    assert user_models_dir() == Path(folder, "ModalityConversion", "Models")


# --- broken and shadowed ones -----------------------------------------------------------------------------------------


def test_of_two_models_with_one_id_the_first_wins_and_the_other_is_known(places: dict[str, Path]) -> None:
    write_bundle(places["bundled"] / "copy", title="bundled")
    write_bundle(places["user"] / "mine", id="copy", title="mine")
    first, second = Catalog().entries()
    assert (first.path, first.shadowed_by) == (places["user"] / "mine", None)
    assert (second.path, second.shadowed_by) == (places["bundled"] / "copy", places["user"] / "mine")
    assert Catalog().get("copy").spec.title == "mine"
    assert [bundle.spec.title for bundle in Catalog().bundles()] == ["mine"]
    assert [summary.title for summary in Catalog().summaries()] == ["mine"]


def test_a_broken_model_is_listed_with_its_faults_and_hides_no_other(places: dict[str, Path]) -> None:
    write_bundle(places["user"] / "a-broken", fusion="x", licence="y")
    (places["user"] / "b-broken" / "configs").mkdir(parents=True)
    (places["user"] / "b-broken" / "configs" / "conversion.json").write_bytes(b"\xff{")
    (places["user"] / "c-broken" / "models").mkdir(parents=True)
    write_bundle(places["user"] / "d-good")
    entries = Catalog().entries()
    assert [(entry.id, entry.bundle is None) for entry in entries] == [
        ("a-broken", True),
        ("b-broken", True),
        ("c-broken", True),
        ("d-good", False),
    ]
    assert entries[0].error is not None
    assert len(entries[0].error.faults) == 2
    assert [summary.fault is None for summary in Catalog().summaries()] == [True, False, False, True]


def test_a_broken_model_does_not_shadow_a_right_one(places: dict[str, Path]) -> None:
    write_bundle(places["user"] / "copy", fusion="x")
    write_bundle(places["bundled"] / "copy")
    broken, good = Catalog().entries()
    assert broken.error is not None
    assert good.shadowed_by is None
    assert Catalog().get("copy").path == places["bundled"] / "copy"


def test_a_folder_that_cannot_be_looked_into_is_listed_as_broken(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = write_bundle(places["user"] / "locked")
    write_bundle(places["user"] / "open")
    ask = Path.is_file

    def refuse(self: Path, *rest: object) -> bool:
        if locked in self.parents:
            raise PermissionError(13, "Permission denied")
        return ask(self)

    def refuse_folder(self: Path, *rest: object) -> bool:
        if locked in self.parents:
            raise PermissionError(13, "Permission denied")
        return self.exists() and not ask(self)

    monkeypatch.setattr(Path, "is_file", refuse)
    monkeypatch.setattr(Path, "is_dir", refuse_folder)
    assert [(entry.id, entry.bundle is None) for entry in Catalog().entries()] == [("locked", True), ("open", False)]


# --- by id ------------------------------------------------------------------------------------------------------------


def test_an_id_that_is_not_there_gets_the_close_ones(places: dict[str, Path]) -> None:
    write_bundle(places["user"] / "t1-to-t2-slab")
    with pytest.raises(ConversionError, match=r"no model 't1-to-t2-slap'\. Did you mean t1-to-t2-slab\?"):
        Catalog().get("t1-to-t2-slap")


def test_an_id_like_no_other_gets_the_list(places: dict[str, Path]) -> None:
    write_bundle(places["user"] / "one")
    write_bundle(places["user"] / "two")
    with pytest.raises(ConversionError, match=r"There is one, two\."):
        Catalog().get("zzzzzz")


def test_without_any_model_that_is_said(places: dict[str, Path]) -> None:
    with pytest.raises(ConversionError, match=r"There is none\."):
        Catalog().get("x")


def test_asking_for_a_broken_model_says_what_is_wrong_with_it(places: dict[str, Path]) -> None:
    write_bundle(places["user"] / "broken", fusion="x")
    with pytest.raises(InvalidBundle, match="fusion"):
        Catalog().get("broken")


# --- by modality ------------------------------------------------------------------------------------------------------


def test_models_that_fit_are_found_and_others_not(places: dict[str, Path]) -> None:
    write_bundle(places["user"] / "t1-t2")
    write_bundle(places["user"] / "t1-ct", targets={"CT": CT})
    write_bundle(places["user"] / "pd-t2", sources=[{"modality": "PD"}])
    assert [bundle.spec.id for bundle in Catalog().find("T1", "T2")] == ["t1-t2"]
    assert [bundle.spec.id for bundle in Catalog().find(Modality.T1, Modality.CT)] == ["t1-ct"]
    assert Catalog().find("CT", "T1") == []


def test_the_users_models_come_before_the_bundled_and_specialists_before_generalists(places: dict[str, Path]) -> None:
    any_to_any(places["user"] / "user-any")
    write_bundle(places["user"] / "user-b")
    write_bundle(places["user"] / "user-a")
    write_bundle(places["bundled"] / "bundled")
    write_bundle(places["given"] / "given")
    found = [bundle.spec.id for bundle in Catalog([places["given"]]).find("t1", "t2")]
    assert found == ["given", "user-a", "user-b", "user-any", "bundled"]


def test_a_model_that_needs_a_further_scan_comes_last(places: dict[str, Path]) -> None:
    joint(places["user"] / "needs-both")
    joint(places["user"] / "takes-both", missing="zeros")
    write_bundle(places["bundled"] / "bundled")
    assert [bundle.spec.id for bundle in Catalog().find("T1", "T2")] == ["takes-both", "bundled", "needs-both"]


def test_what_can_be_made_is_the_union_of_all_models(places: dict[str, Path]) -> None:
    any_to_any(places["user"] / "any")
    write_bundle(places["bundled"] / "t1-ct", targets={"CT": CT})
    assert Catalog().targets_from("T1") == [Modality.CT, Modality.T2, Modality.FLAIR]
    assert Catalog().targets_from("FLAIR") == [Modality.T1, Modality.T2]
    assert Catalog().targets_from("CT") == []


def test_a_scan_is_only_turned_into_itself_by_a_model_for_that(places: dict[str, Path]) -> None:
    any_to_any(places["user"] / "any")
    assert Catalog().find("T1", "T1") == []
    write_bundle(places["user"] / "sharper", targets={"T1": MR})
    assert [bundle.spec.id for bundle in Catalog().find("T1", "T1")] == ["sharper"]


def test_shadowed_and_broken_models_are_not_offered(places: dict[str, Path]) -> None:
    write_bundle(places["user"] / "copy", sources=[{"modality": "PD"}])
    write_bundle(places["bundled"] / "copy")
    write_bundle(places["bundled"] / "broken", fusion="x")
    assert Catalog().find("T1", "T2") == []


def test_a_modality_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="T9"):
        Catalog().find("T9", "T1")
