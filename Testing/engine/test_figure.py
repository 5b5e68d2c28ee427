"""The picture: the right way round, in the right proportions, and marked as synthetic."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

import modality_conversion
from modality_conversion import figure
from modality_conversion.compare import difference
from modality_conversion.errors import ConversionError
from modality_conversion.figure import WARNING, colours, planes, save_conversion_figure, save_figure
from modality_conversion.modality import Modality

pytest.importorskip("matplotlib")

# Columns: where the image axes i, j, k run, in LPS.
DIRECTIONS = {
    "LPS": np.diag([1, 1, 1]),
    "RAS": np.diag([-1, -1, 1]),
    "LIA": np.array([[1, 0, 0], [0, 0, -1], [0, -1, 0]]),
    "RAI": np.diag([-1, -1, -1]),  # left-handed
    "LAS": np.diag([1, -1, 1]),  # left-handed
    "ASR": np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]]),
    "SPL": np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]),
}
LETTERS = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I"), "sagittal": ("A", "P", "S", "I")}


def volume(function, size=(40, 40, 40), spacing=(2.0, 2.0, 2.0), direction=DIRECTIONS["LPS"]):
    """An image whose values are a function of the place in mm in LPS (x, y, z); (0, 0, 0) is the grid's centre."""
    image = sitk.Image(list(size), sitk.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetDirection(np.asarray(direction, dtype=float).ravel().tolist())
    steps = np.asarray(direction, dtype=float) * np.asarray(spacing)
    image.SetOrigin((-steps @ ((np.asarray(size) - 1) / 2)).tolist())
    k, j, i = np.meshgrid(*(np.arange(n) for n in reversed(size)), indexing="ij")
    x, y, z = (steps @ np.stack([i.ravel(), j.ravel(), k.ravel()]) + np.array(image.GetOrigin())[:, None]).reshape(
        3, *k.shape
    )
    filled = sitk.GetImageFromArray(function(x, y, z).astype(np.float32))
    filled.CopyInformation(image)
    return filled


def head(x, y, z):
    """A soft ball of radius 30 mm."""
    return 100 / (1 + np.exp((np.sqrt(x**2 + y**2 + z**2) - 30) / 2))


def with_markers(x, y, z):
    """A ball with a bright spot in each plane through its centre: left, in front, or on top of what is shown there."""
    result = head(x, y, z)
    for place in ((16, -16, 0), (16, 0, 16), (0, -16, 16)):
        result = result + 200 * np.exp(-sum((a - p) ** 2 for a, p in zip((x, y, z), place, strict=True)) / 18)
    return result


@dataclass
class Drawn:
    """A picture that was saved, and what it was made from."""

    path: Path
    sheet: object

    @property
    def pixels(self):
        return sitk.GetArrayFromImage(sitk.ReadImage(str(self.path)))[..., :3].astype(int)

    def panel(self, view, column=0):
        """The panel's pixels before words were set, grey."""
        at = self.place(view, column)
        return self.sheet.pixels[at.y : at.y + at.height, at.x : at.x + at.width].astype(int)

    def place(self, view, column=0):
        return next(panel for panel in self.sheet.panels if (panel.view, panel.column) == (view, column))

    def texts(self):
        return [words.text for words in self.sheet.words]


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Save a figure and keep the sheet it was made from."""
    sheets = []
    png = figure._png
    monkeypatch.setattr(figure, "_png", lambda sheet, *rest: sheets.append(sheet) or png(sheet, *rest))

    def run(source, synthetic, name="figure.png", **options):
        path = save_figure(tmp_path / name, source, synthetic, **{"width": 700, **options})
        return Drawn(path, sheets[-1])

    return run


def spot(panel):
    """Where the bright marker lies from the panel's centre: (to the right, downwards), in pixels."""
    rows, columns = np.nonzero(panel[..., 0] >= panel[..., 0].max() - 5)
    return columns.mean() - (panel.shape[1] - 1) / 2, rows.mean() - (panel.shape[0] - 1) / 2


@pytest.mark.parametrize("codes", DIRECTIONS)
def test_the_patients_left_is_on_the_right_and_anterior_and_superior_are_up_however_the_grid_is_stored(codes, draw):
    image = volume(with_markers, direction=DIRECTIONS[codes])
    drawn = draw(image, image, source_window=(250, 175))
    right, down = spot(drawn.panel("axial"))
    assert right > 10, "left is on the right"
    assert down < -10, "anterior is up"
    right, down = spot(drawn.panel("coronal"))
    assert right > 10, "left is on the right"
    assert down < -10, "superior is up"
    right, down = spot(drawn.panel("sagittal"))
    assert right < -10, "anterior is on the left"
    assert down < -10, "superior is up"


@pytest.mark.parametrize("codes", DIRECTIONS)
def test_each_panel_has_its_letters_at_its_edges(codes, draw):
    image = volume(head, direction=DIRECTIONS[codes])
    drawn = draw(image, image)
    for view, (left, right, top, bottom) in LETTERS.items():
        for column in (0, 1):
            at = drawn.place(view, column)
            middle_x, middle_y = at.x + at.width / 2, at.y + at.height / 2
            found = {
                words.text: (words.x - middle_x, words.y - middle_y)
                for words in drawn.sheet.words
                if words.even and at.x <= words.x <= at.x + at.width and at.y <= words.y <= at.y + at.height
            }
            assert set(found) == {left, right, top, bottom}
            assert found[left][0] < 0 < found[right][0]
            assert found[top][1] < 0 < found[bottom][1]
            assert found[left][1] == found[top][0] == 0


def test_the_same_patient_makes_the_same_picture_from_any_stored_grid(draw):
    pictures = [
        draw(*(volume(with_markers, (41, 41, 41), direction=direction),) * 2, name=f"{codes}.png").pixels
        for codes, direction in DIRECTIONS.items()
    ]
    for picture in pictures[1:]:
        assert np.abs(picture - pictures[0]).max() <= 1


@pytest.mark.parametrize(
    ("size", "spacing"), [((80, 80, 20), (1, 1, 4)), ((20, 80, 80), (4, 1, 1)), ((40, 100, 50), (2, 0.8, 1.6))]
)
def test_a_ball_is_round_and_equally_large_in_every_plane_whatever_the_slice_thickness(size, spacing, draw):
    image = volume(head, size=size, spacing=spacing)
    drawn = draw(image, image, source_window=(100, 50))
    diameters = []
    for view in LETTERS:
        bright = drawn.panel(view)[..., 0] > 127
        diameters += [bright.any(axis=0).sum(), bright.any(axis=1).sum()]
    assert max(diameters) / min(diameters) < 1.04
    per_mm = np.mean(diameters) / 60
    legend = next(words for words in drawn.sheet.words if words.text.endswith("mm") and words.down == "center")
    row = drawn.sheet.pixels[int(legend.y), :, 0] == 242
    assert row.sum() / per_mm == pytest.approx(float(legend.text.split()[0]), rel=0.04)  # the scale bar tells the truth


def test_an_oblique_grid_shows_mixed_letters_and_a_slight_tilt_does_not(draw):
    def turned(degrees):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

    oblique = volume(head, direction=turned(30))
    texts = draw(oblique, oblique).texts()
    assert {"R/A", "L/P", "A/L", "P/R", "S", "I"} <= set(texts)
    tilted = volume(head, direction=turned(10))
    assert not any("/" in text for text in draw(tilted, tilted).texts())


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1))
def test_opposite_edges_have_opposite_letters(vector):
    towards = np.array(vector) / np.linalg.norm(vector)
    opposite = {"L": "R", "R": "L", "P": "A", "A": "P", "S": "I", "I": "S", "/": "/"}
    letters = planes.edge_letters(towards)
    assert planes.edge_letters(-towards) == "".join(opposite[letter] for letter in letters)
    assert letters[0] == ("LPS" if towards[np.argmax(np.abs(towards))] > 0 else "RAI")[np.argmax(np.abs(towards))]


# --- where ------------------------------------------------------------------------------------------------------------


def corner_texts(drawn):
    return [text.split("\n")[1] for text in drawn.texts() if text.startswith(("axial\n", "coronal\n", "sagittal\n"))]


def test_the_planes_go_through_the_centre_of_the_foreground(draw):
    image = volume(lambda x, y, z: head(x - 11, y + 9, z - 5), size=(60, 60, 60))
    axial, coronal, sagittal = (text.split() for text in corner_texts(draw(image, image)))
    assert (axial[0], coronal[0], sagittal[0]) == ("S", "A", "L")
    for text, value in ((axial, 5), (coronal, 9), (sagittal, 11)):
        assert float(text[1]) == pytest.approx(value, abs=1.01)


@pytest.mark.parametrize("codes", ["LPS", "LIA", "RAI"])
def test_of_a_head_with_a_long_neck_only_the_head_counts(codes, draw):
    def body(x, y, z):
        neck = np.where((np.hypot(x, y) < 12) & (z < 0), 80.0, 0.0)
        return np.maximum(head(x, y, z - 60), neck)

    image = volume(body, size=(80,) * 3, spacing=(4, 4, 4), direction=DIRECTIONS[codes])
    axial = corner_texts(draw(image, image))[0].split()
    assert axial[0] == "S"
    assert float(axial[1]) > 40


def test_a_position_in_mm_is_taken_and_one_outside_is_refused(draw):
    image = volume(head)
    assert corner_texts(draw(image, image, position=(-5, 7, 13))) == ["S 13.0 mm", "P 7.0 mm", "R 5.0 mm"]
    with pytest.raises(ConversionError, match=r"\(0, 0, 99\) mm in LPS lies outside the scan"):
        draw(image, image, position=(0, 0, 99))


def test_with_a_mask_the_planes_go_through_its_largest_part_which_is_outlined_and_stays_visible(draw):
    image = volume(head)

    def lesions(x, y, z):
        large = (x - 15) ** 2 + (y + 9) ** 2 + (z - 7) ** 2 < 36
        return large | ((x + 15) ** 2 + y**2 + z**2 < 9)

    mask = volume(lesions)
    drawn = draw(image, image, truth=image, difference=image, mask=mask)
    places = [float(text.split()[1]) for text in corner_texts(drawn)]
    assert places == pytest.approx([7, 9, 15], abs=2)
    for view in LETTERS:
        for column, outlined in ((0, True), (1, True), (2, True), (3, False)):
            panel = drawn.panel(view, column)
            green = (panel[..., 1] == 230) & (panel[..., 0] == 0)
            assert green.any() == outlined
    assert any("green outline" in text for text in drawn.texts())
    panel = drawn.panel("axial")
    green = (panel[..., 1] == 230) & (panel[..., 0] == 0)
    rows, columns = np.nonzero(green)
    inner = panel[round(rows.mean()), round(columns.mean())]
    assert inner[0] == inner[1] == inner[2] > 100


def test_only_the_scan_is_shown_not_the_air_around_it_nor_a_speck_of_noise(draw):
    def speck(x, y, z):
        return head(x, y, z) + 100 * ((abs(x - 90) < 3) & (abs(y - 90) < 3) & (abs(z - 90) < 3))

    image = volume(speck, size=(100, 100, 100))
    drawn = draw(image, image)
    bright = drawn.panel("axial")[..., 0] > 127
    assert bright.any(axis=0).mean() > 0.6


# --- what it says -----------------------------------------------------------------------------------------------------


def amber(pixels):
    return (pixels[..., 0] > 200) & (abs(pixels[..., 1] - 175) < 45) & (pixels[..., 2] < 90)


def test_every_synthetic_panel_and_no_other_carries_the_warning(draw):
    image = volume(head)
    drawn = draw(image, image, truth=image)
    assert drawn.texts().count(WARNING) == 3
    assert WARNING == "SYNTHETIC - not for diagnosis"
    for view in LETTERS:
        for column, marked in ((0, False), (1, True), (2, False)):
            at = drawn.place(view, column)
            cut = drawn.pixels[at.y : at.y + at.height, at.x : at.x + at.width]
            assert (amber(cut).sum() > 50) == marked


def test_headings_windows_units_model_and_version_are_written(draw):
    image = volume(head)
    drawn = draw(
        image,
        volume(lambda x, y, z: 20 * head(x, y, z) - 1000),
        truth=image,
        difference=image,
        uncertainty=image,
        source_name="T1",
        target_name="CT",
        units="HU",
        target_window=(80, 40),
        model="t1-to-ct 1.2.0",
        title="Phantom",
    )
    texts = drawn.texts()
    assert texts.count("CT") == 2
    assert {"T1", "Difference", "Uncertainty", "SYNTHETIC", "real", "source, real", "Phantom"} <= set(texts)
    assert texts.count("W 80  L 40") == 2  # synthetic and, in HU, truth
    assert texts.count("HU") == 2  # both colour bars
    footer = next(text for text in texts if "t1-to-ct 1.2.0" in text)
    assert f"ModalityConversion {modality_conversion.__version__}" in footer
    assert "not for diagnosis" in footer


def test_in_arbitrary_units_the_truth_has_its_own_window_unless_one_is_given(draw):
    image, larger = volume(head), volume(lambda x, y, z: 10 * head(x, y, z))
    texts = draw(image, image, truth=larger, target_window=(90, 45), units="arbitrary").texts()
    assert texts.count("W 90  L 45") == 1
    assert texts.count("W 1000  L 500") == 1
    assert "W 800  L 400" in draw(image, image, truth=larger, truth_window=(800, 400)).texts()


def test_a_ct_without_a_window_is_shown_as_soft_tissue(draw):
    ct = volume(lambda x, y, z: 11 * head(x, y, z) - 1000)
    assert "W 400  L 40" in draw(ct, ct, source_units="HU").texts()


def test_the_difference_is_black_at_zero_orange_above_and_blue_below_with_a_bar_that_says_so(draw):
    image = volume(head)
    drawn = draw(image, image, difference=volume(lambda x, y, z: 50 * np.sign(x) * (abs(x) > 3)), difference_limit=100)
    panel = drawn.panel("axial", 2)
    height, width = panel.shape[:2]
    assert (panel[height // 2, width // 2] < 30).all()
    red, _, blue = panel[height // 2, 3 * width // 4]  # the patient's left, x > 0
    assert red > blue
    red, _, blue = panel[height // 2, width // 4]
    assert blue > red
    assert {"+100", "0", "\N{MINUS SIGN}100", "arbitrary units"} <= set(drawn.texts())


def test_the_heading_says_when_the_difference_was_taken_after_a_fit(draw):
    image, other = volume(head), volume(lambda x, y, z: head(x, y, z) ** 0.9)
    fitted = "synthetic \N{MINUS SIGN} real, after affine fit"
    assert fitted in draw(image, other, difference=difference(image, other)).texts()
    assert fitted not in draw(image, other, difference=difference(image, other, fit=False)).texts()


def test_without_a_source_there_is_no_source_column(draw):
    image = volume(head)
    drawn = draw(None, image, truth=image)
    assert "source, real" not in drawn.texts()
    assert {panel.column for panel in drawn.sheet.panels} == {0, 1}


def test_missing_values_are_black(draw):
    def holed(x, y, z):
        return np.where((abs(x) < 6) & (abs(y) < 6), np.nan, head(x, y, z))

    drawn = draw(volume(head), volume(holed), target_window=(100, 50))
    panel = drawn.panel("axial", 1)
    assert (panel[panel.shape[0] // 2, panel.shape[1] // 2] == 0).all()


@pytest.mark.parametrize("constant", [0.0, 7.0])
def test_a_constant_scan_and_a_single_slice_can_be_drawn(constant, draw):
    assert draw(*(volume(lambda x, y, z: x * 0 + constant),) * 2).path.is_file()
    assert draw(*(volume(head, size=(30, 30, 1), spacing=(2, 2, 5)),) * 2).path.is_file()


def test_a_difference_of_nothing_has_a_bar_of_one(draw):
    image = volume(head)
    assert "+1" in draw(image, image, difference=volume(lambda x, y, z: x * 0)).texts()


def test_bright_scalp_does_not_set_the_window():
    def scalp(x, y, z):
        radius = np.sqrt(x**2 + y**2 + z**2)
        return np.where(radius < 33, 200, 0) + np.where((radius >= 33) & (radius < 37), 1000, 0)

    window = colours.robust_window(sitk.GetArrayFromImage(volume(scalp)))
    assert (window.low, window.high) == pytest.approx((0, 200))


@pytest.mark.parametrize(("largest", "limit"), [(0.0312, 0.032), (87.1, 88), (1234, 1300), (100, 100)])
def test_the_limit_of_a_colour_bar_is_rounded_up_to_two_digits(largest, limit):
    assert colours.robust_limit(np.array([0, 0, -largest])) == pytest.approx(limit)


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "dpi"), [(700, 100), (701, 100), (523, 173), (400, 200)])
def test_the_file_holds_the_panels_pixel_for_pixel_at_any_size(width, dpi, draw):
    image = volume(with_markers)
    drawn = draw(image, image, width=width, dpi=dpi)
    height, wide = drawn.sheet.pixels.shape[:2]
    assert drawn.pixels.shape == (height, wide, 3)
    assert wide <= width * dpi / 100 + 1
    at = drawn.place("axial")
    part = (slice(at.y + at.height // 4, at.y + at.height // 2 - 12), slice(at.x + at.width // 4, at.x + at.width // 2))
    np.testing.assert_array_equal(drawn.pixels[part], drawn.sheet.pixels[part])


def test_the_same_input_makes_the_same_bytes_whatever_matplotlib_was_told_before(draw):
    import matplotlib as mpl

    image = volume(head)
    first = draw(image, image, title="a $dollar$", name="a.png").path.read_bytes()
    with mpl.rc_context({"savefig.bbox": "tight", "font.family": "serif", "figure.dpi": 37, "text.color": "red"}):
        before = dict(mpl.rcParams)
        second = draw(image, image, title="a $dollar$", name="b.png").path.read_bytes()
        assert dict(mpl.rcParams) == before
    assert first == second


def test_the_files_own_text_says_synthetic(draw):
    pillow = pytest.importorskip("PIL.Image")
    image = volume(head)
    drawn = draw(image, image, source_name="T1", target_name="T2", model="m 1")
    text = pillow.open(drawn.path).text
    assert text["Synthetic"] == "YES"
    assert text["Description"] == WARNING
    assert text["Title"] == "Synthetic T2 made from T1. Not for diagnosis."
    assert text["Source"] == "m 1"


def test_an_existing_picture_is_left_alone_when_drawing_fails(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(figure, "_png", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ConversionError, match="No space left"):
        save_figure(path, volume(head), volume(head))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("figure.jpg", {}, "ends in .png"),
        ("nowhere/figure.png", {}, "does not exist"),
        ("f.png", {"source": volume(head, spacing=(2, 2, 2.1))}, "The source is not on the synthetic volume's grid"),
        ("f.png", {"truth": volume(head, size=(40, 40, 39))}, "The real scan is not on"),
        ("f.png", {"mask": volume(lambda x, y, z: x * 0)}, "mask is empty"),
        ("f.png", {"uncertainty": sitk.Image([4, 4], sitk.sitkFloat32)}, "2 dimensions"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(name, changed, said, tmp_path):
    arguments = {"source": volume(head), **changed}
    with pytest.raises(ConversionError, match=said) as refusal:
        save_figure(tmp_path / name, arguments.pop("source"), volume(head), **arguments)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.rglob("*"))


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConversionError, match=r"pip install 'modality-conversion\[demo\]'"):
        save_figure(tmp_path / "figure.png", volume(head), volume(head))


_HEADLESS = """
import sys
from modality_conversion import figure
from modality_conversion.phantom import head_phantom
assert not any(name.startswith("matplotlib") for name in sys.modules), "matplotlib at import"
image = head_phantom((24, 28, 20), 8.0)
figure.save_figure(sys.argv[1], image, image, width=500)
assert "matplotlib.pyplot" not in sys.modules, "pyplot"
"""


def test_matplotlib_is_imported_only_to_draw_and_pyplot_never(tmp_path):
    folder = str(Path(modality_conversion.__path__[0]).parent)
    command = [sys.executable, "-c", _HEADLESS, str(tmp_path / "figure.png")]
    environment = {"PYTHONPATH": folder, "MPLBACKEND": "TkAgg", "HOME": str(tmp_path)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "figure.png").is_file()


def test_the_picture_of_a_conversion_takes_its_words_from_the_report(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(figure, "_png", lambda sheet, *_: taken.extend(w.text for w in sheet.words) or b"")
    report = {"window": 80, "level": 40, "units": "HU", "modality": "CT", "model": {"id": "t1-to-ct", "version": "1.0"}}
    conversion = SimpleNamespace(image=volume(head), uncertainty=volume(head), report=report)
    save_conversion_figure(tmp_path / "figure.png", volume(head), Modality.T1, conversion)
    assert {"T1", "CT", "Uncertainty", "W 80  L 40", "HU"} <= set(taken)
    assert any(text.startswith("t1-to-ct 1.0, ModalityConversion") for text in taken)


def test_a_real_scan_of_thick_slices_is_drawn(draw, shared_data):
    flair = sitk.ReadImage(str(shared_data / "ms_longitudinal" / "patient04" / "study1_FLAIR.nii.gz"))
    drawn = draw(flair, sitk.SmoothingRecursiveGaussian(flair, 1.0), truth=flair)
    for view in LETTERS:
        assert drawn.panel(view)[..., 0].std() > 20
    at = {view: drawn.place(view) for view in LETTERS}
    assert at["coronal"].height == at["sagittal"].height
    assert at["coronal"].width == at["axial"].width
