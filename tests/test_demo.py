"""The demo says which Dice it shows: that of the slice in the picture, and that of the volume."""

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")

from examples import evaluation, lesions, picture, slices


@pytest.fixture(scope="module")
def patient():
    return slices.load_patient(slices.HELD_OUT)


@pytest.fixture(scope="module")
def prediction(patient):
    """Every second slice is missed; of the one that is shown, a part."""
    truth = patient.labels == 1
    shown = int(truth.sum(dim=(1, 2)).argmax())
    found = truth.clone()
    found[(shown + 1) % 2 :: 2] = False
    found[shown, 60:80] = False
    return found


@pytest.fixture(scope="module")
def dice(patient, prediction):
    """Of the slice that is shown and of the volume; they differ."""
    truth = patient.labels == 1
    shown = int(truth.sum(dim=(1, 2)).argmax())
    of_slice = evaluation.dice(prediction[shown], truth[shown])
    of_volume = evaluation.dice(prediction, truth)
    assert 0.1 < of_volume < of_slice - 0.01 < 1
    return of_slice, of_volume


def test_the_picture_names_the_dice_of_its_slice_and_of_the_volume(
    patient, prediction, dice, tmp_path, monkeypatch
):
    figures = []
    monkeypatch.setattr(picture.plt, "close", figures.append)
    file = tmp_path / "lesions.png"
    picture.draw(patient, prediction, lesions.parse_arguments([]), file)
    title = figures[0].axes[3].get_title()
    assert f"this slice {dice[0]:.2f}" in title
    assert f"volume {dice[1]:.2f}" in title
    # And all of it is on the paper.
    renderer = figures[0].canvas.get_renderer()
    box = figures[0].axes[3].title.get_window_extent(renderer)
    assert box.y1 <= figures[0].bbox.y1


def test_what_is_printed_and_kept_names_both(prediction, dice, tmp_path, monkeypatch, capsys):
    trained = {"steps": 1, "seconds": 1.0, "boundary_share": 0.01}
    monkeypatch.setattr(lesions, "train", lambda *_: (torch.nn.Identity(), dict(trained)))
    monkeypatch.setattr(lesions, "predict", lambda *_: prediction)
    report = lesions.main(["--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert f"Dice of the volume {dice[1]:.3f}" in said
    assert f"Dice of the slice in the picture: {dice[0]:.3f}" in said
    assert (report["dice_of_shown_slice"], report["dice"]) == dice
