"""The metrics, corruptions and files of `tiny-mnist evaluate`."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_calibration_error
from typer.testing import CliRunner

from support.program import PROJECT
from tiny_mnist.cli import app
from tiny_mnist.data import FASHION_MNIST, MNIST, DatasetInfo, LabelledImages
from tiny_mnist.errors import UserError
from tiny_mnist.evaluation import metrics as evaluation
from tiny_mnist.evaluation.corruptions import CORRUPTIONS, corrupt
from tiny_mnist.evaluation.label_errors import LABEL_ERRORS
from tiny_mnist.evaluation.predict import predict
from tiny_mnist.evaluation.report import format_summary, render_page
from tiny_mnist.runs.folder import RunFolder


@pytest.fixture(scope="module")
def answers() -> tuple[Tensor, Tensor]:
    """Random probabilities and labels of 500 images."""
    generator = torch.Generator().manual_seed(0)
    probs = (3 * torch.randn(500, 10, generator=generator)).softmax(dim=1)
    return probs, torch.randint(10, (500,), generator=generator)


@pytest.mark.parametrize(
    ("correct", "images", "low", "high"),
    # By scipy.stats.binomtest(correct, images).proportion_ci(0.95, "wilson").
    [
        (5, 10, 23.6593, 76.3407),
        (9952, 10000, 99.3642, 99.6378),
        (0, 10, 0, 27.7533),
        (10, 10, 72.2467, 100),
    ],
)
def test_wilson_interval(correct: int, images: int, low: float, high: float) -> None:
    assert evaluation.wilson_interval(correct, images) == pytest.approx((low, high), abs=1e-3)


def test_calibration_error_equals_that_of_torchmetrics(answers: tuple[Tensor, Tensor]) -> None:
    probs, labels = answers
    bins = evaluation.bin_by_confidence(probs, labels)
    assert sum(b.images for b in bins) == len(labels)
    theirs = multiclass_calibration_error(probs, labels, num_classes=10, n_bins=evaluation.NUM_BINS)
    assert evaluation.calibration_error(bins) == pytest.approx(100 * float(theirs), abs=1e-3)


def test_predictions_of_full_confidence_count_in_the_last_bin_and_in_the_calibration_error() -> (
    None
):
    """Torchmetrics puts a confidence of exactly 1.0 into a bin of its own beyond the last."""
    sure = torch.eye(10)
    unsure = torch.full((10, 10), 0.03)
    unsure[:, 0] = 0.97  # right for one image in ten
    probs, labels = torch.cat([sure, unsure]), torch.arange(10).repeat(2)
    bins = evaluation.bin_by_confidence(probs, labels)
    assert bins[-1].images == 20
    confidence, accuracy = (100 + 97) / 2, 100 * 11 / 20
    assert bins[-1].confidence == pytest.approx(confidence, abs=1e-4)
    assert bins[-1].accuracy == pytest.approx(accuracy)
    assert evaluation.calibration_error(bins) == pytest.approx(confidence - accuracy, abs=1e-4)
    assert evaluation.calibration_error(evaluation.bin_by_confidence(sure, torch.arange(10))) == 0


class Constant(nn.Module):
    """Outputs the same log-probabilities for every image, and counts its calls."""

    def __init__(self, log_probs: Tensor) -> None:
        super().__init__()
        self.log_probs, self.calls = nn.Parameter(log_probs), 0

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities of shape (n, classes)."""
        self.calls += 1
        return self.log_probs.expand(len(images), -1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_outputs_that_are_not_finite_are_refused_before_the_corruptions(bad: float) -> None:
    network = Constant(torch.tensor([0.0] * 9 + [bad]))
    images = torch.zeros(20, 28, 28, dtype=torch.uint8)
    with pytest.raises(UserError, match="the network outputs NaN or infinite values"):
        evaluation.evaluate(network, images, torch.arange(20) % 10, MNIST.info)
    assert network.calls == 1


def test_classes_and_their_names_are_those_of_the_data() -> None:
    network = Constant(torch.tensor([0.5, 0.2, 0.3]).log())
    images = torch.zeros(6, 28, 28, dtype=torch.uint8)
    info = DatasetInfo("Things", ("Sock", "Hat", "Glove <1>"), 0.5, 0.5)
    measured = evaluation.evaluate(network, images, torch.arange(6) % 3, info)
    assert measured.confusion == [[2, 0, 0]] * 3
    assert [(row.label, row.name) for row in measured.classes] == [*enumerate(info.class_names)]
    html = render_page(measured, images, {"run": "x"})
    assert "test images of Things" in html
    assert "is Glove &lt;1&gt;, <em>read Sock</em>" in html
    with pytest.raises(UserError, match="the network has 3 classes, and the images 10"):
        evaluation.evaluate(network, images, torch.arange(6), MNIST.info)


def test_label_errors_of_mnist_stay_out_of_other_reports() -> None:
    network = Constant(torch.full((10,), 0.1).log())
    images, labels = torch.zeros(20, 28, 28, dtype=torch.uint8), torch.arange(20) % 10
    info = MNIST.info._replace(name="Others")
    other, own = (evaluation.evaluate(network, images, labels, i) for i in (info, MNIST.info))
    for measured, known in ((other, False), (own, True)):
        assert ("label errors" in render_page(measured, images, {"run": "x"})) == known
        assert ("whose label" in " ".join(format_summary(measured))) == known
        assert ("label_error" in json.dumps(measured.to_json())) == known


def test_images_are_normalised_with_the_constants_of_their_dataset() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    images = torch.full((1, 28, 28), 255, dtype=torch.uint8)
    info = FASHION_MNIST.info
    expected = network(torch.full((1, 1, 28, 28), (1 - info.mean) / info.std))
    assert torch.allclose(predict(network, images, info), expected, atol=1e-5)


def test_mistakes_are_complete_and_sorted_by_confidence(answers: tuple[Tensor, Tensor]) -> None:
    probs, labels = answers
    found = evaluation.find_mistakes(probs, labels, {3})
    assert len(found) == int((probs.argmax(dim=1) != labels).sum())
    assert [m.confidence for m in found] == sorted((m.confidence for m in found), reverse=True)
    assert all(m.read != m.true == int(labels[m.index]) for m in found)
    assert {m.index for m in found if m.known_label_error} == {3}


def test_there_are_fifteen_known_label_errors() -> None:
    assert len(set(LABEL_ERRORS)) == 15


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corruption_is_repeatable_and_grows_with_its_strength(
    kind: str, mnist: LabelledImages
) -> None:
    images = mnist.test_images[:200]
    before = images.clone()
    versions = [corrupt(images, kind, level) for level in range(3)]
    assert torch.equal(images, before), "the images themselves stay as they are"
    assert torch.equal(versions[1], corrupt(images, kind, 1))
    distances = [float((v.float() - images.float()).abs().mean()) for v in versions]
    assert 0 < distances[0] < distances[1] < distances[2]


def centre(images: Tensor) -> Tensor:
    """Centre of mass of each image, in pixels."""
    weights = images.double()
    total, pixel = weights.sum(dim=(1, 2)), torch.arange(28.0, dtype=torch.float64)
    return torch.stack([(weights.sum(dim=d) @ pixel) / total for d in (1, 2)], dim=1)


def test_a_shift_has_its_length_in_a_random_direction(mnist: LabelledImages) -> None:
    dot = torch.zeros(50, 28, 28, dtype=torch.uint8)
    dot[:, 13:15, 13:15] = 255
    moved = centre(corrupt(dot, "shift", 1)) - centre(dot)
    torch.testing.assert_close(
        moved.norm(dim=1), torch.full((50,), 3.0).double(), atol=0.05, rtol=0
    )
    assert moved.std(dim=0).min() > 1, "in all directions"


@pytest.fixture(scope="module")
def report(small_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of an evaluation with one kind of corruption, and the output of the command."""
    folder = tmp_path_factory.mktemp("evaluation") / "new"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "CORRUPTIONS", {"blur": CORRUPTIONS["blur"]})
        done = CliRunner().invoke(app, ["evaluate", str(small_run.path), "--out", str(folder)])
    assert done.exit_code == 0, done.output
    return folder, done.output


def test_the_numbers_agree_with_the_run_and_each_other(
    report: tuple[Path, str], small_run: RunFolder
) -> None:
    folder, output = report
    record = json.loads((folder / "evaluation.json").read_text())
    summary = json.loads(small_run.summary.read_text())
    accuracy = record["accuracy"]
    assert accuracy["percent"] == pytest.approx(summary["test_accuracy"])
    assert math.isclose(record["loss"], summary["test_loss"], rel_tol=1e-4)
    assert accuracy["interval"][0] < accuracy["percent"] < accuracy["interval"][1]
    confusion = torch.tensor(record["confusion"])
    assert (int(confusion.sum()), int(confusion.trace())) == (10_000, accuracy["correct"])
    assert len(record["mistakes"]) == 10_000 - accuracy["correct"]
    for row in record["classes"]:
        right = int(confusion[row["label"], row["label"]])
        assert row["recall"] == pytest.approx(100 * right / row["images"], abs=1e-3)
    assert record["accuracy_without_label_errors"]["images"] == 9985
    assert record["provenance"]["weights_sha256"] == summary["weights_sha256"]
    assert f"{accuracy['percent']:.2f} % of the 10,000 test images read right" in output


def test_the_page_is_one_file_with_every_mistake(report: tuple[Path, str]) -> None:
    folder, _ = report
    html = (folder / "report.html").read_text()
    record = json.loads((folder / "evaluation.json").read_text())
    assert html.count("<figure>") == len(record["mistakes"])
    assert set(re.findall(r'(?:src|href)="([^:"]*:)', html)) == {"data:"}
    assert {path.name for path in folder.iterdir()} == {"evaluation.json", "report.html"}


def test_text_from_a_run_folder_is_escaped_in_the_page() -> None:
    images = torch.zeros(20, 28, 28, dtype=torch.uint8)
    measured = evaluation.evaluate(
        Constant(torch.full((10,), 0.1).log()), images, torch.arange(20) % 10, MNIST.info
    )
    html = render_page(measured, images, {"run": "x", "recipe": "<script>alert(1)</script>"})
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The machine's Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_phones_and_follows_the_colour_scheme(
    browser: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    images = torch.zeros(20, 28, 28, dtype=torch.uint8)
    network = Constant(torch.full((10,), 0.1).log())
    measured = evaluation.evaluate(network, images, torch.arange(20) % 10, MNIST.info)
    path = tmp_path / "report.html"
    path.write_text(render_page(measured, images, {"run": "x" * 80, "weights_sha256": "0" * 64}))
    tab = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab.goto(path.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    luminance = "(c => c.match(/\\d+/g).slice(0, 3).reduce((a, b) => +a + +b) / 3)"
    ground, text = (
        tab.evaluate(f"{luminance}(getComputedStyle(document.body).{name})")
        for name in ("backgroundColor", "color")
    )
    assert (ground < 60 and text > 200) if scheme == "dark" else (ground > 200 and text < 60)
    tab.close()


def test_unwritable_folder_is_reported_in_one_line(small_run: RunFolder) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(small_run.path), "--out", "/proc/nowhere"])
    assert done.exit_code == 1
    assert re.fullmatch(r"error: .*: /proc/nowhere/.*\n", done.output)


@pytest.mark.slow
def test_the_published_tables_are_made_from_run_folders(
    small_run: RunFolder, mnist_root: Path, tmp_path: Path
) -> None:
    """From runs that nothing has evaluated yet, which are then not evaluated again."""
    shutil.copytree(small_run.path, tmp_path / "runs" / "0")

    def printed_by(*program: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", *program, f"small={tmp_path / 'runs'}", "--images", tmp_path],
            cwd=PROJECT, capture_output=True, text=True, check=True,
            env={**os.environ, "MNIST_ROOT": str(mnist_root)},
        ).stdout  # fmt: skip

    tables = [printed_by("research.results") for _ in range(2)]
    assert tables[0] == tables[1]
    accuracy = json.loads(small_run.summary.read_text())["test_accuracy"]
    assert f"| small | 1 | 9,594 | {accuracy:.2f} |" in tables[0]
    accuracies = printed_by("research.accuracies", "--file", str(tmp_path / "accuracies.jsonl"))
    assert f"| small | 2 | 1 | **{accuracy:.3f}** | {accuracy:.2f} | {accuracy:.2f} |" in accuracies
    assert {"accuracy.png", "mistakes.png"} <= {path.name for path in tmp_path.iterdir()}
